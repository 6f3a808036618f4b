"""grades.jsonl: what a pointwise judge thinks of each document, kept beside its battles."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final, Self

import orjson

from arena.errors import DataError
from arena.records import Grade
from arena.store.folder import Folder
from arena.store.id_index import IdSet
from arena.store.locked_file import LineFile
from arena.store.shards import WHOLE, Shard

_KEY: Final = ("dataset", "query_id", "doc_id", "judge", "prompt")


class GradeBook:
    """The grades of one experiment, each written once, when it is first known.

    The file appears with the first grade. The log is locked for the process that writes it, and
    so is this file.

    Args:
        folder: the experiment's.
        shard: the part of the plan that is played; it has a file of its own.
    """

    def __init__(self, folder: Path, shard: Shard = WHOLE) -> None:
        self._path = Folder(folder).log(shard).grades
        self._file: LineFile | None = None
        self._known = IdSet()

    def write(self, grade: Grade) -> None:
        """Write a grade down, unless it is there.

        Raises:
            LogError: it cannot be written.
        """
        if self._file is None:
            self._file = LineFile(self._path)
            self._load()
        row = asdict(grade)
        if not grade.estimated:
            del row["estimated"]
        if self._known.add(_key(row)):
            self._file.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file:
            self._file.sync()
            self._file.close()

    def _load(self) -> None:
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    self._known.add(_key(orjson.loads(line)))
                except (orjson.JSONDecodeError, LookupError, TypeError):
                    remedy = "delete the line; the grade itself is in the cache"
                    raise DataError(self._path, number, "not a grade", remedy) from None


def _key(row: dict[str, object]) -> str:
    return "\0".join(str(row[name]) for name in _KEY)
