"""Check the types of what a caller gives, so that a mistake names the argument."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from arena.config import DatasetConfig, JudgeConfig, ModelConfig
from arena.config.section import checked_section
from arena.config.usage import UsageConfig
from arena.errors import UsageError

S = TypeVar("S", bound=BaseModel)

OPTIONS_OF_COMPARE: Final = (
    *("queries", "seed", "top_k", "orders", "pairs_per_query", "metrics"),
    *("log", "limit", "max_usd", "gate", "progress"),
)
"""The keywords of `arena.compare`, which people also give to other functions."""


def path_of(value: object, argument: str) -> Path:
    """Return a path that a caller gives.

    Args:
        value: of any type.
        argument: its name.

    Raises:
        UsageError: the value is neither a str nor a path, or it is the content of a file.
    """
    if not isinstance(value, str | os.PathLike):
        raise wrong_type(value, argument, "a path")
    if "\n" in str(value):
        remedy = "read it by pandas.read_csv(io.StringIO(text)), or give the path of a file"
        raise UsageError(f"{argument}: a text of several lines is no path; {remedy}")
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
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise wrong_type(value, argument, expected)


def whole_number(value: Any, argument: str, *, least: int = 1) -> int:
    """Return a whole number of any type, such as one of numpy.

    Raises:
        UsageError: the value is none, or below the least.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise wrong_type(value, argument, "a whole number")
    number = operator.index(value)
    if number < least:
        raise UsageError(f"{argument} is {number}; expected {least} or more")
    return number


def real_number(value: Any, argument: str) -> float:
    """Return a number of any type.

    Raises:
        UsageError: the value is no number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong_type(value, argument, "a number")
    return float(value)


def checked_keywords(kind: type[S], section: Mapping[str, Any], where: str) -> S:
    """Check keywords as if they stood in a section of an arena.toml.

    Raises:
        ConfigError: naming every mistake; an unknown keyword of another function names it.
    """
    return checked_section(kind, section, where, _SECTIONS)


def wrong_type(value: object, argument: str, expected: str) -> UsageError:
    """Return the error about an argument of a wrong type."""
    return UsageError(f"{argument}: of type {type(value).__name__}; expected {expected}")


_SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "arena.compare": OPTIONS_OF_COMPARE,
    "arena.llm_judge": tuple(JudgeConfig.model_fields),
    "arena.retrieve": tuple(ModelConfig.model_fields),
    "arena.load_dataset": tuple(DatasetConfig.model_fields),
    "cost": tuple(UsageConfig.model_fields),
}
"""The functions that take keys of an arena.toml, each with those that it knows."""
