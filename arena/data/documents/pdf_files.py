"""Read the text of PDF files, page by page."""

from __future__ import annotations

import re

from arena.data.documents.file_text import FileText, UnreadableError
from arena.optional import needed

_SOFT_HYPHEN = re.compile("[\ufffe\x02]\n?")


def read_pdf(raw: bytes) -> FileText:
    """Read a PDF file: its title, and the text of its pages.

    Raises:
        UnreadableError: it has a password, or is no whole PDF.
        UsageError: pypdfium2 is not installed.
    """
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
