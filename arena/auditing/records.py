"""Define the records of an audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["reliable", "use with caution", "unreliable"]
Unit = Literal["share", "difference", "elo", "elo sd", "coefficient"]
"""A difference is one of shares, from −1 to 1; an sd is never below 0."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and how sure it is; clustered by query."""

    value: float
    lower: float | None  #: of a 95% interval; None if one query cannot tell
    upper: float | None
    n: int  #: observations behind the value
    n_queries: int  #: distinct queries behind it


@dataclass(frozen=True, slots=True)
class Subgroup:
    """A figure of a part of the battles: one data set, one reason, one judge."""

    name: str
    value: float
    n: int  #: observations of this part
    lower: float | None = None  #: of an interval, where a part has one
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class AuditMetric:
    """One line of the card; either an estimate with its meaning, or why there is none."""

    key: str  #: stable, for programs
    title: str  #: a few words for people
    unit: Unit
    estimate: Estimate | None  #: None if it cannot be computed; never 0 instead
    of: str  #: what the observations are: "battles", "home-and-away pairs"
    meaning: str  #: what it means for the reader; without an estimate: why there is none
    parts: tuple[Subgroup, ...] = ()
    table: tuple[tuple[float, ...], ...] = ()
    """Shares of observations: a row for each answer of people, a column for each of the judge."""
    decides: bool = True  #: False if more than the judge is in it, so that it proves nothing


@dataclass(frozen=True, slots=True)
class Trust:
    """How reliable the judge is, and what decided that."""

    level: Level
    decided_by: tuple[str, ...]  #: keys of the figures that decided; empty if none did
    reason: str  #: one sentence


@dataclass(frozen=True, slots=True)
class Audit:
    """The reliability card of the judge, or of the panel, of one log."""

    trust: Trust
    judges: tuple[str, ...]  #: "" for a judge that the log does not name
    battles: int
    queries: int
    datasets: tuple[str, ...]
    figures: tuple[AuditMetric, ...]  #: in the order of the card
    notes: tuple[str, ...] = ()  #: what else a reader should know, one line each

    def figure(self, key: str) -> AuditMetric:
        """Return the figure with this key; a KeyError if there is no such figure."""
        return {figure.key: figure for figure in self.figures}[key]


FLIP_RATE = "reversal"
"""The key of the flip rate; programs that read the JSON know it by this word."""

BY_QUERY_ID = " (matched by query_id)"


def of_hundred(share: float) -> str:
    """Return a share as people read it best: ``24 of 100``; small ones not rounded to none."""
    percent = 100 * share
    if 0 < percent < 1:
        return "fewer than 1 of 100"
    if 99 < percent < 100:
        return "more than 99 of 100"
    return f"{percent:.0f} of 100"


def missing_metric(key: str, title: str, because: str, unit: Unit = "share") -> AuditMetric:
    """Return a figure that cannot be computed, and why."""
    return AuditMetric(key, title, unit, None, "", because)
