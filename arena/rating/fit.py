"""Compute ratings and their variance from counted battles, for any model of outcomes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from arena.errors import UsageError
from arena.rating.comparisons import (
    Comparisons,
    Counts,
    DisconnectedError,
    Floats,
    connected_groups,
)
from arena.rating.likelihood import OutcomeRule, Parameters, maximise
from arena.rating.sandwich import Contrasts, sandwich


@dataclass(frozen=True, slots=True)
class Fit:
    """Ratings on the logit scale, and how sure they are."""

    theta: Floats  #: strengths, mean 0, (m,)
    covariance: Floats
    """Of theta, clustered by query, without a correction for few; rows sum to 0, (m, m)."""
    contrasts: Contrasts  #: the variance of each rating and difference by the queries behind it
    position: float  #: γ, logits that the first place adds; 0 if not fitted
    position_fitted: bool  #: False if not asked for, or if the design cannot tell γ from θ
    n_clusters: int  #: distinct queries
    n_battles: int
    prior: float  #: precision of the normal prior on each θ; 0 for none
    log_likelihood: float  #: at the estimate, without priors
    tie: float | None = None  #: Davidson's ν; None in Bradley-Terry
    independent: Floats | None = None  #: the covariance if battles on a query were independent
    guard: Floats | None = None  #: the part of the covariance that is there for sparse data

    @property
    def standard_error(self) -> Floats:
        """Return standard errors of theta, (m,)."""
        se: Floats = np.sqrt(np.diagonal(self.contrasts.variance))[: len(self.theta)]
        return se

    @property
    def position_se(self) -> float:
        """Return standard error of γ; 0 if not fitted."""
        return float(np.sqrt(self.contrasts.variance[-1, -1])) if self.position_fitted else 0.0

    @property
    def rating_df(self) -> Floats:
        """Return degrees of freedom of the standard errors of theta, (m,)."""
        df: Floats = np.diagonal(self.contrasts.df)[: len(self.theta)]
        return df

    @property
    def effective_queries(self) -> Floats:
        """Return the queries behind a model's differences from others, the median of them, (m,)."""
        m = len(self.theta)
        rival_df = self.difference_df[~np.eye(m, dtype=bool)].reshape(m, m - 1)
        effective: Floats = np.median(rival_df, axis=1) + 1
        return effective

    @property
    def difference_se(self) -> Floats:
        """Return standard errors of all differences of two ratings, (m, m); 0 on the diagonal."""
        m = len(self.theta)
        se: Floats = np.sqrt(self.contrasts.variance[:m, :m])
        np.fill_diagonal(se, 0)
        return se

    @property
    def difference_df(self) -> Floats:
        """Return degrees of freedom of these, (m, m)."""
        m = len(self.theta)
        return self.contrasts.df[:m, :m]


def fit_rule(
    comparisons: Comparisons, counts: Counts, rule: OutcomeRule, *, position: bool, prior: float
) -> Fit:
    """Fit a rule to counted battles and attach the clustered covariance.

    Raises:
        DisconnectedError: without a prior, if the win graph is not strongly connected.
        UsageError: a negative prior, or no finite estimate.
    """
    if not prior >= 0:
        raise UsageError(f"prior must be 0 or more, got {prior}")
    if prior == 0 and len(groups := connected_groups(counts)) > 1:
        raise DisconnectedError(groups)
    layout = Parameters(
        n_models=comparisons.n_models,
        position=position and position_identifiable(counts.battles),
        tie=rule.tie_start is not None,
        prior=prior,
        n_layers=len(counts.battles),
    )
    beta, slopes = maximise(rule, layout)
    covariance = sandwich(comparisons, counts, rule, layout, beta)
    m = layout.n_models
    return Fit(
        theta=beta[:m] - beta[:m].mean(),
        covariance=covariance.clustered[:m, :m],
        contrasts=covariance.contrasts,
        position=float(beta[m]) if layout.position else 0.0,
        position_fitted=layout.position,
        n_clusters=covariance.n_clusters,
        n_battles=len(comparisons.first),
        prior=prior,
        log_likelihood=slopes.value,
        tie=math.exp(beta[-1]) if layout.tie else None,
        independent=covariance.independent[:m, :m],
        guard=covariance.guard[:m, :m],
    )


def position_identifiable(battles: Floats) -> bool:
    """Return whether the position term can be told from the ratings.

    It cannot if some θ has θ_first − θ_second = 1 on every pair that was played, and 0 if no
    list was shown first. Examples are two models always in the same order, and one half of the pool
    always first against the other half.
    """
    first = (battles[0] > 0).astype(np.float64)
    played = (battles > 0).astype(np.float64).sum(axis=0)
    cross = first.sum(axis=1) - first.sum(axis=0)
    laplacian = np.diag(played.sum(axis=1) + played.sum(axis=0)) - played - played.T
    theta = np.linalg.solve(laplacian + 1e-9 * np.eye(len(played)), cross)
    return bool(first.sum() - cross @ theta > 1e-6 * first.sum())
