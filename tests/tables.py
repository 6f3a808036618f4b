"""A table of cases as one test, which lists all rows that fail.

In place of ``pytest.mark.parametrize`` where rows share nothing and each takes a millisecond: a
test of its own costs several, in each process that collects it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from arena import redaction


def each_row(names: str | Sequence[str], rows: Iterable[Any]) -> Callable[..., Callable[..., None]]:
    """Run a test for each row of a table.

    A row has a ``tmp_path``, a cache and a memory of secrets of its own, as a test has.

    Args:
        names: of the test's arguments that a row gives.
        rows: a value for each of them; the value alone where there is one.
    """
    keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else [*names]
    table = [[row] if len(keys) == 1 else [*row] for row in rows]
    assert table

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def all_rows(**fixtures: Any) -> None:
            errors = []
            for number, row in enumerate(table):
                given = fixtures | dict(zip(keys, row, strict=True))
                if "tmp_path" in fixtures:
                    given["tmp_path"] = fixtures["tmp_path"] / f"row{number}"
                    given["tmp_path"].mkdir()
                try:
                    with pytest.MonkeyPatch.context() as patch:
                        patch.setenv("ARENA_CACHE", f"{os.environ['ARENA_CACHE']}-{number}")
                        patch.setattr(redaction, "_known", redaction._Secrets())
                        test(**given)
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - of any row
                    error.add_note(f"row {number} of {len(table)}: {row!r:.2000}")
                    errors.append(error)
            if errors:
                raise BaseExceptionGroup(f"rows that fail, of {len(table)}", errors)

        signature = inspect.signature(test)
        rest = [value for key, value in signature.parameters.items() if key not in keys]
        all_rows.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return all_rows

    return decorate
