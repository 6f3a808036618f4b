"""Battles as integer codes, from any logs: our own, or anything with model_a, model_b, winner.

A row that is odd is an error that names file and line, or arena keeps it and reports it in
`Battles.notes`. arena never drops a row, merges it or turns it into a tie silently.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.battles.columns import (
    TIE,
    Codes,
    Mask,
    merge,
    read_costs,
    read_identical,
    read_names,
    read_placed,
    read_probs,
    read_repeated_ids,
    read_swapped,
    read_winners,
    read_words,
    refuse_self_battles,
    renumbered,
)
from arena.battles.order import IdOrder
from arena.battles.readers import read_table, table_from_frame
from arena.battles.row_blocks import count_codes
from arena.battles.table import BattleTable, HexIds, UniqueIds
from arena.data.rows import unreadable
from arena.errors import DataError, UsageError
from arena.files import parse_toml
from arena.store.folder import Folder

if TYPE_CHECKING:
    import pandas as pd

NO_DATASET = "all"
"""The data set of battles whose log names none."""

_SMALL = 1 << 16
"""Of so many codes the counts are an array that costs nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Battles:
    """Judged battles, in log order; every array is (n_battles,) unless it says otherwise."""

    models: tuple[str, ...]  #: sorted; codes index into it
    datasets: tuple[str, ...]  #: sorted
    judges: tuple[str, ...]  #: sorted; "" where a log names none
    model_a: Codes  #: the model whose list was shown first
    model_b: Codes
    winner: NDArray[np.int8]  #: MODEL_A, MODEL_B or TIE
    dataset: Codes
    query: Codes  #: (data set, query_id) clusters; a battle without query_id is its own
    judge: Codes
    probs: NDArray[np.float64] | None = None  #: (n_battles, 3): first, second, tie; NaN if unknown
    cost_usd: NDArray[np.float64] | None = None  #: what each battle cost; NaN if not known
    identical: Mask | None = None  #: ties because both lists were the same: no judge was asked
    placed: Mask | None = None  #: whether a judge saw model_a's list first; None: everywhere
    failures: int = 0  #: matchups in failures*.jsonl that have no battle
    notes: tuple[str, ...] = ()  #: what a reader of the ratings should know, one line each
    query_ids: tuple[str, ...] = ()  #: sorted; "" where a log names none
    query_id: Codes | None = None  #: as written, codes into query_ids; `query` is what clusters

    def __len__(self) -> int:
        return int(self.winner.size)

    @property
    def n_queries(self) -> int:
        """Return how many query clusters the battles fall into."""
        present = np.zeros(int(self.query.max(initial=-1)) + 1, np.bool_)
        present[self.query] = True
        return int(np.count_nonzero(present))

    @property
    def present_judges(self) -> tuple[str, ...]:
        """Return the judges of these very battles; ``judges`` may hold more."""
        counts = count_codes(self.judge, len(self.judges))
        return tuple(self.judges[code] for code in np.flatnonzero(counts))

    def only(self, dataset: int) -> Battles:
        """Return the battles of one data set, in log order, under the same codes."""
        rows = self.dataset == dataset
        return self if rows.all() else self.take(np.flatnonzero(rows))

    def take(self, rows: NDArray[np.intp]) -> Battles:
        """Return the battles at these positions, in this order, under the same codes."""
        taken: dict[str, Any] = {
            field.name: array[rows]
            for field in fields(self)
            if isinstance(array := getattr(self, field.name), np.ndarray)
        }
        return replace(self, **taken)


def load_battles(paths: Sequence[Path], *, aliases: Mapping[str, str] | None = None) -> Battles:
    """Read battles from experiment folders and files of any make, in the order given.

    Several logs of our own, such as those of shards, are read in the order of the battles' ids.

    Args:
        paths: experiment folders (their ``battles*.jsonl``), or JSON, JSONL, CSV, TSV, Parquet
            files with columns model_a, model_b, winner and, if they like, dataset, query_id,
            judge, and order_swapped or swapped (true: model_b was shown first; arena swaps the
            row back); or with the columns of others, as `arena.battles.foreign_shapes` knows them.
        aliases: spelling → model, for models that go by several names.

    Raises:
        DataError: a file is missing, empty or malformed, a winner is unknown, a name is empty.
        UsageError: a path is given twice, a folder has no log, or aliases form a chain.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        logs = Folder(path).all_battles() if path.is_dir() else [path]
        if not logs:
            raise UsageError(f"{path}: no battles*.jsonl in this folder; `arena battle` writes one")
        # A shard that has only begun has an empty log; that is an error only if all have.
        begun = [log for log in logs if len(logs) > 1 and log.stat().st_size]
        files += begun or logs
    resolved = [file.resolve() for file in files]
    for file, place in zip(files, resolved, strict=True):
        if resolved.count(place) > 1:
            raise UsageError(f"{file}: given twice; its battles would count twice")
    if not files:
        raise UsageError("no battles to rate; give an experiment folder or a battle log")
    failures = [f for path in map(Path, paths) for f in Folder(path).all_failures()]
    tables = [replace(read_table(file), kinds=judge_kinds(file.parent)) for file in files]
    return assemble(tables, aliases or {}, failures)[0]


def from_frame(frame: pd.DataFrame, *, aliases: Mapping[str, str] | None = None) -> Battles:
    """Take battles from a data frame with the columns that `load_battles` reads.

    Raises:
        DataError: as `load_battles`; its "lines" are row positions, from 0.
        UsageError: aliases form a chain.
    """
    return assemble([table_from_frame(frame)], aliases or {}, [])[0]


def load_aliases(path: Path) -> dict[str, str]:
    """Read a TOML file of lines ``"Bge M3 Deepinfra" = "bge-m3"``: spelling, then model.

    Raises:
        DataError: missing, not TOML, not a flat table of strings, or aliases form a chain.
    """
    remedy = 'expected lines like "BGE M3" = "bge-m3", both in quotes'
    try:
        tree = parse_toml(Path(path).read_bytes())
    except OSError as error:
        raise DataError(path, None, error.strerror or str(error)) from None
    except ValueError as error:
        raise DataError(path, None, f"not valid TOML: {error}", remedy) from None
    for alias, model in tree.items():
        # An unquoted voyage-3.5 is a table to TOML.
        if not isinstance(model, str):
            raise DataError(path, None, f"{alias!r} is not given a name", remedy)
    try:
        _check_aliases(tree)
    except UsageError as error:
        raise DataError(path, None, str(error)) from None
    return tree


def _check_aliases(aliases: Mapping[str, str]) -> None:
    for alias, model in aliases.items():
        if not model.strip():
            raise UsageError(f"alias {alias!r} stands for an empty name; give the model's name")
        if model in aliases:
            raise UsageError(
                f"alias {alias!r} stands for {model!r}, itself an alias; name the model directly"
            )


def assemble(
    tables: Sequence[BattleTable], aliases: Mapping[str, str], failures: Sequence[Path]
) -> tuple[Battles, NDArray[np.intp]]:
    """Return the battles of tables, and the row of each among the rows of all tables.

    Raises:
        DataError: a cell cannot be read; names file and line.
        UsageError: no battle is left, or aliases form a chain.
    """
    _check_aliases(aliases)
    coded, known = _coded(tables, aliases)
    several = len(tables) > 1 and all(table.ids for table in tables)
    order = IdOrder.of(tables) if several else None
    low, high = (side(coded.model_a, coded.model_b) for side in (np.minimum, np.maximum))
    repeated = read_repeated_ids(tables, (coded.query, low, high), order)
    same = coded.model_a == coded.model_b
    ends = np.cumsum([table.n_rows for table in tables])
    for table, part in zip(tables, np.split(same, ends[:-1]), strict=True):
        refuse_self_battles(table, part)
    kept = np.flatnonzero(~(repeated | same))
    if several:
        # No order of play joins the logs of shards. The order of the ids does not depend on when or
        # where a shard was played, and is as good as random.
        kept = _by_id(tables, kept) if order is None else order.rows[~(repeated | same)[order.rows]]
    battles = coded.take(kept) if several or len(kept) < len(coded) else coded
    del coded, order  # they hold as much as the battles
    if not len(battles):
        raise UsageError("every battle is of a model against itself; check names and aliases")
    notes = [
        *(note for table in tables for note in table.notes),
        *loading_notes(tables, aliases, repeated, same & ~repeated),
        *battle_notes(battles, known[kept]),
        *(["Elo in canonical order of several logs, by battle id"] if several else []),
    ]
    return replace(battles, failures=_unjudged(failures, tables), notes=tuple(notes)), kept


def _by_id(tables: Sequence[BattleTable], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    names = [name for table in tables for name in table.ids]
    return np.array(sorted(rows.tolist(), key=names.__getitem__), np.intp)


def _coded(tables: Sequence[BattleTable], aliases: Mapping[str, str]) -> tuple[Battles, Mask]:
    """Return all rows of all tables, swapped back where swapped; and where a query_id is known."""
    swapped = np.concatenate([read_swapped(table) for table in tables])
    firsts = [read_names(table, "model_a", aliases) for table in tables]
    seconds = [read_names(table, "model_b", aliases) for table in tables]
    named = zip(tables, firsts, seconds, strict=True)
    winner = np.concatenate([read_winners(*each, aliases) for each in named])
    both, models = merge([*firsts, *seconds])
    left, right = np.split(both, 2)
    dataset, datasets = merge([read_words(table, "dataset", NO_DATASET) for table in tables])
    query_id, query_ids = merge([read_words(table, "query_id", "") for table in tables])
    judge, judges = merge([read_words(table, "judge", "") for table in tables])
    known = np.array([word != "" for word in query_ids])[query_id]
    cluster = dataset.astype(np.int64) * len(query_ids) + query_id
    n_clusters, n_unknown = len(datasets) * len(query_ids), int(np.count_nonzero(~known))
    cluster[~known] = n_clusters + np.arange(n_unknown)
    probs = read_probs(tables)
    battles = Battles(
        models=models,
        datasets=datasets,
        judges=judges,
        model_a=np.where(swapped, right, left),
        model_b=np.where(swapped, left, right),
        winner=np.where(swapped & (winner != TIE), 1 - winner, winner),
        dataset=dataset,
        query=renumbered(cluster, n_clusters + n_unknown),
        judge=judge,
        probs=None if probs is None else np.where(swapped[:, None], probs[:, [1, 0, 2]], probs),
        query_ids=query_ids,
        query_id=query_id,
        cost_usd=read_costs(tables),
        identical=read_identical(tables),
        placed=read_placed(tables),
    )
    return battles, known


def judge_kinds(folder: Path) -> dict[str, str]:
    """Return judge → kind by the manifest of an experiment; empty without a manifest."""
    try:
        judges = orjson.loads(Folder(folder).manifest.read_bytes())["judges"]
        return {judge["name"]: judge["kind"] for judge in judges}
    except (OSError, ValueError, LookupError, TypeError):
        return {}  # whoever needs the manifest says what is wrong with it


def _unjudged(files: Sequence[Path], tables: Sequence[BattleTable]) -> int:
    """Return how many matchups are in the failures files and have still no battle."""
    failed = set()
    for file in files:
        try:
            lines = file.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise unreadable(file, None, error) from None
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n") or line.isspace():
                continue
            try:
                failed.add(orjson.loads(line)["id"])
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise DataError(file, number, "not a failure with an id") from None
    for table in tables if failed else ():
        ids = table.ids.known if isinstance(table.ids, UniqueIds) else table.ids
        failed -= ids.among(failed) if isinstance(ids, HexIds) else failed.intersection(ids)
    return len(failed)


def loading_notes(
    tables: Sequence[BattleTable], aliases: Mapping[str, str], repeated: Mask, same: Mask
) -> Iterator[str]:
    """Yield which rows were swapped back, taken on trust, or left out."""
    turned = sum(int(read_swapped(table).sum()) for table in tables)
    if turned:
        yield f"{turned:,} battles showed model_b first (swapped); arena swapped them back"
    if any(not t.ids and {"order_swapped", "swapped"}.isdisjoint(t.columns) for t in tables):
        yield "the log does not say whose list was shown first: taken to be model_a's"
    if repeated.any():
        yield f"{repeated.sum():,} lines repeat the id of an earlier battle and were not counted"
    if same.any():
        yield f"{same.sum():,} battles of a model against itself are left out of the ratings"
    spellings = {
        value.strip()
        for table in tables
        for side in ("model_a", "model_b")
        for value in table.columns[side].distinct
        if isinstance(value, str)
    }
    unused = sorted(set(aliases) - spellings)
    if unused:
        yield f"aliases that occur in no battle: {', '.join(unused)}"


def battle_notes(battles: Battles, known: Mask) -> Iterator[str]:
    """Yield what is odd about the battles; ``known`` is where their query_id is."""
    alike = defaultdict(list)
    for model in battles.models:
        alike[re.sub(r"[\W_]+", "", model.casefold()) or model].append(model)
    for names in alike.values():
        if len(names) > 1:
            yield f"spellings of one model? {', '.join(names)}; an alias file joins them"
    if not known.all():
        yield (
            f"{np.count_nonzero(~known):,} battles have no query_id and count as a query each: "
            "intervals are too narrow if queries were used more than once"
        )
    again, n_pairings, one = _repeats(battles, known)
    if again:
        yield f"{again:,} battles repeat an earlier one (same query, models and order) and count"
    if one:
        yield (
            f"of {n_pairings:,} pairings of two models on a query, {n_pairings - one:,} "
            f"were judged in both orders and {one:,} in one"
        )


def _repeats(battles: Battles, known: Mask) -> tuple[int, int, int]:
    """Return how many battles repeat one, how many pairings there are, and in one order alone.

    Args:
        battles: any.
        known: where their query_id is; the others are left out.
    """
    m, n_judges = len(battles.models), len(battles.judges)
    shape = (int(battles.query.max(initial=0)) + 1, m, m, n_judges)
    by_judge = battles.query.astype(np.int64)
    for size, codes in ((m, battles.model_a), (m, battles.model_b), (n_judges, battles.judge)):
        by_judge *= size
        by_judge += codes
    by_judge = by_judge if known.all() else by_judge[known]
    if math.prod(shape) <= max(8 * len(by_judge), _SMALL):
        seen = np.zeros(shape, np.bool_)
        seen.reshape(-1)[by_judge] = True
        n_different = int(np.count_nonzero(seen))
        ordered: Mask = np.any(seen, axis=3)
        n_ordered = int(np.count_nonzero(ordered))
        both = int(np.count_nonzero(ordered & ordered.swapaxes(1, 2))) // 2
        return len(by_judge) - n_different, n_ordered - both, n_ordered - 2 * both
    different = _different(by_judge)
    pair = _different(different // n_judges)
    query, first, second = pair // m // m, pair // m % m, pair % m
    low, high = np.minimum(first, second), np.maximum(first, second)
    n_pairings = len(_different((query * m + low) * m + high))
    return len(by_judge) - len(different), n_pairings, 2 * n_pairings - len(pair)


def _different(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the codes that occur, in order."""
    # Asked for counts, numpy sorts, which is ten times faster than the hashes it takes otherwise.
    return np.unique(codes, return_counts=True)[0]
