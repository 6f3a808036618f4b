"""Check the types of what a caller gives, so that a mistake names the argument."""

from __future__ import annotations

import os
from pathlib import Path

from arena.errors import UsageError


def path_of(value: object, argument: str) -> Path:
    """Return a path that a caller gives.

    Args:
        value: of any type.
        argument: its name.

    Raises:
        UsageError: the value is neither a str nor a path.
    """
    if not isinstance(value, str | os.PathLike):
        raise wrong_type(value, argument, "a path")
    return Path(value).expanduser()


def check_type(value: object, kind: type | tuple[type, ...], argument: str, expected: str) -> None:
    """Check the type of an argument.

    Args:
        value: of any type.
        kind: the types that it may have; ``bool`` counts as no number.
        argument: its name.
        expected: what it should be, in words.

    Raises:
        UsageError: the value is of another type.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise wrong_type(value, argument, expected)


def wrong_type(value: object, argument: str, expected: str) -> UsageError:
    """Return the error about an argument of a wrong type."""
    return UsageError(f"{argument}: of type {type(value).__name__}; expected {expected}")
