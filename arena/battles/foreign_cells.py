"""Read the cells of a row of a foreign log: its models, its winner, and what else it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from arena.battles.foreign_columns import (
    DATASET,
    JUDGE,
    SWAPPED,
    Columns,
    Models,
    Row,
    ShapeError,
    is_nothing,
    is_pair,
    plain,
)
from arena.battles.table import OPTIONAL, query_columns

Cells = dict[str, Any]

_LONGEST_NAME: Final = 200


def flat(row: Mapping[str, Any]) -> Row:
    """Return a row with the cells of its objects as columns: ``{"a": {"id": 1}}`` has ``a.id``.

    A list of two, such as ``{"models": ["x", "y"]}``, becomes ``models.0`` and ``models.1``.
    """
    if not any(isinstance(value, dict | list) for value in row.values()):
        return row
    cells: Cells = {}
    for name, value in row.items():
        if isinstance(value, list) and is_pair(name, value):
            cells |= {f"{name}.{side}": cell for side, cell in enumerate(value)}
            continue
        if not isinstance(value, dict) or name == "probs":
            cells[name] = value
            continue
        if name in query_columns([name]):
            cells[name] = value
        cells |= {f"{name}.{inner}": cell for inner, cell in value.items()}
    return cells


def other_cells(columns: Columns) -> Callable[[Row], Cells]:
    """Return what gives the cells of a row that name neither models nor the winner."""
    same = [name for name in (*OPTIONAL, *query_columns(columns)) if name in columns]
    named = {}
    for column, words in (("judge", JUDGE), ("dataset", DATASET), ("swapped", SWAPPED)):
        fit = [
            name
            for name, told in columns.items()
            if words & set(told) and set(told) <= words | {"model", "name", "id", "is", "position"}
        ]
        if fit and column not in same:
            named[column] = fit[0]

    def rest(row: Row) -> Cells:
        cells = {name: row.get(name) for name in same}
        cells |= {column: row.get(name) for column, name in named.items()}
        judge = cells.get("judge")
        if isinstance(judge, list):
            cells["judge"] = " ".join(map(str, judge))
        return cells

    return rest


def model_in(row: Row, column: str) -> str:
    """Return the model that a cell names.

    Raises:
        ShapeError: it holds something else.
    """
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        absent = value is None or value == ""
        what = f'missing "{column}"' if absent else f"{column} is {str(value)[:60]!r}"
        raise ShapeError(what, "give the model's name")
    if len(value) > _LONGEST_NAME or "\n" in value:
        what = f"{column} holds a text of {len(value):,} characters"
        raise ShapeError(what, "expected the model's name; name its column model_a or model_b")
    return value


def battle_cells(row: Row, models: Models, winner: object, rest: Cells) -> Cells:
    """Return the battle of a row: the winner by its column's name, or as it is written.

    Raises:
        ShapeError: the winner's word means one model, and is the name of the other.
    """
    if isinstance(winner, list | dict):
        raise ShapeError("the winner is a list or an object", "expected model_a, model_b or tie")
    a, b = model_in(row, models.a), model_in(row, models.b)
    role = models.roles.get(plain(winner)) if isinstance(winner, str) else None
    if role is not None:
        named = str(winner).strip()
        beaten = b if role == "model_a" else a
        if named == beaten.strip() and a.strip() != b.strip():
            what = f"the winner is {named!r}, which is a column and the name of the other model"
            raise ShapeError(what, "write model_a, model_b or tie")
        winner = role
    elif models.side == ("0", "1") and plain(winner)[-1:] in ("1", "2") and winner not in (a, b):
        what = f"the winner is {str(winner)[:60]!r}, and the columns count from 0"
        raise ShapeError(what, f"write {models.a}, {models.b} or tie")
    winner = None if is_nothing(winner) and winner not in (a, b) else winner
    return {**rest, "model_a": a, "model_b": b, "winner": winner}


def swap_models(battle: Cells) -> Cells:
    """Return the battle with the models swapped; a winner named by its role keeps its model."""
    other = {"model_a": "model_b", "model_b": "model_a"}
    winner = battle["winner"]
    turned = {"model_a": battle["model_b"], "model_b": battle["model_a"]}
    return {**battle, **turned, "winner": other.get(winner, winner)}
