"""Read JSON files that arena wrote back into records."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import orjson

from arena.errors import DataError

T = TypeVar("T")
REMEDY: Final = "delete it, and `arena retrieve` makes it again"


def read_kept(kind: type[T], path: Path, what: str, remedy: str = REMEDY) -> T:
    """Read a file as a record of some kind; ignore fields of later versions.

    Args:
        kind: a dataclass, or a collection of some.
        path: the file.
        what: the words for what it holds.
        remedy: what to do where it holds something else.

    Raises:
        DataError: it is missing, or holds something else.
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - a bare log needs none

    try:
        # What orjson can write again holds no infinity, and no number beyond 64 bits.
        raw = orjson.dumps(orjson.loads(path.read_bytes()))
        return TypeAdapter(kind).validate_json(raw, strict=True)
    except OSError as error:
        raise DataError(path, None, f"no {what}: {error.strerror}", remedy) from None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise DataError(path, None, f"no {what}: {error}", remedy) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        why = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(path, None, f"no {what}: {why}", remedy) from None
