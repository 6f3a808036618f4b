"""Read the log as columns: the battles as ratings and audit see them, and the cost of each."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.battles.coded_log import judge_kinds
from arena.battles.load import Battles, assemble, load_battles
from arena.battles.own_log import read_own_log
from arena.battles.table import OWN_COLUMNS, Coder
from arena.data.rows import unreadable
from arena.records import Battle
from arena.store.folder import Folder
from arena.store.id_index import CompactIndex
from arena.store.log_lines import read_failures, verdict_places

SOURCES = ("judge", "identical", "cache")
"""What the codes of a source mean."""

NO_REPLY = -1

_NUMBERS = ("input_tokens", "output_tokens", "cost_usd", "latency_ms")
_OFFSET_BITS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Details:
    """What a log of our own says of each battle beside its outcome; arrays are (n_battles,)."""

    source: NDArray[np.int8]  #: codes into `SOURCES`
    prompt: NDArray[np.int32]  #: codes into ``prompts``
    prompts: tuple[str, ...]  #: hashes of templates; "" for judges without one
    input_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    cost_usd: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    last_at: str  #: time of the last verdict, ISO 8601
    replies: tuple[Path, ...]  #: the files of what judges wrote
    reply: NDArray[np.int64]  #: where: file and offset in one number; `NO_REPLY` where nowhere

    def reply_place(self, row: int) -> tuple[Path, int]:
        """Return file and offset of the judge's reply in a battle that has one."""
        place = int(self.reply[row])
        return self.replies[place >> _OFFSET_BITS], place & ((1 << _OFFSET_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Log:
    """All battles in the order of the ratings: log order, and of several logs by battle id."""

    battles: Battles
    details: Details | None  #: None for a log from another tool


def read_log_columns(path: Path) -> Log | None:
    """Read an experiment's log, or any file of battles; None if no battle was judged yet.

    Raises:
        DataError: a file is not what it should be; names file and line.
    """
    files = begun_logs(path)
    if not files:
        return None
    if not all(map(_is_ours, files)):
        return Log(load_battles([path]), None)
    return _own_log(path, files)


def begun_logs(path: Path) -> list[Path]:
    """Return the files of a folder that hold battles; or the file itself."""
    if not path.is_dir():
        return [path]
    return [file for file in Folder(path).all_battles() if _begun(file)]


def count_failures(folder: Path) -> int:
    """Return how many matchups have no verdict where no battle has one either."""
    files = Folder(folder).all_failures() if folder.is_dir() else ()
    return len({failure.id for file in files for failure in read_failures(file)})


def _begun(file: Path) -> bool:
    """Return whether a log has at least one whole line."""
    try:
        with file.open("rb") as lines:
            return lines.readline().endswith(b"\n")
    except OSError as error:
        raise unreadable(file, None, error) from None


def _is_ours(file: Path) -> bool:
    if file.suffix != ".jsonl":
        return False
    with file.open("rb") as lines:
        try:
            return OWN_COLUMNS.issubset(orjson.loads(lines.readline()))
        except (orjson.JSONDecodeError, TypeError):
            return False


def _own_log(path: Path, files: Sequence[Path]) -> Log:
    """Read logs of arena's own in one pass: what ratings need, and the details beside it."""
    folder = Folder(path) if path.is_dir() else None
    details = _Columns()
    read = [read_own_log(file, details.add) for file in files]
    kinds = [judge_kinds(file.parent) for file in files]
    tables = [replace(table, kinds=of) for table, of in zip(read, kinds, strict=True) if table]
    battles, rows = assemble(tables, {}, folder.all_failures() if folder else [])
    replies = folder.all_replies() if folder else []
    ids = [battle_id for table in tables for battle_id in table.ids]
    reply = _replies(replies, [ids[row] for row in rows.tolist()])
    return Log(battles, details.at(rows, tuple(replies), reply))


class _Columns:
    """What ratings do not need of each battle, in the order in which it was read."""

    def __init__(self) -> None:
        self.last_at = ""
        self.numbers = {name: array("d") for name in _NUMBERS}
        self._words = Coder(("source", "prompt"))

    def add(self, chunk: Sequence[Battle]) -> None:
        """Add some battles."""
        self.last_at = max(self.last_at, *(battle.at for battle in chunk))
        for name in ("source", "prompt"):
            self._words.add(name, (getattr(battle, name) for battle in chunk), len(chunk))
        for name, column in self.numbers.items():
            column.extend(getattr(battle, name) for battle in chunk)

    def at(
        self, rows: NDArray[np.intp], replies: tuple[Path, ...], reply: NDArray[np.int64]
    ) -> Details:
        """Return the details of these rows, in this order."""
        words = self._words.columns()
        source, prompt = words["source"], words["prompt"]
        prompts = tuple(sorted(prompt.distinct))
        places = np.array([prompts.index(word) for word in prompt.distinct], np.int32)
        sources = np.array([SOURCES.index(word) for word in source.distinct], np.int8)
        return Details(
            source=sources[source.codes[rows]],
            prompt=places[prompt.codes[rows]],
            prompts=prompts,
            last_at=self.last_at,
            replies=replies,
            reply=reply,
            **{name: np.array(column)[rows] for name, column in self.numbers.items()},
        )


def _replies(files: Sequence[Path], ids: Sequence[str]) -> NDArray[np.int64]:
    """Return where the last reply with a verdict of each battle is."""
    places = np.full(len(ids), NO_REPLY, np.int64)
    row_of = CompactIndex()
    for row, name in enumerate(ids):
        row_of.set(name, row)
    for number, file in enumerate(files):
        for offset, name in verdict_places(file):
            if (found := row_of.get(name)) is not None:
                places[found] = number << _OFFSET_BITS | offset
    return places
