"""Text on its way to a terminal: none of it moves the cursor, and all of it can be encoded."""

from __future__ import annotations

import codecs
import re
import sys
from typing import Any, Final

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
"""What arena itself writes, in ASCII; anything else that cannot be encoded is escaped."""
_ERRORS: Final = "arena-plainer"
_UNSEEN: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def printable(text: str) -> str:
    """One line of text from elsewhere, without what could move a cursor or turn its direction.

    Controls, format characters, lone surrogates and what no font has are left out; white space of
    any kind is a space.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c.isspace() else ""
        for c in text
        if c.isprintable() or c.isspace()
    )


def printable_json(tree: object) -> bytes:
    """Indented JSON in UTF-8 in which nothing can move a cursor: such characters are escapes."""
    import orjson  # noqa: PLC0415 - `arena --help` needs none

    text = orjson.dumps(tree, option=orjson.OPT_INDENT_2).decode()
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def encodable(text: str, encoding: str) -> str:
    """The same text in characters that an encoding has: signs in ASCII, all others as escapes."""
    return text.encode(encoding, _ERRORS).decode(encoding)


def prepare_streams() -> None:
    """Let stdout and stderr write what their encoding lacks as `encodable` does, and never fail."""
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
