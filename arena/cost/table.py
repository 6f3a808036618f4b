"""The costs of models as a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal

from arena.cost.formula import Cost
from arena.cost.recommend import rounded_dollars
from arena.terminal import Column, Screen, fitted_table

if TYPE_CHECKING:
    from rich.table import Table


def cost_table(costs: Iterable[Cost], on: Screen, *, default_width: int) -> Table:
    """Return one row for each model: dollars a month and their parts, an empty cell if unknown.

    Args:
        costs: in the order of the rows.
        on: the terminal.
        default_width: of the table, where the terminal has none.
    """
    rows = list(costs)
    columns = [
        Column(head, [cell(cost) for cost in rows], kind, gives_way)
        for head, kind, gives_way, cell in _COLUMNS
        if head not in _OPTIONAL or any(cell(cost) not in ("", "$0.00") for cost in rows)
    ]
    return fitted_table(columns, on, default_width=default_width)


def _amount(value: float | None) -> str:
    return "" if value is None else rounded_dollars(value)


_OPTIONAL: Final = ("fixed",)

_COLUMNS: Sequence[tuple[str, Literal["figure", "name"], int, Callable[[Cost], str]]] = (
    ("cost", "name", 0, lambda cost: cost.model),
    ("$ a month", "figure", 0, lambda cost: _amount(cost.per_month)),
    ("re-index", "figure", 2, lambda cost: _amount(cost.indexing)),
    ("queries", "figure", 2, lambda cost: _amount(cost.queries)),
    ("storage", "figure", 2, lambda cost: _amount(cost.storage)),
    ("fixed", "figure", 3, lambda cost: _amount(cost.fixed)),
    ("first index", "figure", 4, lambda cost: _amount(cost.once)),
)
"""Head, kind, what gives way first on a narrow terminal, and the cell of a model."""
