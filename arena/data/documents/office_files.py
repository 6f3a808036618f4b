"""Read Word, PowerPoint, OpenDocument, RTF and EPUB files as Markdown.

The anydoc package converts them: headings, lists, tables, code, notes, in their order. It tells a
format by the content of a file, resolves no external entity, and bounds what a file unpacks to.
"""

from __future__ import annotations

import re
from typing import Final

from arena.data.documents.cleaning import without_data, without_marks
from arena.data.documents.file_text import FileText, UnreadableError
from arena.optional import needed
from arena.terminal import one_line

SUFFIXES: Final = (".docx", ".doc", ".odt", ".rtf", ".pptx", ".ppt", ".odp", ".epub")
"""What the names of such files end in."""

_COMPOUND: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")
_ENCRYPTED: Final = "is protected by a password; leave it out, or save it without one"

_INNER_LINK = re.compile(r"\[([^\[\]]*)\]\(#[^()\s]*\)")
"""A link to a place of the same file, as in a table of contents."""


def read_office(raw: bytes, suffix: str) -> FileText:
    """Read a file that has one of `SUFFIXES`.

    Raises:
        UnreadableError: it is another kind of file, damaged, encrypted, or unpacks to too much.
        UsageError: a package is not installed.
    """
    anydoc = needed("anydoc", "reading office files")
    check_encryption(raw)
    kind = anydoc.format_from_bytes(raw)
    if kind is None:
        raise UnreadableError(f"is no {suffix} file; leave it out, or save it again")
    if f".{kind}" not in SUFFIXES:
        raise UnreadableError(f"is a .{kind} file; rename it")
    try:
        text = anydoc.to_markdown_bytes(raw, kind)
    except anydoc.EncryptedError:
        raise UnreadableError(_ENCRYPTED) from None
    except anydoc.ResourceLimitError as error:
        raise UnreadableError(f"unpacks to more than a document may hold ({error.limit})") from None
    except anydoc.ConvertError as error:
        what = one_line(str(error), most=80)
        raise UnreadableError(f"is no whole {suffix} file ({what}); save it again") from None
    text = without_marks(without_data(text.replace("\r\n", "\n").replace("\r", "\n")))
    return FileText("", _INNER_LINK.sub(r"\1", text), markdown=True)


def check_encryption(raw: bytes) -> None:
    """Raise an error for a file of Office 2007 or later that a password protects.

    Raises:
        UnreadableError: it is a compound file around an encrypted package (MS-OFFCRYPTO).
    """
    if raw.startswith(_COMPOUND) and _PACKAGE in raw:
        raise UnreadableError(_ENCRYPTED)
