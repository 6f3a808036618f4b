"""Battles and labels of any table as data frames: of pandas, polars or `datasets`, or rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeGuard

from arena.api.arguments import path_of, wrong_type
from arena.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


class Table(Protocol):
    """A table of another library that pandas can take, such as polars or `datasets`."""

    def to_pandas(self) -> Any:
        """Return the rows as a data frame of pandas."""


Tables: TypeAlias = (
    "pd.DataFrame | Table | str | Path | Iterable[pd.DataFrame | Mapping[str, Any] | str | Path]"
)
"""A table, rows, several tables, a path, or several paths."""

_TABLE: Final = "a DataFrame, a list of dicts"


def battles_in(battles: object, argument: str = "battles") -> pd.DataFrame | list[Path]:
    """Return battles as one data frame, or the paths of logs.

    Args:
        battles: a table, rows, several tables, a path, or several paths.
        argument: its name.

    Raises:
        UsageError: it is none of these, or there are no battles.
    """
    if isinstance(battles, str | os.PathLike):
        return [path_of(battles, argument)]
    expected = f"{_TABLE}, a path, or a list of paths"
    if _is_table(battles) or not isinstance(battles, Iterable) or isinstance(battles, Mapping):
        return frame_in(battles, argument, expected)
    items = list(battles)
    if not items:
        raise UsageError(f"{argument}: an empty list; expected {expected}")
    if all(isinstance(item, str | os.PathLike) for item in items):
        return [path_of(item, argument) for item in items]
    if all(map(_is_table, items)):
        return _joined([frame_in(item, argument) for item in items])
    return frame_in(items, argument, expected)


def frame_in(table: object, argument: str, expected: str = _TABLE) -> pd.DataFrame:
    """Return a table or rows as a data frame of pandas.

    Args:
        table: a table of any library that has ``to_pandas``, or an iterable of dicts.
        argument: its name.
        expected: what it should be, in words.

    Raises:
        UsageError: it is none of these.
    """
    import pandas as pd  # noqa: PLC0415

    if is_frame(table):
        return table
    if _is_table(table):
        frame: pd.DataFrame = table.to_pandas()  # type: ignore[attr-defined]
        return frame
    if not isinstance(table, Iterable) or isinstance(table, str | Mapping):
        raise wrong_type(table, argument, expected)
    rows = list(table)
    for row in rows:
        if not isinstance(row, Mapping):
            raise wrong_type(row, f"{argument}: a row", "a dict")
    return pd.DataFrame(rows)


def rows_in(table: Any) -> Any:
    """Return the rows of a DataFrame, of pandas or polars, as dicts; a Series as a dict.

    A missing cell is None. Anything else is returned as it is.
    """
    if is_frame(table):
        return table.astype(object).where(table.notna(), None).to_dict("records")
    if hasattr(table, "iter_rows"):
        return table.iter_rows(named=True)
    if hasattr(table, "to_dict") and hasattr(table, "index"):
        return table.to_dict()
    return table


def is_frame(table: object) -> TypeGuard[pd.DataFrame]:
    """Return whether something is a data frame of pandas; pandas itself is not loaded."""
    return hasattr(table, "columns") and hasattr(table, "attrs")


def frame_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a data frame; a column in which nothing is known holds NaN, not None."""
    import pandas as pd  # noqa: PLC0415

    frame = pd.DataFrame(list(rows))
    return frame.astype({name: float for name in frame if frame[name].isna().all()})


def _is_table(table: object) -> bool:
    return is_frame(table) or hasattr(table, "to_pandas")


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all frames, with the failures that `arena.compare` counted in each."""
    import pandas as pd  # noqa: PLC0415

    joined = pd.concat(frames, ignore_index=True)
    joined.attrs = {}
    counts = [frame.attrs.get("arena", {}) for frame in frames]
    if all(count.get("battles") == len(frame) for count, frame in zip(counts, frames, strict=True)):
        failures = sum(count["failures"] for count in counts)
        joined.attrs["arena"] = {"battles": len(joined), "failures": failures}
    return joined
