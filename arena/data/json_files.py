"""Read JSON files that arena wrote back into records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from arena.errors import DataError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
REMEDY: Final = "delete it, and `arena retrieve` makes it again"
_ADAPTERS: Final[dict[type, TypeAdapter[Any]]] = {}


def read_kept(kind: type[T], path: Path, contents: str, remedy: str = REMEDY) -> T:
    """Read a file as a record of some kind; ignore fields of later versions.

    Args:
        kind: a dataclass, or a collection of some.
        path: the file.
        contents: the words for what it holds.
        remedy: what to do where it holds something else.

    Raises:
        DataError: it is missing, or holds something else.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - a bare log needs none

    try:
        # What orjson can write again holds no infinity, and no number beyond 64 bits.
        raw = orjson.dumps(orjson.loads(path.read_bytes()))
        return adapter(kind).validate_json(raw, strict=True)
    except OSError as error:
        raise DataError(path, None, f"no {contents}: {error.strerror}", remedy) from None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise DataError(path, None, f"no {contents}: {error}", remedy) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        why = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(path, None, f"no {contents}: {why}", remedy) from None


def adapter(kind: type[T]) -> TypeAdapter[T]:
    """Return what reads records of a kind; it is built once, which takes longer than to read."""
    if kind not in _ADAPTERS:
        from pydantic import TypeAdapter  # noqa: PLC0415 - a bare log needs none

        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
