"""The base of every section of an arena.toml, with the types of names and files in it."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

from arena.config.misplaced_keys import secret_in_address
from arena.config.unknown_keys import remedy
from arena.errors import ConfigError
from arena.files import safe_filename
from arena.redaction import keep_secret
from arena.terminal import flat, shortened

_LONGEST_FILE_NAME: Final = 200
"""Maximum bytes of a name; file systems allow 255, and arena appends suffixes."""


def _fits_a_file(name: str) -> str:
    size = len(safe_filename(name).encode())
    if size > _LONGEST_FILE_NAME:
        raise ValueError(f"takes {size} bytes as a file's name; at most {_LONGEST_FILE_NAME} do")
    return name


Name = Annotated[
    str, Field(pattern=r"^[\w][\w.+@:/ -]*$", max_length=120), AfterValidator(_fits_a_file)
]
"""A name for people; it may contain a slash (``BAAI/bge-m3``) but no control character."""

FileName = Annotated[
    str, Field(pattern=r"^[\w][\w.-]*$", max_length=80), AfterValidator(_fits_a_file)
]
"""A name that is also a folder's name."""

File = Annotated[Path, Strict(strict=False)]
"""A path, written as a string."""

Usd = Annotated[float, Field(ge=0, le=1_000_000)]
"""US dollars per million tokens, with a limit that keeps products finite."""


def _day(value: Any) -> Any:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return date.fromisoformat(value)
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("must be a day such as 2024-05-31")  # noqa: TRY004 - pydantic's own
    return value


Day = Annotated[date, BeforeValidator(_day)]
"""A date without a time."""


def _variable(name: str) -> str:
    # The value may be a pasted key, so neither the error nor any file repeats it.
    secret = re.search(r"(?=\w*[a-z])(?=\w*[0-9])[A-Za-z0-9]{20}", name)
    if secret or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ValueError(
            "is not an environment variable's name; put the key into a variable and its name here"
        )
    keep_secret(os.environ.get(name, "").strip())
    return name


VariableName = Annotated[str, AfterValidator(_variable)]
"""The environment variable that holds a key; never the key itself."""


def _address(url: str) -> str:
    # A mistaken address may contain a key or a password, so no error repeats it.
    try:
        parts = urlsplit(url)
        is_address = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        )
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(
            "must be like https://host/v1, with the key in the variable that api_key_env names"
        )
    if secret := secret_in_address(url):
        raise ValueError(
            f"has {secret} in it, which arena would store beside the results; put it "
            "into a variable, and name that in api_key_env"
        )
    return url


BaseUrl = Annotated[str, AfterValidator(_address)]
"""The address of an endpoint, without any key."""


class Settings(BaseModel):
    """Part of an arena.toml: unknown keys are mistakes, and the values are frozen.

    arena converts no types: ``true`` is not a number, and neither is ``"5"``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Section(Settings):
    """A table of an arena.toml, whose values may be stored beside the results."""

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_kept(cls, value: Any) -> Any:
        if (why := _unfit(value)) is not None:
            raise ValueError(why)
        return value


def _unfit(value: Any) -> str | None:
    """Return why a TOML value cannot be stored beside the results, or sent to an endpoint."""
    if isinstance(value, dict):
        return _unfit([*value, *value.values()])
    if isinstance(value, list):
        return next(filter(None, map(_unfit_inside, value)), None)
    if isinstance(value, str) and _CONTROL.search(value):
        return "holds a control character"
    if isinstance(value, float) and not math.isfinite(value):
        return f"should be a finite number, not {value!r}"
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return "is a whole number beyond 64 bits"
    return None


def _unfit_inside(value: Any) -> str | None:
    if isinstance(value, date | time):
        return "holds a date, which a request cannot contain; write it as a string"
    return _unfit(value)


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


_LONGEST: Final = 80
"""Maximum characters of a value in an error."""

S = TypeVar("S", bound=BaseModel)

KnownKeys = Callable[[Sequence[int | str]], Sequence[str]]
"""The known keys of the section at a place of the file."""


def problem_lines(
    error: ValidationError,
    tree: Any,
    known_keys: KnownKeys,
    sections: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Return each mistake as ``where: what; remedy``, one line for each key.

    Args:
        error: what pydantic found.
        tree: the parsed file.
        known_keys: for suggestions where a key is unknown.
        sections: the heading of each section of the file → its keys, for the same.
    """
    # pydantic reports a mistake of a union (`"auto"` or a number) once per member.
    problems: dict[str, str] = {}
    for detail in error.errors():
        where, what = _where(detail["loc"], tree), _problem(detail, known_keys, sections or {})
        problems[where] = f"{problems[where]}, or {what}" if where in problems else what
    return [f"{where}: {what}" if where else what for where, what in problems.items()]


def checked_section(
    kind: type[S],
    section: Mapping[str, Any],
    source: str,
    sections: Mapping[str, Sequence[str]] | None = None,
) -> S:
    """Check a section as if it stood in an arena.toml.

    Args:
        kind: which section it is.
        section: its keys.
        source: what errors name in place of a file.
        sections: as of `problem_lines`.

    Raises:
        ConfigError: naming every mistake.
    """
    tree = dict(section)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        lines = problem_lines(error, tree, lambda _: tuple(kind.model_fields), sections)
        raise ConfigError(source, lines) from None


def _problem(
    detail: ErrorDetails, known_keys: KnownKeys, sections: Mapping[str, Sequence[str]]
) -> str:
    """Return one mistake as `what; remedy`."""
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        return f"unknown key; {remedy(key, known_keys(detail['loc'][:-1]), sections)}"
    if detail["type"] == "missing":
        return "missing"
    if detail["type"] == "string_pattern_mismatch":
        name = shortened(repr(detail["input"]), _LONGEST)
        return f"{name} is no name; {_spelling(detail['ctx']['pattern'])}"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
    message = _PLAIN.get(detail["type"], message)
    given = detail["input"]
    if detail["type"] == "value_error" or not isinstance(given, str | int | float | bool):
        return message
    words = "a number of hundreds of digits" if _is_endless(given) else repr(given)
    return f"{message}, not {shortened(words, _LONGEST)}"


_PLAIN: Final = {
    "path_type": "should be a path",
    "model_type": "should be a table of keys",
    "dict_type": "should be a table of keys",
    "tuple_type": "should be a list",
}
"""Kinds of mistakes where pydantic's message names a Python type."""


def _is_endless(value: object) -> bool:
    """Return whether Python may refuse to print a number because of its digits."""
    return isinstance(value, int) and value.bit_length() > 1000


def _spelling(pattern: str) -> str:
    r"""Return how to spell a name, from its pattern such as ``^[\w][\w.-]*$``."""
    allowed = pattern.removeprefix(r"^[\w][\w").removesuffix("]*$")
    blank = ", blanks" if " " in allowed else ""
    marks = " ".join(allowed.replace(" ", ""))
    return f"begin with a letter or digit and continue with letters, digits{blank} and _ {marks}"


def _where(location: Sequence[int | str], tree: Any) -> str:
    """Return the key as people find it in the file: ``models[1] ("bm25").provder``."""
    words = ""
    for step in location:
        # Union members (`int`, `literal['auto']`) appear in pydantic's path but not in the file.
        if isinstance(step, str) and isinstance(tree, dict):
            words += f".{step}" if words else step
            tree = tree.get(step)
        elif isinstance(step, int) and isinstance(tree, list):
            tree = tree[step] if step < len(tree) else None
            name = tree.get("name") if isinstance(tree, dict) else None
            shown = shortened(flat(name), _LONGEST) if isinstance(name, str) else ""
            words += f"[{step}]" + (f' ("{shown}")' if shown else "")
    return words
