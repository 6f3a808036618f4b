"""Columns beside the models and the winner that change what a row of a battle log means.

Such a column flags ties or tells which list a judge saw first. Another holds the verdict on the
swapped lists, or counts the battles that a row stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from arena.battles.foreign_columns import (
    MODEL,
    SWAPPED,
    TIE,
    VERDICT,
    Columns,
    Row,
    ShapeError,
    is_nothing,
    number_in,
    plain,
    words_of,
)

_SHOWN: Final = MODEL | {"shown", "presented", "displayed", "name", "side", "position", "in", "is"}
_FIRST: Final = frozenset(("first", "left"))
_ORDER: Final = frozenset(("order", "presentation"))
_REVERSED: Final = SWAPPED | {"reverse"}
_AS_NAMED: Final = frozenset(("ab", "original", "normal", "forward", "afirst"))
_TURNED: Final = frozenset(("ba", "bfirst", *_REVERSED))

_COUNTS: Final = frozenset(
    ("count", "counts", "frequency", "occurrences", "weight", "weights", "nbattles", "ngames")
)


def changes_rows(name: str) -> bool:
    """Return whether a column of this name may change what its row means."""
    words = set(words_of(name))
    is_order = _is_order(words) and name not in ("order_swapped", "swapped")
    return may_flag_ties(name) or is_order or plain(name) in _COUNTS or _is_second(words)


def may_flag_ties(name: str) -> bool:
    """Return whether a column of this name may be 1 for ties, beside one that tells the winner."""
    words = set(words_of(name))
    return bool(words & TIE) and words <= TIE | {"is", "bad", "good"}


def second_verdict(columns: Columns) -> tuple[str, str] | None:
    """Return ``winner`` and the column of the winner when the lists were swapped."""
    second = [name for name, words in columns.items() if _is_second(set(words))]
    return ("winner", second[0]) if "winner" in columns and len(second) == 1 else None


def count_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns that tell how many battles a row stands for, by names and numbers."""
    names = dict.fromkeys(name for row in rows for name in row if plain(name) in _COUNTS)
    cells = {name: list(_filled(name, rows)) for name in names}
    return [
        name
        for name, filled in cells.items()
        if filled and all(number_in(cell) is not None for cell in filled)
    ]


def refuse_counts(row: Row, columns: Sequence[str]) -> None:
    """Refuse a row that stands for several battles.

    Raises:
        ShapeError: one of the columns is a number other than 1.
    """
    for name in columns:
        number = None if is_nothing(row.get(name)) else number_in(row[name])
        if number not in (None, 1):
            what = f"{name} is {number:g}: a row seems to stand for several battles"
            raise ShapeError(what, f"give each battle a row, or remove the column {name}")


def tie_flags(names: Iterable[str], rows: Sequence[Row]) -> list[str]:
    """Return the columns that flag ties, beside one that tells the winner."""
    return [
        name
        for name in filter(may_flag_ties, names)
        if all(as_flag(cell) is not None for cell in _filled(name, rows))
        if any(_filled(name, rows))
    ]


def tie_flagged(row: Row, names: Sequence[str]) -> str | None:
    """Return the first of the columns that flags the row as a tie.

    Raises:
        ShapeError: one is no flag.
    """
    return next((n for n in names if not is_nothing(row.get(n)) and flag_in(row, n)), None)


def as_flag(value: object) -> bool | None:
    """Return what a flag says; None if it is no flag."""
    words = dict.fromkeys(("1", "1.0", "true", "yes"), True)
    words |= dict.fromkeys(("0", "0.0", "false", "no"), False)
    return words.get(str(value).strip().lower())


def flag_in(row: Row, name: str) -> bool:
    """Return the flag in a cell.

    Raises:
        ShapeError: it is none.
    """
    flag = as_flag(row.get(name))
    if flag is None:
        raise ShapeError(f"{name} is {str(row.get(name))[:60]!r}", "expected 0 or 1")
    return flag


def order_column(rows: Sequence[Row]) -> str | None:
    """Return the column that tells which list a judge saw first, by a model's name or as AB or BA.

    Args:
        rows: the first ones of a file.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        if not _is_order(set(words_of(name))):
            continue
        told = [(row, row[name]) for row in rows if not is_nothing(row.get(name))]
        words = {plain(cell) for _, cell in told}
        are_names = all(_names_another(row, name, cell) for row, cell in told)
        if told and (are_names or words <= _AS_NAMED | _TURNED):
            return name
    return None


def is_swapped(cell: object, model_a: object, model_b: object) -> bool | None:
    """Return whether model_b's list was shown first by a cell of an `order_column`."""
    if is_nothing(cell) or model_a == model_b:
        return None
    if cell in (model_a, model_b):
        return cell == model_b
    word = plain(cell)
    return True if word in _TURNED else False if word in _AS_NAMED else None


def _filled(name: str, rows: Sequence[Row]) -> Iterator[Any]:
    return (row[name] for row in rows if not is_nothing(row.get(name)))


def _is_order(words: set[str]) -> bool:
    return bool(words & (_FIRST | _ORDER)) and words <= _FIRST | _ORDER | _SHOWN


def _is_second(words: set[str]) -> bool:
    return bool(words & VERDICT[0]) and bool(words & _REVERSED) and words <= VERDICT[0] | _REVERSED


def _names_another(row: Row, name: str, cell: object) -> bool:
    """Return whether another column of the row has the same text."""
    return isinstance(cell, str) and any(
        value == cell for column, value in row.items() if column != name
    )
