"""Battles as integer codes, from any logs: our own, or anything with model_a, model_b, winner.

A row that is odd is an error that names file and line, or arena keeps it and reports it in
`Battles.notes`. arena never drops a row, merges it or turns it into a tie silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.battles.coded_columns import Codes, Mask
from arena.battles.coded_log import CodedLog, code_table, read_log
from arena.battles.join import join
from arena.battles.notes import battle_notes, loading_notes
from arena.battles.readers import table_from_frame
from arena.battles.row_blocks import count_codes
from arena.battles.table import BattleTable, HexIds, UniqueIds
from arena.data.rows import unreadable
from arena.errors import DataError, UsageError
from arena.files import parse_toml
from arena.store.folder import Folder

if TYPE_CHECKING:
    import pandas as pd


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


class ReadLogs(Protocol):
    """Reads battle files, and gives each as codes, in the order of the files."""

    def __call__(
        self, files: Sequence[Path], aliases: Mapping[str, str], *, with_ids: bool
    ) -> Iterable[CodedLog]:
        """Yield the battles of each file, as `arena.battles.coded_log.read_log` does."""


def read_here(
    files: Sequence[Path], aliases: Mapping[str, str], *, with_ids: bool
) -> Iterator[CodedLog]:
    """Read battle files in this process, one after the other."""
    for file in files:
        yield read_log(file, aliases, with_ids=with_ids)


def load_battles(
    paths: Sequence[Path],
    *,
    aliases: Mapping[str, str] | None = None,
    read_logs: ReadLogs = read_here,
) -> Battles:
    """Read battles from experiment folders and files from any tool, in the order given.

    Several logs of our own, such as those of shards, are read in the order of the battles' ids.

    Args:
        paths: experiment folders (their ``battles*.jsonl``), or JSON, JSONL, CSV, TSV, Parquet
            files with columns model_a, model_b, winner and, if they like, dataset, query_id,
            judge, and order_swapped or swapped (true: model_b was shown first; arena swaps the
            row back); or with the columns of others, as `arena.battles.foreign_shapes` knows them.
        aliases: spelling → model, for models that go by several names.
        read_logs: reads the files, here or elsewhere.

    Raises:
        DataError: a file is missing, empty or malformed, a winner is unknown, a name is empty.
        UsageError: a path is given twice, a folder has no log, or aliases form a chain.
    """
    aliases = aliases or {}
    _check_aliases(aliases)
    files = log_files(paths)
    failed = _failed_ids([f for path in map(Path, paths) for f in Folder(path).all_failures()])
    logs = [*read_logs(files, aliases, with_ids=len(files) > 1 or bool(failed))]
    return _joined(logs, aliases, failed, with_rows=False)[0]


def log_files(paths: Sequence[Path]) -> list[Path]:
    """Return the battle files of experiment folders, and the files that are given themselves.

    Raises:
        UsageError: a path is given twice, or a folder has no log.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        logs = Folder(path).all_battles() if path.is_dir() else [path]
        if not logs:
            raise UsageError(f"{path}: no battles*.jsonl in this folder; `arena battle` writes one")
        # A shard that has only begun has an empty log; that is an error only if all have.
        begun = [log for log in logs if len(logs) > 1 and log.stat().st_size]
        files += begun or logs
    resolved = [realpath(file) for file in files]  # Path.resolve fails at a circle of links
    for file, place in zip(files, resolved, strict=True):
        if resolved.count(place) > 1:
            raise UsageError(f"{file}: given twice; its battles would count twice")
    if not files:
        raise UsageError("no battles to rate; give an experiment folder or a battle log")
    return files


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
    failed = _failed_ids(failures)
    logs = [code_table(table, aliases, with_ids=len(tables) > 1) for table in tables]
    return _joined(logs, aliases, failed, with_rows=True)


def _joined(
    logs: list[CodedLog], aliases: Mapping[str, str], failed: AbstractSet[Any], *, with_rows: bool
) -> tuple[Battles, NDArray[np.intp]]:
    """Return the battles of logs, and their rows if asked for; empty the list of logs."""
    facts = [replace(log, columns={}, ids=()) for log in logs]
    n_failed = _count_unjudged(failed, logs)
    joined = join(logs, with_rows=with_rows)
    rows = joined.columns.pop("row", np.zeros(0, np.intp))
    if not len(joined.columns["winner"]):
        raise UsageError("every battle is of a model against itself; check names and aliases")
    battles = Battles(
        models=joined.words["model"],
        datasets=joined.words["dataset"],
        judges=joined.words["judge"],
        query_ids=joined.words["query_id"],
        failures=n_failed,
        notes=(*loading_notes(facts, aliases, joined), *battle_notes(joined)),
        **joined.columns,
    )
    return battles, rows


def _failed_ids(files: Sequence[Path]) -> set[Any]:
    """Return the ids of the matchups in failures files.

    Raises:
        DataError: a line is no failure.
    """
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
    return failed


def _count_unjudged(failed: AbstractSet[Any], logs: Sequence[CodedLog]) -> int:
    """Return how many of the failed matchups have still no battle."""
    unjudged = set(failed)
    for log in logs if failed else ():
        ids = log.ids.known if isinstance(log.ids, UniqueIds) else log.ids
        unjudged -= ids.among(unjudged) if isinstance(ids, HexIds) else unjudged.intersection(ids)
    return len(unjudged)
