"""Text from elsewhere, made safe for a terminal, and the tables that hold it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_INVISIBLE = re.compile(
    # C0 and C1 controls; zero-width, bidirectional and other format characters; surrogates.
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def plain_console(width: int, *, colour: bool) -> Console:
    """A console whose output can be captured; no text is taken for markup or an emoji."""
    from rich.console import Console  # noqa: PLC0415 - rich takes longer than all the rest

    return Console(
        width=width,
        color_system="standard" if colour else None,
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )


def printable(text: str) -> str:
    """Text from elsewhere without the characters that could move a terminal's cursor."""
    return _INVISIBLE.sub("", text)


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: 1 query, 1,200 queries."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listing(names: Sequence[str], most: int = 8) -> str:
    """Names with commas; people's logs have a judge per person, so only the first few."""
    hidden = len(names) - most
    return ", ".join(names[:most]) + (f" and {hidden:,} more" if hidden > 0 else "")


def text(cell: str) -> Text:
    """A cell on one line, never read as markup; what is too long ends in an ellipsis."""
    from rich.text import Text  # noqa: PLC0415 - rich takes longer than all the rest

    return Text(cell, no_wrap=True, overflow="ellipsis")


def empty_table() -> Table:
    """A table without lines."""
    from rich.table import Table  # noqa: PLC0415

    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
