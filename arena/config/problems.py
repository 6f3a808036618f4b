"""The mistakes of an arena.toml in words: which key, what is wrong with it, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_LONGEST: Final = 80
"""Characters of a value that an error repeats."""

KnownKeys = Callable[[Sequence[int | str]], Sequence[str]]
"""The keys that the section at this place of the file may have."""


def problem_lines(error: ValidationError, tree: Any, known_keys: KnownKeys) -> list[str]:
    """Every mistake as ``where: what; remedy``, one line for each key.

    Args:
        error: what pydantic found.
        tree: the parsed file.
        known_keys: for suggestions where a key is unknown.
    """
    # A union (`"auto"` or a number) reports a mistake once per member.
    problems: dict[str, str] = {}
    for detail in error.errors():
        where, what = _where(detail["loc"], tree), _problem(detail, known_keys)
        problems[where] = f"{problems[where]}, or {what}" if where in problems else what
    return [f"{where}: {what}" if where else what for where, what in problems.items()]


def _problem(detail: ErrorDetails, known_keys: KnownKeys) -> str:
    """One mistake as `what; remedy`."""
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        known = known_keys(detail["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        return f"unknown key; {remedy}"
    if detail["type"] == "missing":
        return "missing"
    if detail["type"] == "string_pattern_mismatch":
        return f"{detail['input']!r} is no name; {_spelling(detail['ctx']['pattern'])}"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if detail["type"] == "path_type":
        message = "should be a path"  # pydantic's own words name a class of Python
    given = detail["input"]
    if detail["type"] == "value_error" or not isinstance(given, str | int | float | bool):
        return message
    words = "a number of hundreds of digits" if _is_endless(given) else repr(given)
    return f"{message}, not {words if len(words) <= _LONGEST else words[:_LONGEST] + '…'}"


def _is_endless(value: object) -> bool:
    """Whether Python may refuse to write a number in digits at all."""
    return isinstance(value, int) and value.bit_length() > 1000


def _spelling(pattern: str) -> str:
    r"""How a name is spelled, of a pattern such as ``^[\w][\w.-]*$``: only names have one."""
    allowed = pattern.removeprefix(r"^[\w][\w").removesuffix("]*$")
    blank = ", blanks" if " " in allowed else ""
    marks = " ".join(allowed.replace(" ", ""))
    return f"begin with a letter or digit, go on with letters, digits{blank} and _ {marks}"


def _where(location: Sequence[int | str], tree: Any) -> str:
    """``models[1] ("bm25").provder``: the key as people find it in the file."""
    words = ""
    for step in location:
        # Union members (`int`, `literal['auto']`) appear in pydantic's path but not in the file.
        if isinstance(step, str) and isinstance(tree, dict):
            words += f".{step}" if words else step
            tree = tree.get(step)
        elif isinstance(step, int) and isinstance(tree, list):
            tree = tree[step] if step < len(tree) else None
            name = tree.get("name") if isinstance(tree, dict) else None
            words += f"[{step}]" + (f' ("{name}")' if isinstance(name, str) else "")
    return words
