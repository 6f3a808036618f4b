"""The source of arena as trees, parsed once for all tests that read it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "arena"


def modules() -> list[Path]:
    """Return the paths of all modules."""
    return sorted(PACKAGE.rglob("*.py"))


@functools.cache
def tree(path: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(path.read_text("utf-8"))


def statements(
    path: Path, is_left_out: Callable[[ast.stmt], bool] = lambda statement: False
) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those inside others too, but nothing of expressions.

    There are ten times as many nodes in expressions.
    """
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            if is_left_out(node):
                continue
            yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, ())
            waiting += inner if isinstance(inner, list) else ()
