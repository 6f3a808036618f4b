"""Read mails (.eml) and mailboxes (.mbox): who wrote to whom, when, and what.

The text of a mail is its plain part, else its page. A mail within a mail is read, too, a few deep.
Attachments are named and not read: save them beside the mail to have them in the corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

from arena.data.documents.file_text import FileRecord, FileText, UnreadableError
from arena.data.documents.html_text import page_text

_DEEP: Final = 5
"""Mails within each other that are read."""

_MOST_PARTS: Final = 500
"""Parts of a mail that arena looks at."""

_SENDER = re.compile(rb"^From [^\n]*\d\d:\d\d[^\n]*\n", re.MULTILINE)
"""The line before each mail of a mailbox: its sender and the time."""

_HEADERS: Final = ("From", "To", "Date")


def read_mail(raw: bytes) -> FileText:
    """Read a mail.

    Raises:
        UnreadableError: it has no header of a mail.
    """
    subject, record = _mail(raw)
    return FileText(subject, record.text, record.markdown)


def read_mailbox(raw: bytes) -> FileText:
    """Read all mails of a mailbox, each as a record under its subject.

    Raises:
        UnreadableError: it does not begin as a mailbox does, or holds no mail.
    """
    starts = list(_SENDER.finditer(raw))
    if not starts or raw[: starts[0].start()].strip():
        raise UnreadableError('is no mailbox: it does not begin with "From sender date"')
    ends = [*(start.start() for start in starts[1:]), len(raw)]
    mails = [
        raw[start.end() : end].replace(b"\n>From ", b"\nFrom ")
        for start, end in zip(starts, ends, strict=True)
    ]
    return FileText("", "", markdown=False, records=tuple(_mail(mail)[1] for mail in mails))


def _mail(raw: bytes) -> tuple[str, FileRecord]:
    message = message_from_bytes(raw, policy=policy.default)
    if not message.keys():
        raise UnreadableError("is no mail: it has no header such as From or Subject")
    subject = _header(message, "Subject")
    parts, markdown = zip(*_texts(message, 0), strict=True)
    text = "\n\n".join(part for part in parts if part)
    return subject, FileRecord((subject,) if subject else (), text, markdown=any(markdown))


def _texts(message: EmailMessage, depth: int) -> Iterator[tuple[str, bool]]:
    """Yield the headers, the body, the names of attachments and the mails within a mail."""
    names = ("Subject", *_HEADERS) if depth else _HEADERS
    lines = [f"{name}: {value}" for name in names if (value := _header(message, name))]
    yield "\n".join(lines), False
    yield _body(message)
    attached: list[str] = []
    within: list[EmailMessage] = []
    for number, part in enumerate(_leaves(message)):
        if number == _MOST_PARTS:
            break
        if part.get_content_type() == "message/rfc822":
            within += [
                part_within
                for part_within in part.iter_parts()
                if isinstance(part_within, EmailMessage)
            ]
        elif name := part.get_filename():
            attached.append(" ".join(name.split()))
    if attached:
        yield f"Attachments: {', '.join(attached)}", False
    if depth < _DEEP:
        for part_within in within:
            yield from _texts(part_within, depth + 1)


def _leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """Yield the parts of a mail, but none of a mail within it."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        if part.get_content_maintype() == "multipart":
            waiting += reversed(
                [each for each in part.iter_parts() if isinstance(each, EmailMessage)]
            )
        else:
            yield part


def _body(message: EmailMessage) -> tuple[str, bool]:
    """Return the text of a mail, and whether it is Markdown."""
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        if not isinstance(part, EmailMessage):
            continue
        text = _content(part).replace("\r\n", "\n").replace("\r", "\n").strip()
        if text:
            return (text, False) if kind == "plain" else (page_text(text)[1].strip(), True)
    return "", False


def _content(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    try:
        return raw.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # an encoding that nobody knows
        return raw.decode("utf-8", "replace")


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except Exception:  # noqa: BLE001  the parser of the standard library breaks on odd headers
        return ""
