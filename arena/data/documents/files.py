"""Read the files of a folder of documents as text, by what their names end in.

Most kinds become Markdown, so that their headings are known. Of every kind, what is not text is
left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from arena.data.documents.cleaning import without_data, without_marks
from arena.data.documents.file_text import FileRecord, FileText, decoded
from arena.data.documents.html_text import page_text
from arena.data.documents.mail_files import read_mail, read_mailbox
from arena.data.documents.notebook_files import read_notebook
from arena.data.documents.office_files import SUFFIXES as OFFICE
from arena.data.documents.office_files import read_office
from arena.data.documents.pdf_files import read_pdf
from arena.data.documents.rst_files import read_rst
from arena.data.documents.table_files import read_csv, read_workbook
from arena.optional import needed

_FRONT_MATTER = re.compile(
    r"\A(?:---[ \t]*\n(.*?)^(?:---|\.\.\.)|\+\+\+[ \t]*\n(.*?)^\+\+\+)[ \t]*$\n?",
    re.DOTALL | re.MULTILINE,
)
_TITLE = re.compile(r"^title[ \t]*[:=](.*)$", re.MULTILINE)
_DECLARED: Final = 4096
"""Bytes in which a page declares its encoding; browsers look at 1,024."""


def read_text(raw: bytes, suffix: str) -> FileText:
    """Read a file by what its name ends in; see `READERS`.

    Raises:
        UnreadableError: it is not what its name says.
        UsageError: a package is not installed.
    """
    found = READERS[suffix](raw)
    records = tuple(map(_sound_record, found.records))
    return FileText(_sound(found.title), _clean(found.text), found.markdown, records)


def _read_plain(raw: bytes) -> FileText:
    return FileText("", decoded(raw), markdown=False)


def _read_markdown(raw: bytes) -> FileText:
    text, title = decoded(raw), ""
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
        if found := _TITLE.search(front[1] or front[2] or ""):
            title = _unquoted(found[1].strip())
    return FileText(title, without_marks(without_data(text)), markdown=True)


def _unquoted(value: str) -> str:
    """Return a title in YAML or TOML; empty if it continues on further lines."""
    if value[:1] in ("|", ">"):
        return ""
    quoted = len(value) > 1 and value[0] in "\"'" and value[0] == value[-1]
    return value[1:-1].strip() if quoted else value


def _read_html(raw: bytes) -> FileText:
    bs4 = needed("bs4", "reading HTML")
    # The declaration of the page decides; a guess would depend on the installed packages.
    declared = bs4.dammit.EncodingDetector.find_declared_encoding(raw[:_DECLARED], is_html=True)
    title, text = page_text(decoded(raw, declared))
    return FileText(title, text, markdown=True)


def _sound_record(record: FileRecord) -> FileRecord:
    return FileRecord(
        tuple(map(_sound, record.headings)),
        _clean(record.text),
        record.markdown,
        tuple((_sound(name), _clean(value)) for name, value in record.cells),
    )


def _clean(text: str) -> str:
    return without_data(_sound(text))


def _sound(text: str) -> str:
    """Return the text without unpaired surrogates, which odd encodings and PDFs produce."""
    return text.encode("utf-8", "replace").decode("utf-8")


READERS: Final[Mapping[str, Callable[[bytes], FileText]]] = {
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".txt": _read_plain,
    ".rst": read_rst,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": read_pdf,
    **{suffix: partial(read_office, suffix=suffix) for suffix in OFFICE},
    ".csv": read_csv,
    ".tsv": read_csv,
    ".xlsx": read_workbook,
    ".xls": read_workbook,
    ".ods": read_workbook,
    ".ipynb": read_notebook,
    ".eml": read_mail,
    ".mbox": read_mailbox,
}
"""What reads a file, by what its name ends in, in lower case."""

OF_RECORDS: Final = (".csv", ".tsv", ".xlsx", ".xls", ".ods", ".mbox")
"""Kinds of files that hold many documents: rows, or mails."""

WITHOUT_HEADINGS: Final = (".txt", ".pdf", *OF_RECORDS)
"""Kinds of files whose text has no marks of headings."""
