"""Write the sections of an arena.toml as TOML, which the standard library only reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any


def toml_text(tree: Mapping[str, Any]) -> str:
    """Return a parsed arena.toml as text; tables inside a section are written inline."""
    return "\n".join(_sections(tree)) + "\n"


def _sections(tree: Mapping[str, Any]) -> Iterator[str]:
    single = {key: value for key, value in tree.items() if not _is_section(value)}
    yield from toml_keys(single)
    for name, value in tree.items():
        if _is_section(value):
            head, tables = (f"[{_key(name)}]", [value])
            if isinstance(value, list):
                head, tables = f"[[{_key(name)}]]", value
            for table in tables:
                yield from ("", head, *toml_keys(table))


def _is_section(value: Any) -> bool:
    tables = value if isinstance(value, list) else [value]
    return bool(tables) and all(isinstance(table, Mapping) for table in tables)


def toml_keys(section: Mapping[str, Any]) -> list[str]:
    """Return a line for each key of a section that has a value."""
    return [f"{_key(key)} = {_value(v)}" for key, v in section.items() if v is not None]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _string(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(toml_keys(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, bool | int | float) else _string(str(value))


def _string(text: str) -> str:
    """Return a basic TOML string: that of JSON, with one more character escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
