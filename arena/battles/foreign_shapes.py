"""Recognize battle logs made elsewhere: which columns name the models, and what tells the winner.

Columns are found by the words of their names, not by the name of a benchmark. Two columns whose
names differ in their side alone (``agent_a`` and ``agent_b``) name the models. The winner is in one
column, in two or three flags, in two scores, or in the verdicts of several games. What could be
read in two ways is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from arena.battles.extra_columns import (
    count_columns,
    flag_in,
    is_swapped,
    order_column,
    refuse_counts,
    second_verdict,
    tie_flagged,
    tie_flags,
)
from arena.battles.foreign_cells import Cells, battle_cells, model_in, other_cells, swap_models
from arena.battles.foreign_columns import (
    ANSWER,
    GAME,
    MODEL,
    NAMED,
    QUALIFIERS,
    SCORE,
    TIE,
    VERDICT,
    WEAK_MODEL,
    WIN,
    Columns,
    Models,
    Row,
    ShapeError,
    find_baseline,
    find_models,
    find_verdict,
    is_nothing,
    number_in,
    of_baseline,
    of_number,
    of_scale,
    plain,
    sided,
    words_of,
)
from arena.battles.table import HINT, OPTIONAL, REQUIRED, listed, query_columns
from arena.battles.winner_words import outcome_of
from arena.json_text import parse_json

_ORDERS: Final = (("original", "swapped"), ("forward", "reverse"), ("ab", "ba"))
"""What tells the two games of one row apart, if no number does."""

_WORSE: Final = (
    *(("winner", "loser"), ("winning", "losing"), ("chosen", "rejected"), ("better", "worse")),
    *(("preferred", "rejected"), ("preferred", "dispreferred"), ("preferred", "unpreferred")),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows of a table tell battles."""

    battles: Callable[[Row], Iterator[Cells]]
    """Yields the battles of a row: model_a, model_b, winner and optional columns of ours."""
    note: str  #: which columns were taken for what; empty if they are named as ours
    is_scaled: bool = False  #: whether probs are made of a scale, and may all be certain


def find_shape(rows: Sequence[Row]) -> Shape:
    """Return how to read the rows of a table.

    Args:
        rows: its first rows, made flat by `flat`.

    Raises:
        ShapeError: columns are missing, or several could be meant.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: words_of(name) for name in names}
    is_named = all(name in names for name in REQUIRED)
    if is_named and not tie_flags(names, rows) and not second_verdict(columns):
        return _each_once(_in_order(Shape(_as_named(names), ""), rows), rows)
    shape = (
        _games(columns)
        or _paired_games(columns)
        or _flags(columns)
        or _with_winner(columns, rows)
        or _scores(columns)
        or _best_first(columns, rows)
    )
    if shape is not None:
        return _each_once(_in_order(shape, rows), rows)
    missing = [name for name in REQUIRED if name not in names]
    if find_models(columns) or find_baseline(columns):
        missing = ["winner"]
    elif find_verdict(columns, rows):
        missing = [name for name in missing if name != "winner"]
    what = "missing " + ", ".join(f'"{name}"' for name in missing)
    raise ShapeError(f"{what}; the file has {listed(names)}", HINT)


def _each_once(shape: Shape, rows: Sequence[Row]) -> Shape:
    """Return a shape that refuses rows that stand for several battles, if any column says so."""
    columns = count_columns(rows)
    if not columns:
        return shape

    def battles(row: Row) -> Iterator[Cells]:
        refuse_counts(row, columns)
        yield from shape.battles(row)

    return replace(shape, battles=battles)


def _in_order(shape: Shape, rows: Sequence[Row]) -> Shape:
    """Return a shape whose battles tell which list was shown first, if any column does."""
    column = order_column(rows)
    if column is None:
        return shape

    def battles(row: Row) -> Iterator[Cells]:
        for battle in shape.battles(row):
            told = (battle.get("order_swapped"), battle.get("swapped"))
            swapped = is_swapped(row.get(column), battle["model_a"], battle["model_b"])
            yield {**battle, "swapped": swapped} if all(map(is_nothing, told)) else battle

    note = f"{column} tells whose list was shown first"
    return replace(shape, battles=battles, note=f"{shape.note}; {note}".removeprefix("; "))


def _as_named(names: Sequence[str]) -> Callable[[Row], Iterator[Cells]]:
    wanted = [*REQUIRED, *OPTIONAL, *query_columns(names), "probs"]

    def battles(row: Row) -> Iterator[Cells]:
        yield {name: row.get(name) for name in wanted}

    return battles


def _games(columns: Columns) -> Shape | None:
    """Read ``games``, a list of verdicts on both orders; a baseline is shown first in the first."""
    column = next((name for name, words in columns.items() if words == ("games",)), None)
    if column is None:
        return None
    models, against = find_models(columns), find_baseline(columns)
    if against is not None:
        roles = {word: r for word, r in against.roles.items() if not word.startswith(("wi", "lo"))}
        swap = {"model_a": "model_b", "model_b": "model_a"}
        roles = {word: swap[role] for word, role in roles.items()}
        models = Models(against.b, against.a, roles, against.side[::-1])
    if models is None:
        missing = "baseline" if "model" in columns else "model"
        what = f'missing "{missing}"; the file has {listed(list(columns))}'
        raise ShapeError(what, 'add a column "baseline": the model that all others met')
    both, rest = models, other_cells(columns)

    def battles(row: Row) -> Iterator[Cells]:
        for number, score in enumerate(_game_scores(row.get(column), column)):
            battle = battle_cells(row, both, score, {**rest(row), "order_swapped": False})
            if number % 2:
                # A letter means the order in which this game showed both, a role means the model.
                is_role = isinstance(score, str) and plain(score) in both.roles
                letter = battle["winner"]
                battle = swap_models(battle)
                battle["winner"] = battle["winner"] if is_role else letter
            yield battle

    return Shape(battles, f"{both.a} is shown first in odd {column}, {both.b} in even ones")


def _game_scores(games: object, column: str) -> list[object]:
    """Return the verdict of each game, None if there is none.

    Raises:
        ShapeError: the cell holds no games.
    """
    if isinstance(games, str) and games.lstrip().startswith("["):
        try:
            games = parse_json(games.encode()).value
        except ValueError:
            raise ShapeError(f"{column} is no JSON", "write a list of games") from None
    if games is None:
        return [None]
    if not isinstance(games, list):
        raise ShapeError(f"{column} is {str(games)[:60]!r}", "expected a list of games")
    scores: list[object] = []
    for game in games:
        score = game
        if isinstance(game, Mapping):
            name = find_verdict({key: words_of(key) for key in game}, [game])
            if name is None:
                what = f"a game has no verdict among {listed(list(game))}"
                raise ShapeError(what, 'expected "score", such as A>B')
            score = game[name]
        if not isinstance(score, str) and not is_nothing(score):
            what = f"the verdict of a game is {str(score)[:60]}"
            raise ShapeError(what, "expected one such as A>>B, A>B, A=B, B>A or B>>A")
        scores.append(score)
    return scores


def _paired_games(columns: Columns) -> Shape | None:
    """Read ``g1_winner`` and ``g2_winner``: both orders in a row, each winner by role or name."""

    def fits(stem: tuple[str, ...]) -> int | None:
        told = set(stem)
        return 0 if told & VERDICT[0] and told & GAME and told <= VERDICT[0] | GAME else None

    def fits_order(stem: tuple[str, ...]) -> int | None:
        is_told = any(told & set(stem) for told in VERDICT[:2])
        return 0 if is_told and set(stem) <= VERDICT[0] | VERDICT[1] | QUALIFIERS else None

    pair = sided(columns, fits, (("1", "2"),)) or sided(columns, fits_order, _ORDERS)
    games = pair[:2] if pair else second_verdict(columns)
    models = find_models(columns) if games else None
    if games is None or models is None:
        return None
    first, second = games
    both, rest = models, other_cells(columns)

    def battles(row: Row) -> Iterator[Cells]:
        for column in (first, second):
            word = row.get(column)
            battle = battle_cells(row, both, word, {**rest(row), "order_swapped": False})
            names = {battle["model_a"]: "model_a", battle["model_b"]: "model_b"}
            battle["winner"] = names.get(battle["winner"], battle["winner"])
            told = (*REQUIRED[:2], "tie", "draw", "equal", None)
            is_tie = isinstance(word, str) and plain(word).startswith("tie")
            if battle["winner"] not in told and not is_tie:
                what = f"{column} is {str(word)[:60]!r}"
                remedy = f"expected {both.a}, {both.b} or tie: a letter could mean either order"
                raise ShapeError(what, remedy)
            yield battle if column == first else swap_models(battle)

    return Shape(battles, f"{both.a} is shown first in {first}, {both.b} in {second}")


def _flags(columns: Columns) -> Shape | None:
    """Read ``winner_model_a``, ``winner_model_b`` and ``winner_tie``: 1 in the true one."""

    def fits(stem: tuple[str, ...]) -> int | None:
        told = set(stem)
        return 0 if told & WIN and told <= WIN | MODEL | ANSWER | {"is"} else None

    pair = sided(columns, fits)
    models = find_models({n: w for n, w in columns.items() if not set(w) & WIN}) if pair else None
    if pair is None or models is None:
        return None
    ties = [
        name
        for name, words in columns.items()
        if set(words) & TIE and set(words) <= TIE | WIN | {"is", "bad", "good", "model"}
    ]
    flags = dict.fromkeys(pair[:2]) | dict.fromkeys(ties)
    outcomes = dict(zip(flags, ("model_a", "model_b", *["tie"] * len(ties)), strict=True))
    both, rest = models, other_cells(columns)

    def battles(row: Row) -> Iterator[Cells]:
        winner: object = None
        if not all(is_nothing(row.get(name)) for name in outcomes):
            true = [name for name in outcomes if flag_in(row, name)]
            if len(true) != 1:
                what = ", ".join(f"{name} is {row.get(name)}" for name in outcomes)
                raise ShapeError(what, "expected 1 in exactly one of them, and 0 in the others")
            winner = outcomes[true[0]]
        yield {**battle_cells(row, both, None, rest(row)), "winner": winner}

    return Shape(battles, f"the one of {', '.join(outcomes)} that is 1 tells the winner")


def _scores(columns: Columns) -> Shape | None:
    """Read ``score_a`` and ``score_b``: the higher one wins."""

    def fits(stem: tuple[str, ...]) -> int | None:
        told = set(stem)
        return 0 if told & SCORE and told <= SCORE | MODEL | ANSWER | WEAK_MODEL else None

    pair, models = sided(columns, fits), find_models(columns)
    if pair is None or models is None:
        return None
    first, second = pair[:2]
    both, rest = models, other_cells(columns)

    def battles(row: Row) -> Iterator[Cells]:
        winner: object = None
        if not (is_nothing(row.get(first)) or is_nothing(row.get(second))):
            scores = [number_in(row.get(name)) for name in (first, second)]
            if None in scores:
                odd = (first, second)[scores.index(None)]
                raise ShapeError(f"{odd} is {str(row.get(odd))[:60]!r}", "expected a number")
            a, b = float(scores[0] or 0), float(scores[1] or 0)
            winner = "tie" if a == b else "model_a" if a > b else "model_b"
        yield {**battle_cells(row, both, None, rest(row)), "winner": winner}

    return Shape(battles, f"the higher of {first} and {second} wins; equal ones are a tie")


def _with_winner(columns: Columns, rows: Sequence[Row]) -> Shape | None:
    """Read two columns of models, and one that tells the winner."""
    sided = find_models(columns)
    models = sided or find_baseline(columns)
    if models is None:
        return None
    left = {name: words for name, words in columns.items() if name not in (models.a, models.b)}
    column = find_verdict(left, rows)
    if column is None:
        return None
    told = columns[column]
    is_scale = models.side == ("1", "2") and "preference" in told
    known_scale = is_scale and {"generator_1", "annotator"} <= set(columns)
    known_scale |= is_scale and {"generator_1", "instruction"} <= set(columns)
    both, rest, flags = models, other_cells(columns), tie_flags(left, rows)

    def battles(row: Row) -> Iterator[Cells]:
        value: object = row.get(column)
        if tie := tie_flagged(row, flags):
            if not is_nothing(value) and outcome_of(str(value)) != "tie":
                what = f"{tie} is {row.get(tie)}, and {column} is {str(value)[:60]!r}"
                raise ShapeError(what, "keep one of them")
            value = "tie"
        more: Cells = {}
        if sided is None:
            value = of_baseline(value, row, both, column, set(told))
        elif is_scale:
            value, more = of_scale(value, column, known=known_scale)
        else:
            value = of_number(value, column, both, set(told))
        yield battle_cells(row, both, value, {**rest(row), **more})

    note = f"the models are in {both.a} and {both.b}, the winner is in {column}"
    return Shape(battles, note, is_scaled=is_scale)


def _best_first(columns: Columns, rows: Sequence[Row]) -> Shape | None:
    """Read ``chosen_model`` and ``rejected_model``, ``winner`` and ``loser``: both name models."""
    more = MODEL | NAMED
    pairs = [
        (first, second, set(words) <= {best})
        for best, worst in _WORSE
        for first, words in columns.items()
        if best in words and set(words) <= {best} | more
        for second, beaten in columns.items()
        if beaten == tuple(worst if word == best else word for word in words)
    ]
    pairs = [pair for pair in pairs if not pair[2]] or pairs
    if len(pairs) > 1:
        several = " or ".join(f"{first} and {second}" for first, second, _ in pairs)
        raise ShapeError(f"the columns {several} could be meant", "rename or remove the others")
    if not pairs:
        return None
    first, second, is_bare = pairs[0]
    named = {str(row.get(name)) for row in rows for name in (first, second)}
    if is_bare and len(rows) > 9 and len(named) > len(rows):
        what = f"{first} and {second} seem to hold answers: {len(named)} in {len(rows)} rows differ"
        raise ShapeError(what, f"name the models in {first}_model and {second}_model")
    flags = tie_flags(columns, rows)
    rest, met = other_cells(columns), Counter[tuple[str, str]]()

    def battles(row: Row) -> Iterator[Cells]:
        best, worst = model_in(row, first), model_in(row, second)
        met[min(best, worst), max(best, worst)] += 1
        winner = "tie" if tie_flagged(row, flags) else "model_a"
        battle = {**rest(row), "model_a": best, "model_b": worst, "winner": winner}
        # Nobody knows who was shown first: a winner always in the first place would look like bias.
        is_even = met[min(best, worst), max(best, worst)] % 2 == 0
        yield battle if is_even == (best < worst) else swap_models(battle)

    note = f"{first} won against {second}; the file does not tell whose list was shown first"
    return Shape(battles, f"{note}, so each of two models is it in turn")
