"""Sections of an arena.toml, given as dicts in a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from arena.config.section import problem_lines
from arena.errors import ConfigError

S = TypeVar("S", bound=BaseModel)


def checked(kind: type[S], section: Mapping[str, Any], caller: str) -> S:
    """Check a section as if it stood in an arena.toml.

    Args:
        kind: which section it is.
        section: its keys.
        caller: what errors name in place of a file.

    Raises:
        ConfigError: naming every mistake.
    """
    tree = dict(section)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        lines = problem_lines(error, tree, lambda _: tuple(kind.model_fields))
        raise ConfigError(caller, lines) from None
