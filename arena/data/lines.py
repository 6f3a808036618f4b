"""Text files of any make as UTF-8, and their lines, with an error for whatever cannot be read."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from arena.errors import DataError

_GZIP: Final = b"\x1f\x8b"
"""How every gzip file begins (RFC 1952)."""

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NULS: Final[Mapping[tuple[bool, ...], str]] = {
    (True, True, True, False): "utf-32-be",
    (False, True, True, True): "utf-32-le",
    (True, False, True, False): "utf-16-be",
    (False, True, False, True): "utf-16-le",
}
"""Where NULs are in the first four bytes, two characters of ASCII (RFC 4627, section 3)."""

UNREADABLE: Final = (OSError, EOFError, zlib.error, UnicodeDecodeError)
"""What reading a file that `opened` opens may raise; `unreadable` puts it into words."""

_RECODED_AT_ONCE: Final = 1 << 16


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a text file as the bytes of its UTF-8.

    What gzip has compressed, whatever the file's name, is read as what is in it; UTF-16 and
    UTF-32 are recoded. A byte order mark of UTF-8 stays where it is.

    Raises:
        OSError, EOFError, zlib.error, UnicodeDecodeError: while it is opened or read.
    """
    with path.open("rb") as raw:
        compressed = raw.peek(len(_GZIP)).startswith(_GZIP)
        file = gzip.GzipFile(fileobj=raw) if compressed else raw
        encoding = _encoding(file.peek(4)[:4])
        if encoding == "utf-8":
            yield cast("BinaryIO", file)
        else:
            yield cast("BinaryIO", io.BufferedReader(_Recoded(cast("BinaryIO", file), encoding)))


def is_plain(path: Path) -> bool:
    """Whether a file's own bytes are those that `opened` gives.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as raw:
        begin = raw.read(4)
    return not begin.startswith(_GZIP) and _encoding(begin) == "utf-8"


def unreadable(path: Path, line: int | None, error: Exception, remedy: str = "") -> DataError:
    """Say why a file cannot be read.

    Args:
        path: the file.
        line: the last one that was read, from 1.
        error: one of `UNREADABLE`.
        remedy: what to do where there is no such file.
    """
    if isinstance(error, FileNotFoundError):
        return DataError(path, None, "no such file", remedy)
    if isinstance(error, UnicodeDecodeError):
        if error.encoding != "utf-8":
            return DataError(path, None, f"is not {error.encoding.upper()} throughout", _AS_UTF_8)
        byte = error.object[error.start : error.start + 1]
        likely = byte.decode("cp1252", "ignore")
        what = f"not UTF-8 at byte {error.start + 1}"
        what += f" (Windows-1252? There it is {likely!r})" if likely.isprintable() else ""
        return DataError(path, line, what, _AS_UTF_8)
    if isinstance(error, EOFError | gzip.BadGzipFile | zlib.error):
        where = None if line is None else line + 1
        return DataError(path, where, "its gzip data ends or breaks here", "copy it anew")
    reason = error.strerror if isinstance(error, OSError) else None
    return DataError(path, None, f"cannot be read: {' '.join((reason or str(error)).split())}")


def numbered_lines(path: Path, remedy: str = "") -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank, without a byte order mark.

    Raises:
        DataError: the file is missing (``remedy`` says what to do about it), cannot be read, or
            is neither UTF-8 nor another form of Unicode that says so.
    """
    line = 0
    try:
        with opened(path) as file:
            for line, raw in enumerate(file, start=1):
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
                if text.strip():
                    yield line, text
    except UNREADABLE as error:
        raise unreadable(path, line, error, remedy) from None


_AS_UTF_8: Final = "save the file as UTF-8"


def _encoding(begin: bytes) -> str:
    """What a file is encoded in that begins with these bytes; UTF-8 where nothing tells."""
    for mark, encoding in _MARKS:
        if begin.startswith(mark):
            return encoding
    return _NULS.get(tuple(byte == 0 for byte in begin), "utf-8")


class _Recoded(io.RawIOBase):
    """The text of a file in another encoding, as UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._text = io.TextIOWrapper(file, encoding, newline="")
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = memoryview(self._text.read(_RECODED_AT_ONCE).encode())
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size
