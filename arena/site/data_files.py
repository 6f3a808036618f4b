"""Battles and texts, cut into files that a page loads when it needs them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.auditing.agreement import first_won, ndcg_difference
from arena.auditing.audit_input import AuditInput
from arena.auditing.position_bias import swapped
from arena.battles.coded_columns import MODEL_A, MODEL_B
from arena.battles.load import Battles
from arena.site.log_columns import NO_REPLY, Details, Log
from arena.store.log_lines import parse_reply
from arena.store.per_query import ShownList
from arena.store.texts import ShownTexts

BATTLE_ROWS: Final = 5_000
"""Battles of one file."""

REPLY_ROWS: Final = 500
"""Battles whose replies share a file."""

MOST_SHOWN: Final = 25
"""Queries whose lists share a file; fewer where their documents are many or long."""

_SHOWN_BYTES: Final = 400_000
_WINNERS = {MODEL_A: 1, MODEL_B: 2}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One data file."""

    key: str  #: of ``arena.put``
    value: object

    @property
    def file(self) -> str:
        """Return its path from the root of the site."""
        return f"data/{self.key.replace('/', '-')}.js"


@dataclass(frozen=True, slots=True)
class Names:
    """What the codes in the site's data mean."""

    models: Sequence[str]
    datasets: Sequence[str]
    judges: Sequence[str]
    queries: Mapping[str, Sequence[str]]  #: data set → query_ids


def query_names(
    datasets: Sequence[str], texts_of: Mapping[str, ShownTexts], lists: Lists, log: Log | None
) -> dict[str, list[str]]:
    """Return data set → its query_ids: as sampled where texts are kept, then others of the log."""
    names: dict[str, dict[str, None]] = {name: {} for name in datasets}
    for name, texts in texts_of.items():
        names[name].update(dict.fromkeys(query.query_id for query in texts.queries))
    for (name, _), lists_of in lists.items():
        names[name].update(dict.fromkeys(lists_of))
    if log and log.battles.query_id is not None:
        battles, ids = log.battles, log.battles.query_id
        pairs = battles.dataset.astype(np.int64) * len(battles.query_ids) + ids
        for pair in pairs[np.sort(np.unique(pairs, return_index=True)[1])].tolist():
            dataset, query_id = divmod(pair, len(battles.query_ids))
            if battles.query_ids[query_id]:
                names[battles.datasets[dataset]][battles.query_ids[query_id]] = None
    return {name: list(lists_of) for name, lists_of in names.items()}


def battle_chunks(log: Log, consistency: PairConsistency, names: Names) -> Iterator[Chunk]:
    """Yield all battles in columns, `BATTLE_ROWS` to a file."""
    columns = (
        _columns(log.battles, names)
        | _consistency_columns(consistency)
        | _details(log.details, len(log.battles))
    )
    for number, start in enumerate(range(0, len(log.battles), BATTLE_ROWS)):
        rows = slice(start, start + BATTLE_ROWS)
        cells = {name: _cells(column[rows]) for name, column in columns.items()}
        yield Chunk(f"battles/{number}", {"start": start, "columns": cells})


def reply_chunks(details: Details) -> Iterator[Chunk]:
    """Yield the judges' replies, `REPLY_ROWS` battles to a file, read as they are needed."""
    with_reply = np.flatnonzero(details.reply != NO_REPLY)
    with ExitStack() as stack:
        files = {path: stack.enter_context(path.open("rb")) for path in details.replies}
        for number in np.unique(with_reply // REPLY_ROWS).tolist():
            rows = with_reply[with_reply // REPLY_ROWS == number].tolist()
            yield Chunk(
                f"replies/{number}", {str(row): _reply(details, files, row) for row in rows}
            )


def query_chunks(names: Names, texts_of: Mapping[str, ShownTexts], lists: Lists) -> Iterator[Chunk]:
    """Yield the queries of each data set, with their grades and every model's nDCG."""
    for number, dataset in enumerate(names.datasets):
        texts = texts_of.get(dataset)
        known = {query.query_id: query for query in texts.queries} if texts else {}
        queries = []
        for query_id in names.queries[dataset]:
            query = known.get(query_id)
            queries.append(
                {
                    "id": query_id,
                    "text": query.text if query else None,
                    "relevant": query.relevant if query else {},
                    "ndcg": {
                        model: shown_list.ndcg
                        for model in names.models
                        if (shown_list := lists.get((dataset, model), {}).get(query_id))
                    },
                }
            )
        yield Chunk(f"queries/{number}", {"dataset": dataset, "queries": queries})


def shown_chunk_size(texts_of: Mapping[str, ShownTexts]) -> int:
    """Return how many queries make a file of a few hundred kilobytes."""
    n_queries = sum(len(texts.queries) for texts in texts_of.values())
    n_bytes = sum(texts.path.stat().st_size for texts in texts_of.values())
    return min(max(_SHOWN_BYTES * n_queries // max(n_bytes, 1), 1), MOST_SHOWN)


def shown_chunks(number: int, texts: ShownTexts, size: int) -> Iterator[Chunk]:
    """Yield the lists of one data set and their documents, ``size`` queries to a file.

    A document that is shown in several files is in each of them, so that one file is enough.
    """
    for chunk, start in enumerate(range(0, len(texts.queries), size)):
        queries = texts.queries[start : start + size]
        doc_ids = dict.fromkeys(
            doc_id for query in queries for shown in query.lists.values() for doc_id in shown
        )
        documents = {}
        for document in texts.documents(doc_ids):
            fields = asdict(document)
            documents[fields.pop("doc_id")] = fields
        lists = {query.query_id: query.lists for query in queries}
        yield Chunk(f"shown/{number}/{chunk}", {"lists": lists, "documents": documents})


def _columns(battles: Battles, names: Names) -> dict[str, NDArray[Any]]:
    """Return who met whom on which query, in the site's codes."""
    model = _recode(battles.models, names.models)
    query = np.full(len(battles), UNKNOWN_ROW, np.int64)
    if battles.query_id is not None:
        for code, dataset in enumerate(battles.datasets):
            place = _recode(battles.query_ids, names.queries[dataset])
            rows = battles.dataset == code
            query[rows] = place[battles.query_id[rows]]
    winner = np.array([_WINNERS.get(code, 0) for code in range(3)], np.int8)
    return {
        "dataset": _recode(battles.datasets, names.datasets)[battles.dataset],
        "query": query,
        "a": model[battles.model_a],
        "b": model[battles.model_b],
        "winner": winner[battles.winner],
        "judge": _recode(battles.judges, names.judges)[battles.judge],
    }


def _consistency_columns(consistency: PairConsistency) -> dict[str, NDArray[Any]]:
    return {
        "other": consistency.other,
        "flipped": consistency.flipped,
        "qrels": consistency.disagrees,
    }


def _details(details: Details | None, count: int) -> dict[str, NDArray[Any]]:
    """Return the cost and time of each verdict; unknown throughout for a foreign log."""
    if details is None:
        unknown = np.full(count, UNKNOWN_ROW)
        names = ("source", "input_tokens", "output_tokens", "cost_usd", "latency_ms", "reply")
        return dict.fromkeys(names, unknown)
    chunk = np.arange(count) // REPLY_ROWS
    return {
        "source": details.source,
        "input_tokens": details.input_tokens.astype(np.int64),
        "output_tokens": details.output_tokens.astype(np.int64),
        "cost_usd": details.cost_usd.round(9),
        "latency_ms": details.latency_ms.round(1),
        "reply": np.where(details.reply == NO_REPLY, UNKNOWN_ROW, chunk),
    }


def _recode(names: Sequence[str], into: Sequence[str]) -> NDArray[np.int64]:
    """Return the place of each name in another sequence; `UNKNOWN_ROW` if it is not in it."""
    place = {name: code for code, name in enumerate(into)}
    return np.array([place.get(name, UNKNOWN_ROW) for name in names], np.int64)


def _cells(column: NDArray[Any]) -> list[Any]:
    """Return plain numbers; no figure of a battle is negative, so `UNKNOWN_ROW` is null."""
    return [None if cell == UNKNOWN_ROW else cell for cell in column.tolist()]


def _reply(details: Details, files: Mapping[Path, BinaryIO], row: int) -> dict[str, str]:
    path, offset = details.reply_place(row)
    files[path].seek(offset)
    reply = parse_reply(files[path].readline(), path, None)
    prompt = details.prompts[details.prompt[row]]
    return {"text": reply.reply, "prompt": prompt, "at": reply.at}


Rows = NDArray[np.intp]
UNKNOWN_ROW = -1
Lists = Mapping[tuple[str, str], Mapping[str, ShownList]]
"""(data set, model) → query_id → what is known of the list that the judge was shown."""


@dataclass(frozen=True, slots=True, eq=False)
class PairConsistency:
    """Codes of each battle, (n_battles,); `UNKNOWN_ROW` where nothing compares."""

    other: NDArray[np.int64]  #: row of the same pair, query and judge in the other order
    flipped: NDArray[np.int8]  #: 1: there the other model won; 0: not so
    disagrees: NDArray[np.int8]  #: 1: the winner has the lower nDCG; 0: the higher one


def pair_consistency(battles: Battles, lists: Lists) -> PairConsistency:
    """Find each battle's counterpart, and what the grades say of its winner.

    Identical lists flip nothing, because no judge was asked. The grades agree or disagree with a
    winner only where they too prefer one of the lists, as the audit counts it.
    """
    other_row = np.full(len(battles), UNKNOWN_ROW, np.int64)
    home, away, _ = _counterparts(battles, np.arange(len(battles)))
    other_row[home], other_row[away] = away, home
    flipped = np.full(len(battles), UNKNOWN_ROW, np.int8)
    asked = np.ones(len(battles), np.bool_) if battles.identical is None else ~battles.identical
    home, away, flips = _counterparts(battles, np.flatnonzero(asked))
    flipped[home] = flipped[away] = flips
    return PairConsistency(other_row, flipped, _disagrees(battles, lists))


def _counterparts(battles: Battles, rows: Rows) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """Return which rows are a pair in both orders; and whether its verdict flips."""
    if not rows.size:
        return rows, rows, np.zeros(0, np.bool_)
    pairs = swapped(battles.take(rows))
    return rows[pairs.home], rows[pairs.away], pairs.flip


def _disagrees(battles: Battles, lists: Lists) -> NDArray[np.int8]:
    out = np.full(len(battles), UNKNOWN_ROW, np.int8)
    difference = ndcg_difference(AuditInput(battles, battles, lists=lists), battles)
    if difference is not None:
        said, better = first_won(battles), np.sign(np.nan_to_num(difference))
        decided = (said != 0) & (better != 0)
        out[decided] = (said != better)[decided]
    return out


_REPLACEMENT: Final = "\ufffd"

_TOKEN: Final = re.compile(
    # What must not be in a script, what cannot be shown, and each escape of JSON as a whole.
    "[<>&\u2028\u2029\x7f-\x9f\ud800-\udfff]"
    r"|\\r(?:\\n)?|\\u[0-9a-f]{4}|\\."
)

_KEPT: Final = frozenset({"\\n", "\\t", '\\"', "\\\\"})
_ESCAPED: Final = frozenset("<>&\u2028\u2029")


def script(key: str, value: object) -> bytes:
    """Return the whole content of a data file."""
    return f"arena.put({safe_json(key)}, {safe_json(value)});\n".encode()


def safe_json(value: object) -> str:
    """Return JSON that is safe in a script."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # lone surrogates, which orjson refuses
        text = json.dumps(value, default=_fields, ensure_ascii=False, separators=(",", ":"))
    return _TOKEN.sub(_harmless, text)


def shown_tree(value: object) -> Any:
    """Return a value as scripts see it, for templates."""
    return orjson.loads(safe_json(value))


def _harmless(found: re.Match[str]) -> str:
    token = found[0]
    if token in _KEPT:
        return token
    if token in _ESCAPED:
        return f"\\u{ord(token):04x}"
    return "\\n" if token.startswith("\\r") else _REPLACEMENT


def _fields(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
