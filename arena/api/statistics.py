"""The statistics alone, on arrays: no data set, no judge and no log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from arena.api.arguments import wrong_type
from arena.api.frames import frame_of
from arena.battles.load import Battles, from_frame
from arena.errors import DataError, UsageError
from arena.rating.elo import EloSettings, elo_ratings, records_of
from arena.rating.leaderboard import build_leaderboard
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.people.peoples_labels import frame_labels

if TYPE_CHECKING:
    import pandas as pd

_WINNERS = {
    "first": "model_a",
    "second": "model_b",
    "model_a": "model_a",
    "model_b": "model_b",
    "tie": "tie",
}


def bradley_terry(  # noqa: PLR0913  the last four are options
    first: Iterable[Any],
    second: Iterable[Any],
    winner: Iterable[Any],
    *,
    query: Iterable[Any] | None = None,
    position: bool = True,
    prior: float = 0.0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Fit Bradley-Terry ratings with intervals that are clustered by query.

    The figures are those of `arena.rate`: maximum likelihood (Bradley and Terry 1952,
    doi:10.2307/2334029), Elo scale around 1500, a tie is half a win.

    Args:
        first: (n,) names of the models that were shown first.
        second: (n,) names of the others.
        winner: (n,) ``"first"``, ``"second"`` or ``"tie"``; or the first one's score from 0 to 1,
            such as a judge's probability.
        query: (n,) query ids: battles that share one are not independent. Each battle is its own
            cluster if absent.
        position: estimate the advantage of being shown first, and remove it.
        prior: precision of a normal prior on ratings, in logits⁻²; above 0 every rating is finite.
        level: of the intervals.

    Returns:
        One row a model, best first: rank, model, rating, lower, upper, rank_lower, rank_upper,
        battles. ``attrs["position_advantage"]`` is what the first place is worth, in Elo points,
        None if it was not estimated. ``attrs["notes"]`` says what a reader should know, such
        as why there is no finite rating.

    Raises:
        UsageError: arrays of different lengths, or settings out of range.
        DataError: an outcome is unknown, or a model plays itself; names the row.
    """
    settings = RatingSettings(position=position, prior=prior, level=level, n_permutations=0)
    board = build_leaderboard(_battles(first, second, winner, query), settings=settings)
    names = ("rank", "model", "rating", "lower", "upper", "rank_lower", "rank_upper")
    rows = [
        {name: getattr(row, name) for name in names} | {"battles": row.record.battles}
        for row in board.overall
    ]
    frame = frame_of(rows)
    advantage = board.position_advantage
    frame.attrs["position_advantage"] = None if advantage is None else advantage.elo
    frame.attrs["notes"] = list(board.notes)
    return frame


def corrected_bradley_terry(  # noqa: PLR0913  one parameter per array
    first: Iterable[Any],
    second: Iterable[Any],
    judge: Iterable[Any],
    people: Iterable[Any],
    probability: Iterable[float | None] | float,
    *,
    query: Iterable[Any],
    level: float = 0.95,
) -> pd.DataFrame:
    """Fit Bradley-Terry ratings to a judge's verdicts, corrected by people's on a random sample.

    Intervals hold what the judge is wrong about: prediction-powered inference
    (arXiv:2311.01453), clustered by query.

    Args:
        first: (n,) names of the models that were shown first.
        second: (n,) names of the others.
        judge: (n,) ``"first"``, ``"second"`` or ``"tie"`` by the judge, for all battles; or the
            first one's score from 0 to 1.
        people: (n,) ``"first"``, ``"second"``, ``"tie"``, or 1, 0 and 0.5, by people; None if
            nobody answered.
        probability: (n,) of being asked, above 0 if people answered; or one number for all.
        query: (n,) query ids.
        level: of the intervals.

    Returns:
        One row a model, best first: rank, model, rating (the judge's), lower, upper, corrected,
        corrected_lower, corrected_upper, rank_lower, rank_upper, battles. ``attrs["correction"]``
        is a dict of what the labels did (method, labels, queries, error_sd ...), or None if they
        could not correct; ``attrs["notes"]`` says why.

    Raises:
        UsageError: arrays of different lengths, or settings out of range.
        DataError: an outcome is unknown, or a model plays itself; names the row.
    """
    import pandas as pd  # noqa: PLC0415

    columns = _columns(first=first, second=second, judge=judge, people=people, query=query)
    n = len(columns["first"])
    given = [probability] * n if isinstance(probability, Real) else probability
    columns |= _columns(first=columns["first"], probability=given)
    labels = {
        "query_id": list(map(str, columns["query"])),
        "model_a": columns["first"],
        "model_b": columns["second"],
        "winner": [_peoples_winner(row, answer) for row, answer in enumerate(columns["people"])],
        "probability": columns["probability"],
    }
    answered = [row for row, winner in enumerate(labels["winner"]) if winner is not None]
    board = build_leaderboard(
        _battles(columns["first"], columns["second"], columns["judge"], labels["query_id"]),
        settings=RatingSettings(position=False, level=level, n_permutations=0),
        people=frame_labels(pd.DataFrame(labels).iloc[answered], aliases={}),
    )
    shown = (
        *("rank", "model", "rating", "lower", "upper"),
        *("corrected", "corrected_lower", "corrected_upper", "rank_lower", "rank_upper"),
    )
    result = frame_of(
        {name: getattr(row, name) for name in shown} | {"battles": row.record.battles}
        for row in board.overall
    )
    # A dict, because pandas writes attrs as JSON.
    result.attrs["correction"] = None if board.correction is None else asdict(board.correction)
    result.attrs["notes"] = list(board.notes)
    return result


def _peoples_winner(row: int, answer: Any) -> str | None:
    """Return the winner as `frame_labels` reads it; None if nobody answered.

    Raises:
        UsageError: the answer is none of those that are allowed.
    """
    if answer is None or answer != answer:  # noqa: PLR0124  NaN, as pandas writes it
        return None
    if isinstance(answer, Real) and answer is not True and answer is not False:
        answer = {1: "first", 0: "second", 0.5: "tie"}.get(float(answer), answer)
    winner = _WINNERS.get(answer) if isinstance(answer, str) else None
    if winner is None:
        expected = '"first", "second", "tie", or None where nobody answered'
        raise UsageError(f"people: row {row} is {answer!r}; expected {expected}")
    return winner


def elo(
    first: Iterable[Any],
    second: Iterable[Any],
    winner: Iterable[Any],
    *,
    k_factor: float = 32.0,
    start: float = 1500.0,
) -> pd.DataFrame:
    """Replay battles in their order through online Elo (Elo 1978).

    Args:
        first: (n,) names of the models that were shown first.
        second: (n,) names of the others.
        winner: (n,) ``"first"``, ``"second"`` or ``"tie"``.
        k_factor: the most points that one battle can move.
        start: rating of a model before its first battle.

    Returns:
        One row a model, best first: model, elo, wins, losses, ties, battles.

    Raises:
        UsageError: arrays of different lengths, scores instead of outcomes, or settings out of
            range.
        DataError: an outcome is unknown, or a model plays itself; names the row.
    """
    import pandas as pd  # noqa: PLC0415

    settings = EloSettings(start=start, k_factor=k_factor)
    battles = _battles(first, second, winner, None)
    if battles.probs is not None:
        raise UsageError('elo: winner holds numbers; expected "first", "second" or "tie"')
    records = records_of(battles)
    frame = pd.DataFrame(
        {
            "model": list(battles.models),
            "elo": elo_ratings(battles, settings),
            "wins": [record.wins for record in records],
            "losses": [record.losses for record in records],
            "ties": [record.ties for record in records],
            "battles": [record.battles for record in records],
        }
    )
    return frame.sort_values("elo", ascending=False, kind="stable", ignore_index=True)


def _battles(
    first: Iterable[Any],
    second: Iterable[Any],
    winner: Iterable[Any],
    query: Iterable[Any] | None,
) -> Battles:
    import pandas as pd  # noqa: PLC0415

    columns = _columns(first=first, second=second, winner=winner)
    if query is not None:
        columns |= _columns(first=columns["first"], query=query)
    for name in ("first", "second"):
        for row, model in enumerate(columns[name]):
            if not isinstance(model, str):
                raise DataError(name, row, f"is {model!r}", "give the model's name as a string")
    scores = _scores(columns["winner"])
    outcomes = columns["winner"] if scores is None else _outcomes(scores)
    frame = pd.DataFrame(
        {
            "model_a": columns["first"],
            "model_b": columns["second"],
            "winner": [_winner(row, outcome) for row, outcome in enumerate(outcomes)],
            "order_swapped": False,  # ``first`` was shown first
        }
    )
    if query is not None:
        frame["query_id"] = columns["query"]
    battles = from_frame(frame)
    if scores is None:
        return battles
    return replace(battles, probs=np.stack([scores, 1 - scores, np.zeros_like(scores)], axis=1))


def _columns(**arrays: Any) -> dict[str, list[Any]]:
    """Return arrays as lists, by name.

    Raises:
        UsageError: one of them is none, or they have different lengths.
    """
    columns: dict[str, list[Any]] = {}
    for name, array in arrays.items():
        if isinstance(array, str | Mapping) or not isinstance(array, Iterable):
            raise wrong_type(array, name, "an array or a list")
        columns[name] = list(array)
    if len({len(column) for column in columns.values()}) > 1:
        listed = ", ".join(f"{name} {len(column):,}" for name, column in columns.items())
        raise UsageError(f"arrays of different lengths: {listed}")
    return columns


def _winner(row: int, outcome: Any) -> str:
    """Return the winner as `from_frame` reads it.

    Raises:
        DataError: the outcome is unknown.
    """
    winner = _WINNERS.get(outcome) if isinstance(outcome, str) else None
    if winner is None:
        expected = 'expected "first", "second" or "tie", or a score from 0 to 1 in every row'
        raise DataError("winner", row, f"is {outcome!r}", expected)
    return winner


def _scores(winner: list[Any]) -> np.ndarray | None:
    """Return the first model's scores if the outcomes are numbers; else None.

    Raises:
        UsageError: one of them is not between 0 and 1.
    """
    if not winner or not all(
        isinstance(w, int | float | np.number) and not isinstance(w, bool) for w in winner
    ):
        return None
    scores = np.asarray(winner, dtype=np.float64)
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UsageError(f"winner: row {row} is {winner[row]!r}; a score is from 0 to 1")
    return scores


def _outcomes(scores: np.ndarray) -> list[str]:
    return ["tie" if s == 0.5 else "model_a" if s > 0.5 else "model_b" for s in scores.tolist()]
