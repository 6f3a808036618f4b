"""What is printed when arena fails in a way that nobody foresaw: a traceback without keys."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Final

_SHORTEST: Final = 8
"""A shorter "key" is a placeholder such as EMPTY; blanking it would garble honest text."""
_keys: Final[set[str]] = set()


def never_print(key: str) -> None:
    """Blank a key wherever a traceback of this process would show it."""
    if len(key) >= _SHORTEST:
        _keys.update((key, repr(key)[1:-1]))


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an exception as Python would, without keys; goes in the place of `sys.excepthook`."""
    text = "".join(traceback.format_exception(kind, error, trace))
    for key in _keys:
        text = text.replace(key, "***")
    sys.stderr.write(text)
