"""Leaderboards and audits for a notebook: as data frames, plots and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any, Final

from arena.api.arguments import checked_keywords
from arena.api.frames import frame_of
from arena.auditing.between import Between as PlainBetween
from arena.auditing.records import Audit as PlainAudit
from arena.auditing.records import AuditMetric
from arena.config.usage import UsageConfig
from arena.errors import UsageError
from arena.optional import needed
from arena.rating.leaderboard_cost import Ownership, ownership
from arena.rating.leaderboard_files import row_to_json
from arena.rating.leaderboard_records import Leaderboard as PlainLeaderboard
from arena.rating.leaderboard_records import LeaderboardRow
from arena.terminal import printable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SHOWN: Final = (
    *("rank", "model", "rating", "lower", "upper"),
    *("corrected", "corrected_lower", "corrected_upper", "elo", "battles", "win_rate"),
)


class Leaderboard(PlainLeaderboard):
    """A leaderboard, as a notebook shows it.

    Attributes:
        overall: one row a model, best first: ``rank``, ``model``, ``rating``, ``lower``, ``upper``
            (Elo scale around 1500), ``record``, ``metrics``, ``latency`` (milliseconds) ...
        datasets: the same rows by data set.
        position_advantage: what being shown first is worth in Elo points, with its interval; None
            if it was not estimated.
        battles: how many were rated.
        ties: how many of them nobody won.
        failures: matchups without a verdict.
        queries: clusters that battles fall into.
        judges: their names; "" where the log names none.
        settings: the `RatingSettings`.
        notes: what a reader should know, one sentence each.
        pairs: all pairs of models, with the probability that the first is better.
        more_queries: neighbours that do not separate, with the queries that would separate them.
        position_by_dataset: the position advantage on each data set.
        correction: how people's labels correct the ratings; None without labels.
        rates: what each model takes and costs; empty without an experiment's folder.
        usage: how much the search is used; None where it is not known.
        gaps: differences of all pairs, which `cost` rests on.
        metric_differences: the best model's lead over each other one, by each named metric.
    """

    __slots__ = ()

    def to_frame(self, dataset: str | None = None) -> pd.DataFrame:
        """Return one row a model, best first, with the columns of leaderboard.csv.

        Args:
            dataset: of this data set alone; overall if absent.

        Raises:
            UsageError: there is no such data set.
        """
        rows = []
        for row in self._rows(dataset):
            tree = row_to_json(row)
            rows.append(_flat(tree | tree.pop("metrics", {})))
        return frame_of(rows)

    def plot(self, dataset: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Plot each model's rating with its interval, the best at the top.

        Models without a finite rating show their Elo, without an interval.

        Args:
            dataset: of this data set alone; overall if absent.
            ax: where to; a new figure if absent.

        Raises:
            UsageError: matplotlib is not installed, or there is no such data set.
        """
        plt = needed("matplotlib.pyplot", "plot", extra="plot")
        rows = self._rows(dataset)
        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 1.2 + 0.35 * len(rows)), layout="constrained")
        for y, row in enumerate(rows):
            value = row.elo if row.rating is None else row.rating
            reach = None
            if row.rating is not None and row.lower is not None and row.upper is not None:
                reach = [[value - row.lower], [row.upper - value]]
            ax.errorbar([value], [y], xerr=reach, fmt="o", color="C0", capsize=3)
            if row.corrected is not None:
                ends = (row.corrected_lower or 0.0, row.corrected_upper or 0.0)
                beside = [[row.corrected - ends[0]], [ends[1] - row.corrected]]
                ax.errorbar(
                    [row.corrected], [y + 0.25], xerr=beside, fmt="s", color="C1", capsize=3
                )
        # A name of somebody else's may hold what would be read as a formula.
        names = [printable(row.model).replace("$", r"\$") for row in rows]
        ax.set_yticks(range(len(rows)), names)
        ax.invert_yaxis()
        ax.set_xlabel(f"Rating, {self.settings.level:.0%} interval")
        return ax

    def cost(self, **usage: float) -> ModelCosts:
        """Compute what each model costs a month, and which one to take.

        Args:
            usage: keys of ``[usage]`` in an arena.toml, such as ``documents=1e6`` and
                ``queries_per_month=2e5``; they replace those of the experiment.

        Raises:
            ConfigError: a key is unknown, or a value out of range.
            UsageError: the load is unknown: neither given nor in the experiment.
        """
        known = {} if self.usage is None else self.usage.model_dump()
        settings = known | usage
        unknown = settings.keys() - UsageConfig.model_fields.keys()
        required = () if unknown else ("documents", "queries_per_month")  # the former explains more
        if missing := [key for key in required if key not in settings]:
            remedy = "give cost(documents=1e6, queries_per_month=2e5)"
            raise UsageError(f"{' and '.join(missing)} unknown; {remedy}")
        owned = ownership(self, checked_keywords(UsageConfig, settings, "cost"))
        return ModelCosts(owned.usage, owned.costs, owned.recommendation)

    def _rows(self, dataset: str | None) -> tuple[LeaderboardRow, ...]:
        if dataset is None:
            return self.overall
        if dataset not in self.datasets:
            known = ", ".join(self.datasets)
            raise UsageError(f"dataset is {dataset!r}; the leaderboard has {known}")
        return self.datasets[dataset]

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        counted = f"{self.battles:,} battles on {self.queries:,} queries"
        if self.failures:
            counted += f", {self.failures:,} without a verdict"
        return _html(frame[[c for c in _SHOWN if c in frame]], counted, self.notes)

    def __repr__(self) -> str:
        names = ", ".join(printable(row.model) for row in self.overall)
        return f"Leaderboard({names}; {self.battles:,} battles)"


class ModelCosts(Ownership):
    """What each model costs to own, as a notebook shows it.

    Attributes:
        usage: documents, queries a month and prices that the costs are for.
        costs: model → cost in US dollars a month, in the order of the leaderboard.
        recommendation: which model to take (``take``), and why (``sentences``).
    """

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a model in the order of the leaderboard, with NaN for unknown dollars.

        ``per_month`` is the sum of ``indexing``, ``queries``, ``storage`` and ``fixed``; ``once``
        is the first index; ``needs`` names what to set to make an unknown cost known.
        """
        import pandas as pd  # noqa: PLC0415

        frame = pd.DataFrame([asdict(cost) for cost in self.costs.values()])
        amounts = ["per_month", "indexing", "queries", "storage", "fixed", "once"]
        frame[amounts] = frame[amounts].astype(float)
        return frame[["model", *amounts, "needs"]]

    def __repr__(self) -> str:
        return f"ModelCosts({printable(self.recommendation.sentences[0])})"

    def _repr_html_(self) -> str:
        lead, *notes = self.recommendation.sentences
        return _html(self.to_frame().drop(columns="needs"), lead, notes)


class Audit(PlainAudit):
    """The reliability card of a judge, as a notebook shows it.

    Attributes:
        trust: the conclusion: ``level`` (reliable, use with caution, unreliable) and ``reason``.
        judges: their names; "" where the log names none.
        battles: how many were audited.
        queries: how many queries they are about.
        datasets: their names.
        figures: the metrics of the card, with 95% intervals; ``figure(key)`` returns one.
        notes: what a reader should know, one sentence each.
    """

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a figure: its value, its 95% interval and what it means."""
        return _figures_frame(self.figures)

    def __repr__(self) -> str:
        return (
            f"Audit({self.trust.level}: {self.battles:,} battles; {printable(self.trust.reason)})"
        )

    def _repr_html_(self) -> str:
        head = f"{self.trust.level.upper()}: {self.trust.reason}"
        columns = ["title", "value", "lower", "upper", "meaning"]
        return _html(self.to_frame()[columns], head, self.notes)


class Between(PlainBetween):
    """Two judges of the same battles, as a notebook shows them.

    Attributes:
        judges: both names.
        conclusion: whether the second judge says the same of the models.
        reason: one sentence.
        battles: how many both judged, without identical lists.
        queries: how many queries they are about.
        figures: the metrics of the card, with 95% intervals; ``figure(key)`` returns one.
        models: how far each moved, those that differ most first.
        table: battles by the first judge's verdict (rows: first, second, tie) and the second's.
        notes: what a reader should know, one sentence each.
    """

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a figure: its value, its 95% interval and what it means."""
        return _figures_frame(self.figures)

    def __repr__(self) -> str:
        return f"Between({self.conclusion}: {self.battles:,} battles; {printable(self.reason)})"

    def _repr_html_(self) -> str:
        head = f"{self.conclusion.upper()}: {self.reason}"
        columns = ["title", "value", "lower", "upper", "meaning"]
        return _html(self.to_frame()[columns], head, self.notes)


def _figures_frame(figures: Sequence[AuditMetric]) -> pd.DataFrame:
    """Return one row a figure; NaN if it is not known."""
    import pandas as pd  # noqa: PLC0415

    rows = []
    for figure in figures:
        estimate = figure.estimate
        rows.append(
            {
                "key": figure.key,
                "title": figure.title,
                "value": None if estimate is None else estimate.value,
                "lower": None if estimate is None else estimate.lower,
                "upper": None if estimate is None else estimate.upper,
                "unit": figure.unit,
                "n": 0 if estimate is None else estimate.n,
                "queries": 0 if estimate is None else estimate.n_queries,
                "meaning": figure.meaning,
            }
        )
    frame = pd.DataFrame(rows)
    numbers = ["value", "lower", "upper"]
    frame[numbers] = frame[numbers].astype(float)
    return frame


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a flat dict: ``{"latency_ms": {"p50": 3}}`` → ``{"latency_ms_p50": 3}``."""
    row: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            row |= _flat(value, f"{prefix}{key}_")
        else:
            row[prefix + key] = value
    return row


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _html(frame: pd.DataFrame, head: str, notes: Sequence[str]) -> str:
    """Return a table as HTML, below a line and above notes; every foreign word is escaped."""
    table = frame.map(lambda value: printable(value) if isinstance(value, str) else value)
    body = table.to_html(index=False, escape=True, na_rep="", float_format=_number)
    listed = "".join(f"<li>{escape(printable(note))}</li>" for note in notes)
    return f"<p>{escape(printable(head))}</p>{body}" + (f"<ul>{listed}</ul>" if listed else "")
