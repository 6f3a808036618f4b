"""shown.jsonl: beside a data set's runs, the texts that judges are shown.

So an experiment's folder can be looked at without the corpora that it was made from. The first
line is a header; then, for each query, the documents that no query before it had, and a line for
the query itself with every model's list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from arena.errors import DataError
from arena.files import write_atomically

_REMEDY = "delete it, and `arena retrieve` makes it again"


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """A document as far as a judge sees it."""

    doc_id: str
    title: str
    text: str
    cut: bool  #: whether there is more of it that no judge sees


@dataclass(frozen=True, slots=True)
class ShownQuery:
    """A query, its grades, and what every model found for it."""

    query_id: str
    text: str
    relevant: Mapping[str, float]  #: doc_id → grade, of all graded documents; empty without qrels
    lists: Mapping[str, tuple[str, ...]]  #: model → doc_ids shown, best first


@dataclass(frozen=True, slots=True)
class ShownTexts:
    """What a shown.jsonl holds; the documents stay in the file until they are asked for."""

    path: Path
    queries: tuple[ShownQuery, ...]  #: in the order of sampling
    places: Mapping[str, int]  #: doc_id → offset of its line, bytes

    def documents(self, doc_ids: Iterable[str]) -> Iterator[ShownDocument]:
        """Read some documents, in the order asked for; those that are not there are left out."""
        with self.path.open("rb") as file:
            for doc_id in doc_ids:
                if (place := self.places.get(doc_id)) is not None:
                    file.seek(place)
                    yield ShownDocument(**orjson.loads(file.readline())["document"])


def write_shown(path: Path, key: str, items: Iterable[ShownDocument | ShownQuery]) -> None:
    """Write a shown.jsonl, whole or not at all; ``key`` is a hash of all that is in it."""
    lines = (
        {"query": asdict(item)} if isinstance(item, ShownQuery) else {"document": asdict(item)}
        for item in items
    )
    rows = chain([{"key": key}], lines)
    write_atomically(path, (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))


def shown_key(path: Path) -> str:
    """Return the key that a shown.jsonl was written with; empty if there is none."""
    try:
        with path.open("rb") as file:
            return str(orjson.loads(file.readline())["key"])
    except (OSError, orjson.JSONDecodeError, LookupError, TypeError):
        return ""


def read_shown(path: Path) -> ShownTexts | None:
    """Read the queries of a shown.jsonl, and where its documents are; None if there is no file.

    Raises:
        DataError: a line is not what `write_shown` writes; names file and line.
    """
    queries: list[ShownQuery] = []
    places: dict[str, int] = {}
    offset = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                item = _item(line, path, number)
                if isinstance(item, ShownQuery):
                    queries.append(item)
                elif item is not None:
                    places[item.doc_id] = offset
                offset += len(line)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(path, None, error.strerror or str(error)) from None
    return ShownTexts(path, tuple(queries), places)


def _item(line: bytes, path: Path, number: int) -> ShownDocument | ShownQuery | None:
    """Return the item of a line; None for the header."""
    try:
        tree = orjson.loads(line)
        if number == 1:
            str(tree["key"])
            return None
        if "query" in tree:
            return _query(tree["query"])
        return _document(tree["document"])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"no text that was shown: {type(error).__name__}: {error}"
        raise DataError(path, number, what, _REMEDY) from None


def _document(tree: Mapping[str, Any]) -> ShownDocument:
    document = ShownDocument(**tree)
    _check_words(document.doc_id, document.title, document.text)
    return document


def _query(tree: Mapping[str, Any]) -> ShownQuery:
    _check_words(tree["query_id"], tree["text"], *chain.from_iterable(tree["lists"].values()))
    return ShownQuery(
        query_id=tree["query_id"],
        text=tree["text"],
        relevant={doc_id: _grade(grade) for doc_id, grade in tree["relevant"].items()},
        lists={model: tuple(doc_ids) for model, doc_ids in tree["lists"].items()},
    )


def _grade(grade: object) -> float:
    if not isinstance(grade, int | float):
        raise TypeError("a grade is no number")
    return grade


def _check_words(*words: object) -> None:
    if not all(isinstance(word, str) for word in words):
        raise TypeError("an id or a text is no string")
