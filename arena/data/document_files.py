"""Read Markdown, plain text, HTML and PDF files as text.

HTML becomes Markdown, so that its headings are known. Of every kind, what is not text is left out.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from arena.data.cleaning import without_data, without_marks
from arena.data.html_text import page_text
from arena.optional import needed

_FRONT_MATTER = re.compile(
    r"\A(?:---[ \t]*\n(.*?)^(?:---|\.\.\.)|\+\+\+[ \t]*\n(.*?)^\+\+\+)[ \t]*$\n?",
    re.DOTALL | re.MULTILINE,
)
_TITLE = re.compile(r"^title[ \t]*[:=](.*)$", re.MULTILINE)
_SOFT_HYPHEN = re.compile("[\ufffe\x02]\n?")
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_MOST_NULS: Final = 0.01
"""Share of NUL characters above which a file is no text."""
_DECLARED: Final = 4096
"""Bytes in which a page declares its encoding; browsers look at 1,024."""


class UnreadableError(Exception):
    """A file is not what its name says; the message is the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class FileText:
    """What a file says."""

    title: str  #: as the file gives it; empty where it does not
    text: str  #: with line feeds alone as line ends
    markdown: bool  #: whether it has the marks of Markdown


def read_text(raw: bytes, suffix: str) -> FileText:
    """Read a file by what its name ends in; see `READERS`.

    Raises:
        UnreadableError: it is not what its name says.
        UsageError: a package is not installed.
    """
    found = READERS[suffix](raw)
    return FileText(_sound(found.title), without_data(_sound(found.text)), found.markdown)


def _read_plain(raw: bytes) -> FileText:
    return FileText("", _decoded(raw), markdown=False)


def _read_markdown(raw: bytes) -> FileText:
    text, title = _decoded(raw), ""
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
    title, text = page_text(_decoded(raw, declared))
    return FileText(title, text, markdown=True)


def _read_pdf(raw: bytes) -> FileText:
    pdfium = needed("pypdfium2", "reading PDF")
    try:
        with pdfium.PdfDocument(raw) as pdf:
            title = pdf.get_metadata_value("Title")
            pages = []
            for page in pdf:
                content = page.get_textpage()
                pages.append(content.get_text_range())
                content.close()
                page.close()
    except pdfium.PdfiumError as error:
        what = "is protected by a password" if "assword" in str(error) else "is no whole PDF"
        raise UnreadableError(f"{what}; leave it out, or save it again") from None
    text = "\n\n".join(pages).replace("\r\n", "\n").replace("\r", "\n")
    return FileText(" ".join(title.split()), _SOFT_HYPHEN.sub("", text), markdown=False)


def _sound(text: str) -> str:
    """Return the text without unpaired surrogates, which odd encodings and PDFs produce."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _decoded(raw: bytes, declared: str | None = None) -> str:
    """Decode by the byte order mark, else as UTF-8, else as the file declares."""
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


READERS: Final[Mapping[str, Callable[[bytes], FileText]]] = {
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".txt": _read_plain,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
}
"""What reads a file, by what its name ends in, in lower case."""
