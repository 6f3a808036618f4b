"""Ask about the terminal, fit tables and lines to it, and make foreign text safe for one line."""

from __future__ import annotations

import codecs
import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from arena.redaction import blank

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = [
    "Column",
    "Screen",
    "can_redraw",
    "count",
    "empty_table",
    "fitted_table",
    "flat",
    "is_terminal",
    "listing",
    "plain_console",
    "printable",
    "short_names",
    "shortened",
    "stdout_console",
    "wrapped",
]

_GAP = 2
"""Blanks between two columns."""

_ANY_WIDTH = 10_000


@dataclass(frozen=True, slots=True)
class Screen:
    """The width, colours and encoding of an output."""

    width: int | None = None  #: columns; None if nobody reads it on a terminal
    colour: bool = False  #: ANSI escapes are understood, and wanted
    encoding: str = "utf-8"


def is_terminal(stream: TextIO) -> bool:
    """Return whether people read a stream, such as ``sys.stderr``, on a terminal."""
    return stream.isatty()


def can_redraw(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that understands escapes: it can redraw a line."""
    return is_terminal(stream) and os.environ.get("TERM") not in ("dumb", "unknown")


def stdout_console() -> Screen:
    """Return the current stdout, with colours only on a terminal and without NO_COLOR."""
    encoding = sys.stdout.encoding or "utf-8"
    if not is_terminal(sys.stdout):
        return Screen(encoding=encoding)
    colour = can_redraw(sys.stdout) and not os.environ.get("NO_COLOR")
    return Screen(shutil.get_terminal_size().columns, colour, encoding)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; arena never cuts figures and words, only names and foreign text."""

    head: str
    cells: Sequence[str]
    kind: Literal["figure", "word", "name", "prose"] = "figure"
    """Figures are right-aligned, names are cut in the middle, and prose is wrapped."""
    gives_way: int = 0  #: the highest is left out first on a narrow terminal; 0 never is
    styles: Sequence[str] = ()  #: of the cells; as the rest of the table if absent

    @property
    def need(self) -> int:
        """Return the number of cells that show the column in full."""
        from rich.cells import cell_len  # noqa: PLC0415

        return max(map(cell_len, [self.head, *self.cells]))

    @property
    def bends(self) -> bool:
        """Return whether the column may be narrower than its contents."""
        return self.kind in ("name", "prose")


def plain_console(width: int, *, colour: bool) -> Console:
    """Return a console whose output can be captured, without markup and emoji."""
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


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: 1 query, 1,200 queries."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listing(names: Sequence[str], most: int = 8) -> str:
    """Return names with commas, shortened to the first few."""
    hidden = len(names) - most
    return ", ".join(names[:most]) + (f" and {hidden:,} more" if hidden > 0 else "")


def wrapped(line: str, on: Screen, *, lead: str = "") -> str:
    """Return a line wrapped between words to the screen's width; unchanged without a width.

    Args:
        line: of any length; a word that is longer than the screen is broken too.
        on: where it is shown.
        lead: stands before the line, such as a bullet, and what follows is indented by as much.
    """
    from rich.text import Text  # noqa: PLC0415

    line, lead = encodable(line, on.encoding), encodable(lead, on.encoding)
    if on.width is None:
        return lead + line
    room = max(on.width - len(lead), 1)
    lines = Text(line).wrap(plain_console(room, colour=False), room)
    return f"\n{' ' * len(lead)}".join([lead + lines[0].plain, *(one.plain for one in lines[1:])])


def short_names(names: Iterable[str], width: int, encoding: str = "utf-8") -> dict[str, str]:
    """Return each name in at most ``width`` cells: cut in the middle, and all different.

    Names of a family often differ only in their middle. If the cut makes some equal, the shown
    parts begin at the first difference. If they are still equal, arena numbers them.

    Args:
        names: as they are; equal ones are one.
        width: cells of a terminal; at least 8, so that a number has room.
        encoding: what the terminal can show.
    """
    whole = {name: _readable(name, encoding) for name in names}
    cut_names = {name: _cut(text, width, encoding) for name, text in whole.items()}
    for equal_names in _alike(cut_names):
        start = _common([whole[name] for name in equal_names])
        for name in equal_names:
            cut_names[name] = _cut(encodable("…", encoding) + whole[name][start:], width, encoding)
    taken = set(cut_names.values())
    for equal_names in _alike(cut_names):
        for name in equal_names:
            marks = (f" #{number}" for number in itertools.count(1))
            numbered = (_cut(whole[name], width - len(m), encoding) + m for m in marks)
            cut_names[name] = next(one for one in numbered if one not in taken)
            taken.add(cut_names[name])
    return cut_names


def empty_table() -> Table:
    """Return a table without lines."""
    from rich.table import Table  # noqa: PLC0415

    return Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")


def fitted_table(columns: Sequence[Column], on: Screen, *, default_width: int) -> Table:
    """Return a table without lines that fits the screen.

    arena drops optional columns until names have room; names then share the remaining width.
    Where nobody reads it on a terminal, names stay whole: a program or a person may look for them.
    """
    width = on.width or default_width
    columns = _fitting([_encoded(column, on.encoding) for column in columns], width)
    table = empty_table()
    columns_shown = []
    rooms = _rooms(columns, width)
    if on.width is None:
        rooms = [
            column.need if column.kind == "name" else room
            for column, room in zip(columns, rooms, strict=True)
        ]
    for column, room in zip(columns, rooms, strict=True):
        side: Literal["left", "right"] = "right" if column.kind == "figure" else "left"
        prose = column.kind == "prose"
        table.add_column(column.head, justify=side, no_wrap=not prose, max_width=room)
        columns_shown.append(_cells(column, room, on.encoding))
    for cells in zip(*columns_shown, strict=True):
        table.add_row(*cells)
    return table


def _encoded(column: Column, encoding: str) -> Column:
    if column.kind == "name":
        whole = short_names(column.cells, _ANY_WIDTH, encoding)
        cells = [whole[cell] for cell in column.cells]
    else:
        cells = [encodable(cell, encoding) for cell in column.cells]
    return replace(column, head=encodable(column.head, encoding), cells=cells)


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the shown columns: as many optional ones as leave room for names."""
    least = 20 if width >= 60 else 12
    needs = [min(column.need, least) if column.bends else column.need for column in columns]
    lacking = sum(need + _GAP for need in needs) - _GAP - width
    left_out = set()
    for at in sorted(range(len(columns)), key=lambda at: -columns[at].gives_way):
        if lacking > 0 and columns[at].gives_way:
            left_out.add(at)
            lacking -= needs[at] + _GAP
    return [column for at, column in enumerate(columns) if at not in left_out]


def _rooms(columns: Sequence[Column], width: int) -> list[int]:
    """Return the width of each column; flexible columns share what the others leave."""
    left = width - _GAP * (len(columns) - 1) - sum(c.need for c in columns if not c.bends)
    rooms = {id(column): column.need for column in columns}
    bending = sorted((column for column in columns if column.bends), key=lambda c: c.need)
    for number, column in enumerate(bending):
        rooms[id(column)] = max(min(column.need, left // (len(bending) - number)), 8)
        left -= rooms[id(column)]
    return [rooms[id(column)] for column in columns]


def _cells(column: Column, room: int, encoding: str) -> list[Text]:
    from rich.text import Text  # noqa: PLC0415

    styles = column.styles or [""] * len(column.cells)
    cells = column.cells
    if column.kind == "name":
        short = short_names(cells, room, encoding)
        cells = [short[cell] for cell in cells]
    overflow: Literal["fold", "ellipsis"] = "fold" if column.kind == "prose" else "ellipsis"
    return [
        Text(cell, style=style, no_wrap=column.kind != "prose", overflow=overflow)
        for cell, style in zip(cells, styles, strict=True)
    ]


def _readable(name: str, encoding: str) -> str:
    shown = printable(name).strip() or ascii(name)
    return encodable(shown, encoding)


def _alike(shown: Mapping[str, str]) -> list[list[str]]:
    """Return groups of names whose shown forms are equal."""
    groups: dict[str, list[str]] = {}
    for name, text in shown.items():
        groups.setdefault(text, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _common(texts: Sequence[str]) -> int:
    """Return the length of the common prefix."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return next((at for at, (a, b) in pairs if a != b), len(first))


def _cut(text: str, width: int, encoding: str) -> str:
    """Return the beginning and the end of a text, within a number of cells."""
    from rich.cells import cell_len  # noqa: PLC0415

    if cell_len(text) <= width:
        return text
    dots = encodable("…", encoding)
    room = max(width - len(dots), 2)
    head = _begin(text, room - room // 2)
    tail = _begin(text[::-1], room // 2)[::-1]
    while tail and cell_len(tail[0]) == 0:
        tail = tail[1:]  # a combining accent of a removed letter
    return f"{head}{dots}{tail}"


def _begin(text: str, room: int) -> str:
    from rich.cells import cell_len  # noqa: PLC0415

    at = used = 0
    while at < len(text) and used + cell_len(text[at]) <= room:
        used += cell_len(text[at])
        at += 1
    return text[:at]


_SHOWN = 300
"""Maximum characters of an endpoint's message."""


def one_line(text: str, *, most: int = _SHOWN) -> str:
    """Return foreign text for one line: short, without control characters or keys.

    arena redacts keys before it cuts the text, because a cut key would not be recognised.

    Args:
        text: from an endpoint, a program, a file or a library.
        most: characters of the line.
    """
    # An endpoint may send a megabyte; this limits the work to what can be shown.
    seen = blank(text[: 20 * most])
    if len(text) > 20 * most:
        seen = seen[:-most]  # these characters may begin a key
    return shortened(flat(seen), most)


def flat(text: str) -> str:
    """Return text on one line: each control character and run of white space is a blank."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text of at most this many characters, with … if there is more."""
    return text if len(text) <= most else text[: most - 1] + "…"


_PLAINER: Final = {
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "±": "+-",
    "•": "*",
    "·": ".",
    "×": "x",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}
"""ASCII forms of arena's own signs; other characters that cannot be encoded are escaped."""

_ERRORS: Final = "arena-plainer"

_UNSEEN: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def printable(text: str) -> str:
    """Return one line of foreign text that cannot move a cursor or change its direction.

    arena removes controls, format characters, lone surrogates and unassigned characters. Any white
    space becomes a space.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c.isspace() else ""
        for c in text
        if c.isprintable() or c.isspace()
    )


def printable_json(tree: object) -> bytes:
    """Return indented JSON in UTF-8 that cannot move a cursor: such characters are escaped."""
    import orjson  # noqa: PLC0415 - `arena --help` needs none

    text = orjson.dumps(tree, option=orjson.OPT_INDENT_2).decode()
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def encodable(text: str, encoding: str) -> str:
    """Return the text in characters of an encoding: ASCII signs, and escapes for the rest."""
    return text.encode(encoding, _ERRORS).decode(encoding)


def prepare_streams() -> None:
    """Make stdout and stderr write unencodable characters as `encodable` does, without an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)


def _plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAINER.get(c) or _escape(c) for c in lacking), error.end


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(_ERRORS, _plainer)


def duration(seconds: float) -> str:
    """Return seconds as a duration: ``95`` → ``1:35``; ``7322`` → ``2:02:02``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def dollars(amount: float) -> str:
    """Return an amount in dollars: ``1234.5`` → ``$1,234.50``; four decimals below ten cents."""
    return f"${amount:,.4f}" if 0 < amount < 0.1 else f"${amount:,.2f}"
