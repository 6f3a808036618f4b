"""What is printed when arena fails in a way that nobody foresaw: a traceback without keys."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

from arena.redaction import blank


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an exception as Python would, without keys; goes in the place of `sys.excepthook`."""
    sys.stderr.write(blank("".join(traceback.format_exception(kind, error, trace))))
