"""Find the columns of a battle log made elsewhere by the words of their names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from arena.battles.winner_words import is_vote
from arena.errors import ArenaError

Row = Mapping[str, Any]
Columns = Mapping[str, tuple[str, ...]]
"""Name of a column → the words of it."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SIDES: Final = (
    *(("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second")),
    *(("one", "two"), ("x", "y"), ("white", "black"), ("home", "away")),
)
MODEL: Final = _set(
    "model generator system agent retriever ranker reranker embedder method engine llm bot run "
    "player competitor contestant pipeline encoder"
)
WEAK_MODEL: Final = frozenset(("assistant", "candidate", "option", "variant", "team"))
"""These words name a model, or what it wrote: used where no better column is there."""

ANSWER: Final = _set("response answer output completion generation result text")
NAMED: Final = frozenset(("name", "id"))
WIN: Final = _set("win wins won winner winning prefer preferred better")
TIE: Final = _set("tie ties tied draw draws equal both bothbad neither")
GAME: Final = _set("g game round match pass order turn")
SCORE: Final = _set("score rating grade points")
VERDICT: Final = (
    frozenset(("winner", "winning", "win", "won")),
    _set("preference preferred verdict outcome vote choice chosen decision better best pick"),
    _set("label answer result judgment judgement score annotation"),
    frozenset(("comparison",)),
)
"""The words for a verdict, the surest first."""

QUALIFIERS: Final = _set(
    "human overall final pairwise judge model name id is the majority annotator response"
)
"""What may stand beside a word for a verdict."""

_TESTED: Final = ("model", "candidate", "challenger", "system", "treatment")
_TEXTS: Final = frozenset(("reference", "control"))
"""These words alone may be the name of an answer."""
_BASELINE: Final = ("baseline", "reference", "opponent", "defender", "champion", "control", "rival")
JUDGE: Final = _set("judge annotator evaluator rater assessor grader voter")
DATASET: Final = _set("dataset benchmark corpus collection")
SWAPPED: Final = _set("swapped swap flipped reversed switched")
_NOTHING: Final = frozenset(("", "error", "$error$", "null", "nan", "n/a", "invalid", "failed"))
_GLUED: Final = re.compile(r"(model|agent|system|player|generator|winner)([ab])")

_SCORED: Final = VERDICT[0] | _set("score outcome result")
"""Columns in which 1, 0.5 and 0 (or 1, 0 and -1) are what the first model got."""

_LONGEST_VERDICT: Final = 60
"""Characters; what is longer is a text."""


class ShapeError(ArenaError):
    """A row, or a table, that cannot be read as battles; whoever reads it knows file and line."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}; {remedy}")


@dataclass(frozen=True, slots=True)
class Models:
    """The two columns that name the models."""

    a: str
    b: str
    roles: Mapping[str, str]  #: a winner's word, plain → model_a or model_b
    side: tuple[str, str]  #: what tells the columns apart


def tells_outcome(name: str) -> bool:
    """Return whether a column of this name may tell who won, so that no other may stand for it."""
    told = WIN.union(TIE, SCORE, *VERDICT)
    return not told.isdisjoint(words_of(name))


def is_pair(name: str, value: Sequence[Any]) -> bool:
    """Return whether a list names both models, or gives both scores."""
    words = words_of(name)
    if len(value) != 2 or len(words) != 1 or not words[0].endswith("s"):
        return False
    kind = str if words[0][:-1] in MODEL else int | float if words[0][:-1] in SCORE else ()
    return all(isinstance(each, kind) and each != "" for each in value)


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name: ``Model A``, ``modelA`` and ``modela`` are ``("model", "a")``."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])", "_", name)
    words = [word.lower() for word in re.split(r"[\W_]+", split) if word]
    # ``models.0`` is an item of a list of both models.
    plural = len(words) == 2 and words[0][:-1] in MODEL | SCORE
    if plural and words[0].endswith("s") and words[1] in ("0", "1", "a", "b"):
        return words[0][:-1], words[1]
    glued = _GLUED.fullmatch(words[-1] if words else "")
    return (*words[:-1], glued[1], glued[2]) if glued else tuple(words)


def sided(
    columns: Columns,
    fits: Callable[[tuple[str, ...]], int | None],
    sides: Sequence[tuple[str, str]] = _SIDES,
) -> tuple[str, str, tuple[str, str]] | None:
    """Return the two columns that differ in their side alone, of those that fit best.

    Args:
        columns: name → words.
        fits: words without the side → how well they fit, 0 at best; None if they do not.
        sides: what may tell the columns apart.

    Raises:
        ShapeError: several pairs fit alike.
    """
    fit_of: dict[tuple[str, str], tuple[int, tuple[str, str]]] = {}
    for (name, words), side in product(columns.items(), sides):
        for position in (position for position, word in enumerate(words) if word == side[0]):
            stem = (*words[:position], *words[position + 1 :])
            across = (*words[:position], side[1], *words[position + 1 :])
            fit = fits(stem)
            partner = next((each for each, told in columns.items() if told == across), None)
            if fit is not None and partner is not None:
                fit_of[name, partner] = (fit, side)
    best = min((fit for fit, _ in fit_of.values()), default=0)
    pairs = [(a, b, side) for (a, b), (fit, side) in fit_of.items() if fit == best]
    if len(pairs) > 1:
        several = " or ".join(f"{a} and {b}" for a, b, _ in pairs)
        raise ShapeError(f"the columns {several} could be meant", "rename or remove the others")
    return pairs[0] if pairs else None


def _fits_model(stem: tuple[str, ...]) -> int | None:
    """Return how well a column of these words, without its side, names a model."""
    if not stem:
        return 30
    head, before = (stem[-2:-1], stem[:-2]) if stem[-1] in NAMED else (stem[-1:], stem[:-1])
    if not set(before) <= ANSWER | WEAK_MODEL | MODEL | {"models"}:
        return None
    rank = 1 if stem[-1] == "name" else 2 if stem[-1] == "id" else 0
    if not head:
        return 31
    if head[0] in MODEL:
        return rank + (3 if before else 0)
    return rank + 20 if head[0] in WEAK_MODEL and not before else None


def find_models(columns: Columns) -> Models | None:
    """Return the two columns that name the models; None if there are none.

    Raises:
        ShapeError: several pairs could.
    """
    if "model_a" in columns and "model_b" in columns:
        return Models("model_a", "model_b", {"modela": "model_a", "modelb": "model_b"}, ("a", "b"))
    pair = sided(columns, _fits_model)
    if pair is None:
        return None
    a, b, side = pair
    roles: dict[str, str] = {}
    for name, each, role in ((a, side[0], "model_a"), (b, side[1], "model_b")):
        roles |= dict.fromkeys(("".join(columns[name]), f"model{each}"), role)
        roles[f"{''.join(word for word in columns[name] if word in MODEL)}{each}"] = role
    # The side alone is a word of the common vocabulary, which knows what it means when swapped.
    return Models(a, b, {word: r for word, r in roles.items() if word not in side}, side)


def find_baseline(columns: Columns) -> Models | None:
    """Return ``model`` and ``baseline``, where no letter or number names the winner."""
    tested, baseline = (
        next(
            (
                name
                for word in words
                for name, told in columns.items()
                if word in told and set(told) <= {word, "model", "name", "id"}
                if word not in _TEXTS or len(told) > 1
            ),
            None,
        )
        for words in (_TESTED, _BASELINE)
    )
    if tested is None or baseline is None or tested == baseline:
        return None
    roles = {"model": "model_a", "win": "model_a", "won": "model_a", "baseline": "model_b"}
    roles |= dict.fromkeys(("loss", "lose", "lost"), "model_b")
    roles |= {"".join(columns[tested]): "model_a", "".join(columns[baseline]): "model_b"}
    return Models(tested, baseline, roles, (tested, baseline))


def find_verdict(columns: Columns, rows: Sequence[Row]) -> str | None:
    """Return the column that tells the winner.

    Raises:
        ShapeError: several could.
    """
    for words in VERDICT:
        told = [
            name
            for name, column in columns.items()
            if (words & set(column)) and set(column) <= words | QUALIFIERS
            if all(_is_short(row.get(name)) for row in rows)
        ]
        if "winner" in told:
            return "winner"
        filled = [name for name in told if any(not is_nothing(row.get(name)) for row in rows)]
        told = filled or told
        if len(told) > 1:
            several = " or ".join(told)
            raise ShapeError(f"the winner could be in {several}", "rename the right one to winner")
        if told:
            return told[0]
    # Whose winner it is does not matter where there is one alone: gpt4_winner.
    heads = [
        name
        for name, column in columns.items()
        if column[-1:] in (("winner",), ("preference",), ("verdict",))
        if all(_is_short(row.get(name)) for row in rows)
    ]
    heads = heads or [name for name in columns if _holds_votes(name, rows)]
    if len(heads) > 1:
        several = " or ".join(heads)
        raise ShapeError(f"the winner could be in {several}", "rename the right one to winner")
    return heads[0] if heads else None


def _holds_votes(name: str, rows: Sequence[Row]) -> bool:
    """Return whether a column with any name tells winners: ``{"type": "leftvote"}``."""
    filled = [value for row in rows if not is_nothing(value := row.get(name))]
    return bool(filled) and all(isinstance(value, str) and is_vote(value) for value in filled)


def _is_short(value: object) -> bool:
    return not isinstance(value, list | dict) and len(str(value)) <= _LONGEST_VERDICT


def is_nothing(value: object) -> bool:
    """Return whether a cell says that a judge gave no verdict: null, NaN, "error"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in _NOTHING


def plain(value: object) -> str:
    """Return the letters and digits of a word, in lower case."""
    return re.sub(r"[\W_]+", "", str(value)).lower()


def number_in(value: object) -> float | None:
    """Return the number that a cell holds or spells; None if it is none."""
    if isinstance(value, str):
        # Three digits after a comma may be thousands.
        value = re.sub(r"^(\s*[-+]?\d+),(\d\d?\s*)$", r"\1.\2", value)
        if not re.fullmatch(r"\s*[-+]?[0-9.]{1,20}(e[-+]?\d\d?)?\s*", value):
            return None
    try:
        return None if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def of_baseline(value: object, row: Row, models: Models, column: str, words: set[str]) -> object:
    """Return a winner that is a role, a name, or the share of a win of the model.

    Raises:
        ShapeError: it could mean either.
    """
    flags = {"true": 1.0, "false": 0.0}
    number = flags.get(str(value).strip().lower(), number_in(value))
    if number in (0, 0.5, 1) and words & {"win", "won", "score"}:
        return {0: "model_b", 0.5: "tie", 1: "model_a"}[float(number or 0)]
    names = (row.get(models.a), row.get(models.b))
    word = plain(value)
    ties = ("tie", "draw", "equal", "both", "same", "neither")
    if is_nothing(value) or value in names or word in models.roles or word.startswith(ties):
        return value
    what = f"{column} is {str(value)[:60]!r}"
    remedy = f"expected {models.a}, {models.b} or tie: a letter or a number could mean either"
    raise ShapeError(what, remedy)


def of_number(value: object, column: str, models: Models, words: set[str]) -> object:
    """Return a winner that may be a number of a side, or a share of a win.

    Numbers that are neither 1 nor 2 are scores of the first model where the column says so. In a
    column of preferences some write the side, from 0, and others the score.

    Args:
        value: the cell.
        column: its name, for messages.
        models: the columns of the models; where they are numbered from 0, so is the winner.
        words: of the column's name.

    Raises:
        ShapeError: it could mean either model.
    """
    number = number_in(value)
    if number is None:
        return value
    if models.side == ("0", "1"):
        if words & (VERDICT[0] | VERDICT[1]) and number in (0, 1):
            return "model_b" if number else "model_a"
    elif number in (1, 2) or words & _SCORED:
        return value
    what = f"{column} is {value}"
    raise ShapeError(what, "such a number may mean either model: write model_a, model_b or tie")


def of_scale(value: object, column: str, *, known: bool) -> tuple[object, dict[str, Any]]:
    """Read a number from 1, the first model wins, to 2, the second does; in between, a probability.

    Args:
        value: the cell.
        column: its name, for messages.
        known: whether the file is one of alpaca_eval's, where 0 is a tie.

    Raises:
        ShapeError: a number beyond the scale of such a file.
    """
    number = number_in(value)
    if number is None or math.isnan(number):
        return value, {}
    if 1 <= number <= 2:
        winner = "tie" if number == 1.5 else "model_a" if number < 1.5 else "model_b"
        return winner, {"probs": {"first": 2 - number, "second": number - 1, "tie": 0.0}}
    if not known or number != 0:
        raise ShapeError(f"{column} is {value}", "expected a number from 1 (the first wins) to 2")
    return "tie", {"probs": {"first": 0.5, "second": 0.5, "tie": 0.0}}
