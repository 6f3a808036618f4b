"""Bradley-Terry ratings from a judge's verdicts on all battles and people's on a sample of them.

With r = 1/π where people were asked (π the probability of being asked) and 0 elsewhere, query q has
the score Σ_b {r (y_people − p) + λ (1 − r)(y_judge − p)} x, x = e_first − e_second. As E r = 1, its
mean is the score of people's verdicts on all battles, for any judge and any λ. λ is chosen for the
smallest variance: a useless judge gets 0. Prediction-powered inference: Angelopoulos et al. 2023,
arXiv:2301.09633 and arXiv:2311.01453; for ratings of models Boyeau et al. 2024, arXiv:2403.07008;
the variance is clustered by query here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from arena.rating.bradley_terry import sigmoid
from arena.rating.comparisons import Floats, Ints
from arena.rating.people.label_estimates import (
    JudgeError,
    LabelEstimate,
    degrees_of_freedom,
    meat,
    per_query,
    shrink,
)

_FARTHEST = 8.0
"""Logits beyond the judge's own ratings at which the search for a finite solution ends."""

_LONGEST_STEP = 0.7
_STEPS = 100
_LEAST_LEFT = 0.1
"""Least share of a residual that a query is taken to leave: one query alone decides no rating."""

_CARRIES = 0.5
"""Least λ at which the judge may give a finite solution where people's labels alone have none."""

_NO_LINK = 1e-10
"""Share of the mean eigenvalue of a graph's Laplacian below which one counts as 0."""


@dataclass(frozen=True, slots=True)
class LabelledBattles:
    """Battles that a judge decided, some of them labelled by people; arrays of length n."""

    first: Ints  #: models are codes from 0
    second: Ints
    query: Ints  #: clusters are codes from 0, all of which occur
    judge: Floats  #: the judge's score of the first, 0 to 1
    people: Floats  #: people's score of the first; ignored where ``inverse`` is 0
    inverse: Floats  #: 1 / probability of being asked where people answered, else 0
    n_models: int
    weight: Floats | None = None  #: relative weight of each battle; 1 if absent
    stratum: Ints | None = None  #: the data set of each query, (n_queries,); one if absent
    prior: float = 0.0  #: precision of a normal prior on each rating, logits⁻²
    certain: NDArray[np.bool_] | None = None  #: known without a label, such as a tie of equal lists

    @property
    def shape(self) -> tuple[int, int]:
        """Return number of queries and of models."""
        return int(self.query.max()) + 1, self.n_models

    @property
    def answers(self) -> Floats:
        """Return people's score of the first where they answered, else the judge's, (n,)."""
        return np.where(self.inverse > 0, self.people, self.judge)

    @property
    def asked(self) -> Floats:
        """Return the labels of each query that a draw decided, (n_queries,)."""
        drawn = self.inverse > 0
        if self.certain is not None:
            drawn &= ~self.certain
        n_labels = np.bincount(self.query[drawn], minlength=self.shape[0])
        return n_labels.astype(np.float64)

    def scores(self, value: Floats) -> Floats:
        """Return Σ weight · value · x of each query, (n_queries, n_models)."""
        weighed = self.weighed(value)
        return per_query(weighed, self.first, self.second, self.query, self.shape)

    def weighed(self, value: Floats) -> Floats:
        """Return values times the weight of each battle, (n,)."""
        return value if self.weight is None else value * self.weight

    def only(self, rows: Ints) -> LabelledBattles:
        """Take the battles at these positions, all of one query."""
        taken = {
            name: getattr(self, name)[rows]
            for name in ("first", "second", "judge", "people", "inverse")
        }
        return replace(self, **taken, query=np.zeros(len(rows), np.intp), weight=None, certain=None)

    def expected(self, theta: Floats) -> Floats:
        """Return P(first wins) of each battle."""
        return sigmoid(theta[self.first] - theta[self.second])

    def bread(self, weight: Floats, p: Floats) -> Floats:
        """Return H⁺, the inverse of Σ weight p(1−p) x xᵀ over ratings of mean 0, (m, m)."""
        value = weight * p * (1 - p)
        hessian = self.outer(self.weighed(value))
        hessian += self.prior * np.eye(self.n_models)
        level = np.trace(hessian) / self.n_models
        flat = 1 / ((self.prior + level) * self.n_models)
        inverse: Floats = np.linalg.inv(hessian + level / self.n_models) - flat
        return inverse

    def outer(self, value: Floats) -> Floats:
        """Return Σ value · x xᵀ over all battles, (m, m)."""
        m = self.n_models
        cells = np.bincount(self.first * m + self.second, value, m * m).reshape(m, m)
        both = cells + cells.T
        total: Floats = np.diag(both.sum(axis=1)) - both
        return total

    def connects(self, weight: Floats) -> bool:
        """Return whether battles of positive weight, or the prior, connect all models."""
        laplacian = self.outer((weight > 0).astype(np.float64)) + self.prior * np.eye(self.n_models)
        level = np.trace(laplacian) / self.n_models
        least = np.linalg.eigvalsh(laplacian + level / self.n_models)[0]
        return bool(least > _NO_LINK * level)


def judge_ratings(battles: LabelledBattles) -> Floats:
    """Return the judge's own ratings, mean 0, (m,).

    Raises:
        ValueError: no finite ratings exist.
    """
    theta = _solve(battles, np.ones(len(battles.first)), battles.judge, np.zeros(battles.n_models))
    if theta is None:
        raise ValueError("no finite ratings: wins and ties do not connect all models both ways")
    return theta


def prediction_powered(
    battles: LabelledBattles,
    *,
    judge_weight: float | None = None,
    judge_theta: Floats | None = None,
    one_step: bool = False,
    small_sample: bool = True,
) -> LabelEstimate:
    """Correct a judge's ratings by people's labels of a sample of its battles.

    The estimate is one Newton step from the judge's ratings where no finite solution exists. It is
    the same step where people's labels alone have no finite solution and λ is below ½. A judge of
    small weight would then make a solution finite that lies far out, with much wider intervals than
    those of people's labels alone.

    Args:
        battles: judged, and partly labelled.
        judge_weight: λ from 0 to 1; the one of least variance if absent.
        judge_theta: the judge's ratings, mean 0, (m,), where they are known.
        one_step: take one Newton step in any case.
        small_sample: allow in the variance for λ and ratings that the same few labels chose. Each
            query gets the λ that all others choose (cross-fitting, Chernozhukov et al. 2018,
            arXiv:1608.00060). Each score is divided by the root of what its query's own pull on the
            ratings leaves of it (CR2; Bell and McCaffrey 2002, Survey Methodology 28). A λ within
            one standard error of 0 is 0: the one-standard-error rule of Breiman et al. 1984,
            *Classification and Regression Trees*.

    Raises:
        ValueError: the judge's ratings are not finite.
    """
    start = judge_ratings(battles) if judge_theta is None else judge_theta
    p = battles.expected(start)
    bread = battles.bread(np.ones(len(p)), p)
    a, b = (part @ bread for part in _parts(battles, p))
    lam, weight_of_query = _best_weights(a, b, battles.stratum)
    if small_sample and lam < _weight_error(a, b, battles.stratum):
        lam, weight_of_query = 0.0, np.zeros(len(a))
    if judge_weight is not None:
        lam, weight_of_query = judge_weight, np.full(len(a), judge_weight)
    weight = battles.inverse + lam * (1 - battles.inverse)
    points = battles.inverse * battles.answers + lam * (1 - battles.inverse) * battles.judge
    step = one_step or (lam < _CARRIES and not _people_alone_decide(battles, start))
    theta = None if step else _solve(battles, weight, points, start)
    stepped = theta is None
    if theta is None:
        theta = start + (a + lam * b).sum(axis=0) - battles.prior * bread @ start
    else:
        p = battles.expected(theta)
        bread = battles.bread(weight, p)
        a, b = (part @ bread for part in _parts(battles, p))
    moves = a + (weight_of_query[:, None] if small_sample else lam) * b
    if small_sample and not stepped:
        moves = _without_own_pull(battles, weight * p * (1 - p), bread, moves)
    residual = (battles.answers - p) - lam * (battles.judge - p)
    return LabelEstimate(
        theta=theta - theta.mean(),
        covariance=meat(moves, battles.stratum),
        df=degrees_of_freedom(moves, battles.asked, battles.stratum),
        judge_weight=lam,
        label_part=bread @ _sampling(battles, residual) @ bread,
        one_step=stepped,
    )


def rectifiers(battles: LabelledBattles, theta: Floats) -> Floats:
    """Return H⁺ Σ_b r (y_people − y_judge) x of each query: the sum estimates people minus judge.

    Args:
        battles: judged, and partly labelled.
        theta: the judge's ratings, (m,).
    """
    p = battles.expected(theta)
    apart = battles.inverse * (battles.answers - battles.judge)
    rectifier: Floats = battles.scores(apart) @ battles.bread(np.ones(len(p)), p)
    return rectifier


def shrunk_battles(
    battles: LabelledBattles, *, judge_theta: Floats | None = None
) -> tuple[LabelEstimate, JudgeError]:
    """Correct a judge's ratings by the shrunk rectifier; see `label_estimates.shrink`.

    Raises:
        ValueError: the judge's ratings are not finite.
    """
    start = judge_ratings(battles) if judge_theta is None else judge_theta
    p = battles.expected(start)
    own = battles.scores(battles.judge - p) @ battles.bread(np.ones(len(p)), p)
    alone = meat(own, battles.stratum)
    rectifier = rectifiers(battles, start)
    theta, covariance, error = shrink(start, alone, rectifier, stratum=battles.stratum)
    df = degrees_of_freedom(rectifier, battles.asked, battles.stratum)
    return LabelEstimate(theta, covariance, df, 1.0, covariance - alone), error


def _parts(battles: LabelledBattles, p: Floats) -> tuple[Floats, Floats]:
    """Return a and b of the score a + λ b of each query, (n_queries, m) each."""
    people = battles.scores(battles.inverse * (battles.answers - p))
    return people, battles.scores((1 - battles.inverse) * (battles.judge - p))


def _people_alone_decide(battles: LabelledBattles, start: Floats) -> bool:
    """Return whether people's labels alone have a finite solution."""
    points = battles.inverse * battles.answers
    return _solve(battles, battles.inverse, points, start) is not None


def _best_weights(a: Floats, b: Floats, stratum: Ints | None) -> tuple[float, Floats]:
    """Return λ* = −tr Cov(a, b) / tr Cov(b) within 0 and 1; and per query the λ* of all others."""
    a, b = _centred(a, stratum), _centred(b, stratum)
    together, alone = -(a * b).sum(axis=1), (b * b).sum(axis=1)
    over, under = together.sum(), alone.sum()
    left = np.maximum(under - alone, 1e-300)
    others = np.where(under > alone, (over - together) / left, 0.0)
    best = float(over / under) if under > 0 else 0.0
    return float(np.clip(best, 0, 1)), np.clip(others, 0, 1)


def _weight_error(a: Floats, b: Floats, stratum: Ints | None) -> float:
    """Return the standard error of λ*, a ratio of sums over queries (delta method)."""
    a, b = _centred(a, stratum), _centred(b, stratum)
    alone = (b * b).sum(axis=1)
    under = alone.sum()
    if not under > 0:
        return 0.0
    over = -(a * b).sum(axis=1)
    moves = (over - over.sum() / under * alone) / under
    return float(np.sqrt(moves @ moves))


def _without_own_pull(
    battles: LabelledBattles, information: Floats, bread: Floats, moves: Floats
) -> Floats:
    """Scale up what each labelled query moves the ratings by, as CR2 does.

    A query with many labels pulls the ratings towards itself and leaves a small residual. With
    L Lᵀ = H⁺, its move is multiplied by L (I − Lᵀ H_q L)^−½ L⁻¹.
    """
    values, vectors = np.linalg.eigh(bread)
    values, vectors = values[1:], vectors[:, 1:]  # the first is the mean, which no battle moves
    root = np.sqrt(values)
    order = np.argsort(battles.query, kind="stable")
    ends = np.cumsum(np.bincount(battles.query))
    rows = np.split(order, ends[:-1])
    out = moves.copy()
    for query in np.flatnonzero(battles.asked).tolist():
        part = rows[query]
        own = battles.only(part).outer(battles.weighed(information)[part])
        left, turn = np.linalg.eigh(np.eye(len(root)) - _between(own, vectors * root))
        factor = (turn / np.sqrt(np.clip(left, _LEAST_LEFT, 1))) @ turn.T
        out[query] = vectors @ (root * (factor @ ((vectors.T @ moves[query]) / root)))
    return out


def _between(matrix: Floats, sides: Floats) -> Floats:
    product: Floats = sides.T @ matrix @ sides
    return product


def _centred(scores: Floats, stratum: Ints | None) -> Floats:
    """Return scores less the mean of their data set."""
    if stratum is None:
        centred: Floats = scores - scores.mean(axis=0)
        return centred
    size = np.bincount(stratum)
    means = np.stack([np.bincount(stratum, column) for column in scores.T], axis=1) / size[:, None]
    return scores - means[stratum]


def _sampling(battles: LabelledBattles, residual: Floats) -> Floats:
    """Return Σ (1−π)/π² e² x xᵀ over the labelled: what sampling adds to the meat, (m, m)."""
    value = battles.inverse * np.maximum(battles.inverse - 1, 0) * residual**2
    return battles.outer(value if battles.weight is None else value * battles.weight**2)


def _solve(
    battles: LabelledBattles, weight: Floats, points: Floats, theta: Floats
) -> Floats | None:
    """Solve a weighted fit by Newton's method, for any points; return None without a solution."""
    if not battles.connects(weight):
        return None
    farthest = _FARTHEST + np.abs(theta).max()
    for _ in range(_STEPS):
        p = battles.expected(theta)
        gradient = battles.scores(points - weight * p).sum(axis=0) - battles.prior * theta
        step = battles.bread(weight, p) @ gradient
        length = float(np.abs(step).max())
        theta = theta + step * min(1.0, _LONGEST_STEP / max(length, 1e-300))
        if length < 1e-11:
            centred: Floats = theta - theta.mean()
            return centred
        if not np.abs(theta).max() <= farthest:
            return None
    return None
