"""Read battle files from any tool row by row, where their columns are not named as arena's.

JSON arrays, and objects that hold one, are read here too. What the columns mean is decided in
`arena.battles.foreign_shapes`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from arena.battles.foreign_cells import flat
from arena.battles.foreign_columns import Row, ShapeError, tells_outcome
from arena.battles.foreign_shapes import Shape, find_shape
from arena.battles.parquet import opened_parquet
from arena.battles.table import (
    HINT,
    OPTIONAL,
    OWN_COLUMNS,
    OWN_OPTIONAL,
    REQUIRED,
    BattleTable,
    Coder,
    checked_table,
    hashable,
    is_query_text,
    listed,
    query_columns,
)
from arena.data.csv_file import SEPARATORS, csv_records
from arena.data.rows import file_lines, opened
from arena.errors import DataError
from arena.json_text import parse_json

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE_ROWS: Final = 200
"""Rows by which the columns are known."""

KINDS: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Suffixes of the files that arena reads."""

_PARQUET: Final = b"PAR1"
"""How every Parquet file begins."""

_CHUNK_BATTLES: Final = 1 << 14
_MARK: Final = b"\xef\xbb\xbf"
_LARGEST_DOCUMENT: Final = 1 << 31
"""Bytes of a JSON list, which is read as a whole; its values take several times as much."""

_DEEPEST: Final = 3
"""Objects around the list of battles."""


def kind_of(path: Path) -> str:
    """Return the suffix of a file, without ``.gz``; that of its content if nobody knows it.

    Raises:
        OSError, EOFError, zlib.error, UnicodeDecodeError: it cannot be read.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in KINDS:
        return suffix
    with path.open("rb") as raw:
        if raw.read(len(_PARQUET)) == _PARQUET:
            return ".parquet"
    with opened(path) as file:
        begin = file.read(1 << 16).removeprefix(_MARK).lstrip()
    if begin.startswith((b"{", b"[")):
        return ".jsonl" if b"}\n{" in begin.replace(b"\r", b"") else ".json"
    header = begin.partition(b"\n")[0]
    # A table of battles has three columns at least.
    is_table = b"\0" not in begin and any(header.count(each.encode()) > 1 for each in SEPARATORS)
    return ".csv" if is_table else suffix


def begins_as_array(path: Path) -> bool:
    """Return whether a file is a JSON array that can be parsed.

    Raises:
        OSError, EOFError, zlib.error, UnicodeDecodeError: it cannot be read.
    """
    with opened(path) as file:
        if not file.read(1 << 10).removeprefix(_MARK).lstrip().startswith(b"["):
            return False
    try:
        return isinstance(_parsed(path), list)
    except DataError:
        return False


def read_json_file(path: Path) -> BattleTable:
    """Read a JSON file: a list of battles, an object that holds one, columns, or JSONL.

    Raises:
        DataError: it is no JSON, or holds no battles.
    """
    try:
        value = _parsed(path)
    except DataError:
        if not _begins_as_jsonl(path):
            raise
        return table_of_rows(str(path), _jsonl_rows(path))
    try:
        rows, depth = _rows_in(value)
    except ShapeError as error:
        raise DataError(path, None, error.what, error.remedy) from None
    numbered = enumerate(rows)
    return table_of_rows(str(path), numbered, lambda place: _element_line(path, depth, place))


def read_rows(path: Path, names: Iterable[str], header: DataError) -> BattleTable:
    """Read a JSONL, CSV, TSV or Parquet file whose columns have other names than arena's.

    Args:
        path: the file.
        names: of columns, by which the separator of a CSV file is known.
        header: says which of arena's columns are missing.

    Raises:
        DataError: its columns cannot be told, or a row is no battle.
    """
    kind = kind_of(path)
    if kind in (".csv", ".tsv"):
        return table_of_rows(str(path), _csv_rows(path, frozenset(names)), header=header)
    if kind == ".parquet":
        return table_of_rows(str(path), _parquet_rows(path), header=header)
    return table_of_rows(str(path), _jsonl_rows(path), header=header)


def rows_of_frame(frame: pd.DataFrame) -> Iterator[tuple[int, Row]]:
    """Yield position and cells of each row of a data frame; a missing cell is None."""
    names = [str(name) for name in frame.columns]
    columns = [frame.iloc[:, place].astype(object) for place in range(len(names))]
    filled = [column.where(column.notna(), None).tolist() for column in columns]
    for place, cells in enumerate(zip(*filled, strict=True)):
        yield place, dict(zip(names, map(_from_frame, cells), strict=True))


def table_of_rows(
    source: str,
    rows: Iterable[tuple[int, Any]],
    line_of: Callable[[int], int] = int,
    header: DataError | None = None,
) -> BattleTable:
    """Return the battles that rows of any known shape tell.

    Args:
        source: the file's path, for messages.
        rows: the place of each, and its cells.
        line_of: place → line of the file.
        header: what is wrong with the names of the columns if nobody knows them.

    Raises:
        DataError: the columns cannot be told, or a row is no battle; names file and line.
    """
    numbered = iter(rows)
    sample = list(islice(numbered, _SAMPLE_ROWS))
    if not sample:
        raise header or DataError(source, None, "empty", HINT)
    seen = [_flat(source, line_of, place, row) for place, row in sample]
    try:
        shape = find_shape(seen)
    except ShapeError as error:
        line = header.line if header is not None else line_of(sample[0][0])
        raise DataError(source, line, error.what, error.remedy) from None
    reading = _RowReader(source, shape, line_of, dict.fromkeys(n for row in seen for n in row))
    return checked_table(reading.table(chain(sample, numbered)))


class _RowReader:
    """Battles of rows of one shape, as columns."""

    def __init__(
        self, source: str, shape: Shape, line_of: Callable[[int], int], names: Iterable[str]
    ) -> None:
        present = frozenset(names)
        self._source, self._shape, self._line_of = source, shape, line_of
        self._own = present >= OWN_COLUMNS
        more = OWN_OPTIONAL if self._own else query_columns(names)
        self._coded = tuple(dict.fromkeys((*REQUIRED, *OPTIONAL, *more)))
        self._places = array("q")
        self._probs, self._ids = list[Any](), list[Any]()

    def table(self, rows: Iterable[tuple[int, Any]]) -> BattleTable:
        """Return the battles; one without a verdict has None as its winner.

        Raises:
            DataError: a row is no battle.
        """
        coder, source, places = Coder(self._coded), self._source, self._places
        told = self._battles(rows)
        while chunk := list(islice(told, _CHUNK_BATTLES)):
            for name in self._coded:
                coder.add(name, [battle[name] for battle in chunk], len(chunk))
        notes = [f"{source}: {self._shape.note}"] if self._shape.note else []
        is_soft = any(map(_says_more if self._shape.is_scaled else bool, self._probs))
        return BattleTable(
            source,
            coder.columns(),
            line_of=lambda row: self._line_of(places[row]),
            ids=self._ids,
            probs=self._probs if is_soft else (),
            notes=tuple(notes),
        )

    def _battles(self, rows: Iterable[tuple[int, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the coded cells of each battle."""
        for number, row in rows:
            cells = _flat(self._source, self._line_of, number, row)
            try:
                for battle in self._shape.battles(cells):
                    if self._own:
                        self._ids.append(row.get("id"))
                        battle |= {name: row.get(name) for name in OWN_OPTIONAL}
                    self._places.append(number)
                    self._probs.append(battle.get("probs"))
                    yield {name: _cell(name, battle.get(name)) for name in self._coded}
            except ShapeError as error:
                line = self._line_of(number)
                raise DataError(self._source, line, error.what, error.remedy) from None


def _flat(source: str, line_of: Callable[[int], int], number: int, row: Any) -> Row:
    if not isinstance(row, dict):
        raise DataError(source, line_of(number), "not a JSON object", HINT)
    return flat(row)


def _says_more(probs: Any) -> bool:
    """Return whether probabilities made of a scale say more than who won."""
    return probs is not None and {0.5, 1.0}.isdisjoint(probs.values())


def _cell(name: str, value: Any) -> Any:
    """Return a cell that can be coded.

    Raises:
        ShapeError: it is a list or an object where a word is needed.
    """
    if not isinstance(value, list | dict):
        return value
    if is_query_text(name):
        return hashable(value)
    raise ShapeError(f'"{name}" is a list or an object', "give a word")


def _from_frame(cell: Any) -> Any:
    return cell.tolist() if hasattr(cell, "tolist") else cell


def _begins_as_jsonl(path: Path) -> bool:
    """Return whether the first line is an object by itself."""
    try:
        return isinstance(next(_jsonl_rows(path), (0, None))[1], dict)
    except DataError:
        return False


def _parsed(path: Path) -> Any:
    with opened(path) as file:
        raw = file.read(_LARGEST_DOCUMENT + 1).removeprefix(_MARK)
    if len(raw) > _LARGEST_DOCUMENT:
        what = f"a JSON document of more than {_LARGEST_DOCUMENT:,} bytes"
        raise DataError(path, None, what, "write the battles one a line, as JSON Lines")
    if not raw.strip():
        raise DataError(path, None, "empty", HINT)
    try:
        return parse_json(raw).value
    except orjson.JSONDecodeError as error:
        what = f"not valid JSON: {str(error).partition(':')[0]}"
        remedy = "expected a list of battles, or one object a line"
        raise DataError(path, error.lineno, what, remedy) from None


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Any]]:
    with opened(path) as file:
        for number, line in file_lines(path, file):
            text = line.removeprefix(_MARK) if number == 1 else line
            if not text.strip():
                continue
            try:
                yield number, parse_json(text).value
            except orjson.JSONDecodeError as error:
                what = f"not valid JSON: {str(error).partition(':')[0]}"
                raise DataError(path, number, what, "correct or remove the line") from None


def _csv_rows(path: Path, names: frozenset[str]) -> Iterator[tuple[int, Row]]:
    records = csv_records(path, names)
    line, header = next(records, (0, []))
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise DataError(path, line, f'two columns are called "{twice}"', "rename one")
    for number, cells in records:
        yield number, {name: cell or None for name, cell in zip(header, cells, strict=True) if name}


def _parquet_rows(path: Path) -> Iterator[tuple[int, Row]]:
    with opened_parquet(path) as file:
        for number, cells in enumerate(file.rows(file.header), 1):
            yield number, dict(zip(file.header, cells, strict=True))


def _rows_in(value: Any, depth: int = 0) -> tuple[list[Any], int]:
    """Return the rows that a JSON value holds, and how many objects are around them.

    Raises:
        ShapeError: it holds no rows, or several lists of them.
    """
    if isinstance(value, list):
        return value, depth + 1
    if not isinstance(value, dict):
        raise ShapeError("holds no battles", "expected a list of battles")
    constant = {
        name: cell
        for name, cell in value.items()
        if not isinstance(cell, list | dict) and not tells_outcome(name)
    }
    tables = {
        name: [{**constant, **row} if isinstance(row, dict) else row for row in cell]
        for name, cell in value.items()
        if isinstance(cell, list) and cell and isinstance(cell[0], dict)
    }
    is_battle = _is_battle(value)
    told = {name: rows for name, rows in tables.items() if _is_battle(rows[0])}
    if is_battle and (not told or "games" in told):
        return [value], depth
    tables = told or tables
    if len(tables) > 1:
        what = f"several lists could hold the battles: {listed(list(tables))}"
        raise ShapeError(what, "keep one of them in the file")
    if tables:
        return next(iter(tables.values())), depth + 2
    if (rows_of_columns := _transposed(value)) is not None:
        return rows_of_columns, 0
    inner = [each for each in value.values() if isinstance(each, dict)]
    if depth < _DEEPEST and (deeper := _rows_deeper(inner, depth + 1)):
        return deeper
    what = f"holds no list of battles; the object has {listed(list(value)) or 'nothing'}"
    raise ShapeError(what, 'expected a list, or one list in an object: {"battles": [...]}')


def _rows_deeper(objects: list[Any], depth: int) -> tuple[list[Any], int] | None:
    """Return the rows of the one object that holds battles; None if none does."""
    told = []
    for each in objects:
        try:
            rows, inner_depth = _rows_in(each, depth)
        except ShapeError:
            continue
        if rows and isinstance(rows[0], dict) and (len(objects) == 1 or _is_battle(rows[0])):
            told.append((rows, inner_depth))
    if len(told) > 1:
        raise ShapeError("several objects hold battles", "keep one of them in the file")
    return told[0] if told else None


def _is_battle(row: dict[str, Any]) -> bool:
    cells = flat(row)
    if any(isinstance(cell, list | dict) for name, cell in cells.items() if name in REQUIRED):
        return False
    try:
        find_shape([cells])
    except ShapeError:
        return False
    return not all(isinstance(cell, list | dict) for cell in row.values())


def _transposed(value: dict[str, Any]) -> list[Any] | None:
    """Return the rows of a table written by columns, as pandas does; None if it is not one."""
    cells = list(value.values())
    if all(isinstance(each, dict) for each in cells) and cells:
        keys = list(cells[0])
        if all(list(each) == keys for each in cells) and _is_shape(value):
            return [{name: column[key] for name, column in value.items()} for key in keys]
        return cells if all(_is_battle(each) for each in cells[:9]) else None
    header, data = value.get("columns"), value.get("data")
    if isinstance(header, list) and isinstance(data, list):
        return [dict(zip(map(str, header), row, strict=False)) for row in data]
    columns = {name: each for name, each in value.items() if isinstance(each, list)}
    sizes = {len(each) for each in columns.values()}
    if len(columns) > 1 and len(sizes) == 1:
        width = range(sizes.pop())
        return [{name: column[place] for name, column in columns.items()} for place in width]
    return None


def _is_shape(names: Iterable[str]) -> bool:
    try:
        find_shape([dict.fromkeys(names, "")])
    except ShapeError:
        return False
    return True


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]')


def _element_line(path: Path, depth: int, number: int) -> int:
    """Return the line on which an object of a list begins; its number, from 1, if it has no line.

    Args:
        path: a JSON file.
        depth: how many brackets are around the object.
        number: of the object in the list, from 0.
    """
    if depth == 0:
        return number + 1
    with opened(path) as file:
        raw = file.read()
    stack: list[bytes] = []
    for token in _TOKEN.finditer(raw):
        sign = token[0]
        if sign in (b"[", b"{"):
            if len(stack) == depth and stack[-1] == b"[":
                if number == 0:
                    return raw.count(b"\n", 0, token.start()) + 1
                number -= 1
            stack.append(sign)
        elif sign in (b"]", b"}"):
            stack.pop()
    return 1
