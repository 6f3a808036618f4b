"""What the columns of a battle file mean: names, words, winners, the order shown, ids."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.battles.row_blocks import count_codes
from arena.battles.table import BattleTable, CodedColumn, HexIds, UniqueIds
from arena.battles.winner_words import is_common, outcome_of, squeezed
from arena.errors import DataError

Codes = NDArray[np.signedinteger[Any]]
"""Of the smallest type that holds them: take a larger one before you multiply them."""

Mask = NDArray[np.bool_]

MODEL_A, MODEL_B, TIE = 0, 1, 2
"""The codes of a winner."""

_WINNERS: dict[str | float, int] = {1.0: MODEL_A, 2.0: MODEL_B, 0.5: TIE, "c": TIE}
"""What numbers mean as winners, and the third letter."""

_PLAIN = frozenset({"modela", "modelb"})
"""The words that name a model, where others might mean the place at which its list was shown."""

_NUMBER = re.compile(r"[-+]?(\d{1,9}\.?\d{0,9}|\.\d{1,9})")
_EXACT = 1 << 53
"""Whole numbers from here on are not exact as floating-point numbers."""

_NO_PLACE = ("pointwise", "qrels")
_EXPECTED_PROBS = "expected numbers under first, second and tie"
_YES = (True, "true", "yes", "1", "1.0")
_NO = (False, "false", "no", "0", "0.0", None, "")


def read_names(table: BattleTable, side: str, aliases: Mapping[str, str]) -> CodedColumn:
    """Return the column ``model_a`` or ``model_b``, surrounding blanks stripped, aliases resolved.

    Raises:
        DataError: a name is missing, blank or not a string.
    """
    column = table.columns[side]
    resolved = []
    for code, value in enumerate(column.distinct):
        name = value.strip() if isinstance(value, str) else ""
        if not name and (column.codes == code).any():
            raise _error(table, column.codes == code, side, value, "give the model's name")
        resolved.append(aliases.get(name, name))
    return CodedColumn(column.codes, tuple(resolved))


def read_words(table: BattleTable, name: str, missing: str) -> CodedColumn:
    """Return a column of words; ``missing`` stands where a cell, or the whole column, is absent.

    Raises:
        DataError: a number that is too large to be exact, so that two words could be one.
    """
    column = table.columns.get(name)
    if column is None:
        return CodedColumn(np.zeros(table.n_rows, np.int32), (missing,))
    words = []
    for code, value in enumerate(column.distinct):
        if isinstance(value, float) and abs(value) >= _EXACT and (column.codes == code).any():
            remedy = "too large a number to be exact; write such ids as text"
            raise _error(table, column.codes == code, name, value, remedy)
        whole = isinstance(value, float) and value.is_integer()
        word = str(int(value)) if whole else str(value).strip()
        words.append(missing if value is None or not word else word)
    return CodedColumn(column.codes, tuple(words))


def read_winners(
    table: BattleTable, first: CodedColumn, second: CodedColumn, aliases: Mapping[str, str]
) -> NDArray[np.int8]:
    """Return the winner of each row, as the row names its models.

    Args:
        table: the file.
        first: its column ``model_a``, as `read_names` has it.
        second: its column ``model_b``.
        aliases: of models, which may be named as winners themselves.

    Raises:
        DataError: a winner that is missing or unknown, or that could mean either model: such as
            "A" where the lists were swapped, which may be the list shown first.
    """
    column, swapped = table.columns["winner"], read_swapped(table)
    names = {*first.distinct, *second.distinct}
    sides = _WINNERS | _zero(column) | _outcomes(column, names)
    # A third letter is a tie beside the answers A and B, not beside models of these names.
    are_letters = any(_lower(name) in {"a", "b"} for name in names)
    winners = np.zeros(table.n_rows, np.int8)
    for code, value in enumerate(column.distinct):
        rows = column.codes == code
        if not rows.any():
            continue
        named = aliases.get(str(value).strip(), str(value).strip())
        is_first, is_second = (rows & _holds(side, named) for side in (first, second))
        word = _winner_word(value)
        if word not in sides:
            if (stray := rows & ~(is_first | is_second)).any():
                alike = [_holds(_folded(side), _fold(named)) for side in (first, second)]
                is_first, is_second = is_first | stray & alike[0], is_second | stray & alike[1]
                if (stray & (alike[0] == alike[1])).any():
                    raise _error(table, stray, "winner", value, _expected(word))
            winners[is_second & ~is_first] = MODEL_B
            continue
        side = sides[word]
        if word == "c" and are_letters:
            remedy = "models are called by letters here; write tie, or the name of the winner"
            raise _error(table, rows, "winner", value, remedy)
        other = is_second if side == MODEL_A else is_first if side == MODEL_B else rows
        if (clash := other & (is_first ^ is_second)).any():
            remedy = "it is a model's name there, too; write model_a, model_b or tie"
            raise _error(table, clash, "winner", value, remedy)
        if side != TIE and word not in _PLAIN and (rows & swapped).any():
            remedy = "in a swapped row it could mean the list shown first; write model_a or model_b"
            raise _error(table, rows & swapped, "winner", value, remedy)
        winners[rows] = side
    return winners


def read_swapped(table: BattleTable) -> Mask:
    """Return where the log says that model_b's list was shown first.

    Raises:
        DataError: a flag that is neither true nor false.
    """
    swapped = np.zeros(table.n_rows, np.bool_)
    for name in ("order_swapped", "swapped"):
        column = table.columns.get(name, CodedColumn(np.zeros(0, np.int32), ()))
        for code, value in enumerate(column.distinct):
            rows = column.codes == code
            if _lower(value) in _YES:
                swapped |= rows
            elif _lower(value) not in _NO:
                raise _error(table, rows, name, value, "expected true or false")
    return swapped


def read_probs(table: BattleTable) -> NDArray[np.float64] | None:
    """Return the judge's probabilities, (n_rows, 3): first, second, tie; None if the log has none.

    Raises:
        DataError: a "probs" that is not an object of three numbers.
    """
    if table.known_probs is not None or not table.probs:
        return table.known_probs
    probs = np.full((table.n_rows, 3), np.nan)
    for row, cell in enumerate(table.probs):
        try:
            if cell is not None:
                probs[row] = cell["first"], cell["second"], cell["tie"]
        except (KeyError, TypeError, ValueError):
            rows = np.arange(table.n_rows) == row
            raise _error(table, rows, "probs", cell, _EXPECTED_PROBS) from None
    # A null under a name became NaN, which elsewhere means that nothing was given at all.
    rows = np.isnan(probs).any(axis=1)
    rows[[row for row, cell in enumerate(table.probs) if cell is None]] = False
    if rows.any():
        cell = table.probs[int(np.argmax(rows))]
        raise _error(table, rows, "probs", cell, _EXPECTED_PROBS)
    return probs


def read_costs(table: BattleTable) -> NDArray[np.float64] | None:
    """Return what each battle of a log of ours cost in USD, NaN if not known; None if it has none.

    Raises:
        DataError: a cost in a log of ours that is not a number.
    """
    column = table.columns.get("cost_usd") if table.ids else None
    if table.costs is not None or column is None:
        return table.costs
    costs = np.full(len(column.distinct), np.nan)
    for code, value in enumerate(column.distinct):
        try:
            costs[code] = np.nan if value is None else float(value)
        except ValueError:
            rows = column.codes == code
            raise _error(table, rows, "cost_usd", value, "expected a number") from None
    of_row: NDArray[np.float64] = costs[column.codes]
    return of_row


def read_identical(table: BattleTable) -> Mask | None:
    """Return where a log of ours says that both lists were the same; None for other logs."""
    if not table.ids:
        return None
    source = read_words(table, "source", "")
    is_identical: Mask = np.array([word == "identical" for word in source.distinct])[source.codes]
    return is_identical


def read_placed(table: BattleTable) -> Mask | None:
    """Return where a judge saw one list first; None for logs of others, where it is everywhere.

    No list counts as shown first where both were the same. The same holds for judges that grade
    documents one by one, or know their grades.
    """
    identical = read_identical(table)
    if identical is None:
        return None
    kind, judge = read_words(table, "kind", ""), read_words(table, "judge", "")
    said = np.array([word not in _NO_PLACE for word in kind.distinct])[kind.codes]
    known = [table.kinds.get(name) not in _NO_PLACE for name in judge.distinct]
    placed: Mask = said & np.array(known)[judge.codes] & ~identical
    return placed


def check_ids(table: BattleTable) -> None:
    """Check that each line of a log of ours has an id.

    Raises:
        DataError: naming the first line that has none.
    """
    if isinstance(table.ids, UniqueIds | HexIds):
        return
    odd = [not isinstance(name, str | int) or name == "" for name in table.ids]
    if any(odd):
        given = table.ids[odd.index(True)]
        raise _error(table, np.array(odd), "id", given, "remove or correct the line")


def refuse_self_battles(table: BattleTable, same: Mask) -> None:
    """Refuse a battle of a model against itself, unless an alias made the two names one.

    Raises:
        DataError: naming the first such line.
    """
    if table.ids and same.any():
        name = table.columns["model_a"]
        value = name.distinct[name.codes[int(np.argmax(same))]]
        remedy = "a model against itself; correct the line or the aliases"
        raise _error(table, same, "model_a", value, remedy)


def merge(columns: Sequence[CodedColumn]) -> tuple[Codes, tuple[str, ...]]:
    """Put columns of words end to end, coded by the sorted list of the words that occur."""
    used = [count_codes(c.codes, len(c.distinct)) > 0 for c in columns]
    occurring = {
        word
        for column, mask in zip(columns, used, strict=True)
        for word, is_used in zip(column.distinct, mask, strict=True)
        if is_used
    }
    words = tuple(sorted(occurring))
    place = {word: code for code, word in enumerate(words)}
    # A value that no row uses has no place; its entry is never read.
    kind = np.min_scalar_type(-max(len(words), 1))
    codes = [np.array([place.get(v, 0) for v in c.distinct], kind)[c.codes] for c in columns]
    return np.concatenate(codes), words


def _outcomes(column: CodedColumn, names: AbstractSet[str]) -> dict[str | float, int]:
    """Return what the words of a column mean as winners, if they name a side or a tie.

    Beyond the words for a side in common use, such as "model 1", "A+" and "white", the name of a
    model comes first.
    """
    code_of = {"first": MODEL_A, "second": MODEL_B, "tie": TIE}
    texts = {str(value).strip() for value in column.distinct}
    outcomes = {text: outcome_of(text) for text in texts if text not in names or is_common(text)}
    return {_winner_word(text): code_of[told] for text, told in outcomes.items() if told}


def _fold(name: str) -> str:
    """Return a name that is equal for spellings that differ in case or in combined accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _folded(side: CodedColumn) -> CodedColumn:
    return replace(side, distinct=tuple(map(_fold, side.distinct)))


def _winner_word(value: Any) -> str | float:
    """Return a winner as `_WINNERS` has it."""
    word = "" if isinstance(value, bool) else str(value).strip().lower()
    return float(word) if _NUMBER.fullmatch(word) else squeezed(word)


def _zero(column: CodedColumn) -> dict[str | float, int]:
    """Return what 0 and −1 mean as winners, which other numbers of the column tell, if any do."""
    numbers = set(map(_winner_word, column.distinct))
    if 2.0 in numbers:
        return {}  # 0 is a tie, or the first model, who knows
    if -1.0 in numbers:
        return {-1.0: MODEL_B, 0.0: TIE}
    return {0.0: MODEL_B} if 0.5 in numbers else {}


def _expected(word: str | float) -> str:
    if isinstance(word, float):
        return "expected model_a, model_b or tie: such a number may mean any of them"
    return "expected model_a, model_b, tie or tie (bothbad), or the winning model's own name"


def _holds(column: CodedColumn, word: str) -> Mask:
    """Return where a column has a word."""
    found: Mask = np.array([value == word for value in column.distinct], np.bool_)[column.codes]
    return found


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _error(table: BattleTable, rows: Mask, name: str, value: Any, remedy: str) -> DataError:
    what = f'missing "{name}"' if value is None or value == "" else f"{name} is {value!r}"
    return DataError(table.source, table.line_of(int(np.argmax(rows))), what, remedy)
