"""Define what a file says, and decode the text of files.

Every reader of a kind of file returns a `FileText`, or raises `UnreadableError` with the reason.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_MOST_NULS: Final = 0.01
"""Share of NUL characters above which a file is no text."""


class UnreadableError(Exception):
    """A file is not what its name says; the message is the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A part of a file that shares no passage with another part: a row of a table, a mail."""

    headings: tuple[str, ...] = ()  #: that it stands under: the sheet, the subject
    text: str = ""  #: empty for a row
    markdown: bool = False  #: whether the text has the marks of Markdown
    cells: tuple[tuple[str, str], ...] = ()  #: of a row: column and value; a column may lack a name


@dataclass(frozen=True, slots=True)
class FileText:
    """What a file says: a text, or records."""

    title: str  #: as the file gives it; empty if it does not
    text: str  #: with line feeds alone as line ends; empty if there are records
    markdown: bool  #: whether the text has the marks of Markdown
    records: tuple[FileRecord, ...] = ()


def decoded(raw: bytes, declared: str | None = None) -> str:
    """Return the text, decoded by the byte order mark, else as UTF-8, else as the file declares.

    Raises:
        UnreadableError: it is none of them, or no text.
    """
    marked = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), None)
    encodings = [marked] if marked else ["utf-8-sig", *([declared] if declared else [])]
    reason = ""
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except (UnicodeError, LookupError) as error:
            place = f" at byte {error.start + 1}" if isinstance(error, UnicodeDecodeError) else ""
            reason = reason or f"not {encoding.upper().removesuffix('-SIG')}{place}"
            continue
        if text.count("\0") > _MOST_NULS * len(text):
            reason = "holds NUL bytes, as no text does"
            break
        return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    raise UnreadableError(f"{reason}; save the file as UTF-8")
