"""The one leaderboard that the terminal, the files and the report all show."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.battles.coded_columns import TIE
from arena.battles.load import Battles
from arena.battles.row_blocks import count_codes
from arena.cost.recommend import Gap
from arena.data.metrics import Metrics
from arena.errors import UsageError
from arena.rating.bradley_terry import ELO_PER_LOGIT
from arena.rating.elo import count_wins, elo_order_samples, elo_ratings, records_of
from arena.rating.inference import queries_to_separate, query_shares
from arena.rating.leaderboard_notes import (
    click_notes,
    coverage_notes,
    evidence_notes,
    opinion_notes,
    soft_note,
    thin_notes,
)
from arena.rating.leaderboard_records import (
    Correction,
    Facts,
    Leaderboard,
    LeaderboardRow,
    Measured,
    ModelFacts,
    MoreQueries,
    Pair,
    PositionAdvantage,
    RatingSettings,
    aggregate,
)
from arena.rating.metric_differences import MetricDifference, from_the_best
from arena.rating.panel_votes import combine, known_probs, only_judge
from arena.rating.people.label_estimates import Correct, PeoplesLabels
from arena.rating.rate_rows import Rated, position_advantage, rate_rows


def build_leaderboard(
    battles: Battles,
    *,
    facts: Facts | None = None,
    settings: RatingSettings | None = None,
    people: PeoplesLabels | None = None,
    correct: Correct = "auto",
) -> Leaderboard:
    """Rate battles, per data set and overall.

    Overall, Elo, metrics and latency are unweighted means over the data sets that have them. Wins,
    losses and ties are sums. The rating is one fit in which all data sets weigh the same. Where no
    finite rating exists the rows have none, are ranked by Elo, and a note says why.

    Raises:
        UsageError: settings out of range, no battles, an unknown judge, or impossible
            probabilities.
    """
    facts, settings = facts or Facts(), settings or RatingSettings()
    settings.check()
    verdicts = battles if settings.judge is None else only_judge(battles, settings.judge)
    battles = as_rated(verdicts, settings)
    if not len(battles):
        raise UsageError("no battles to rate; play some first")
    rated, samples = _rate_datasets(battles, facts, settings)
    judged = _overall(rated, samples, battles, settings)
    overall, correction = _corrected(judged, battles, people, settings, correct)
    tables = {name: table.rows for name, table in rated.items()}
    if len(tables) == 1:
        tables = dict.fromkeys(tables, overall.rows)
    return Leaderboard(
        overall=overall.rows,
        datasets=tables,
        position_advantage=position_advantage(judged.fit, settings),
        battles=len(battles),
        ties=int(np.count_nonzero(battles.winner == TIE)),
        failures=battles.failures,
        queries=battles.n_queries,
        judges=verdicts.present_judges,
        settings=settings,
        notes=(
            *battles.notes,
            *_rating_notes(rated, judged, overall, people),
            *evidence_notes(battles, settings),
            *thin_notes(overall.rows, battles),
            *coverage_notes(tables),
            *click_notes(facts, tables),
            *opinion_notes(facts, people=correction is not None),
        ),
        pairs=all_pairs(battles, overall),
        more_queries=more_queries(
            overall,
            battles_per_query=len(battles) / battles.n_queries,
            usd_per_battle=_price(verdicts, len(battles)),
        ),
        position_by_dataset=_position_advantages(rated, settings),
        correction=correction,
        rates=facts.rates,
        usage=facts.usage,
        gaps=rating_gaps(overall) if facts.rates else (),
        metric_differences=_metric_differences(facts, tables, overall, settings),
    )


def _metric_differences(
    facts: Facts, tables: Collection[str], overall: Rated, settings: RatingSettings
) -> tuple[MetricDifference, ...]:
    """Return by how much the best model differs from each other one, on data sets with battles."""
    values = {key: measured.values for key, measured in facts.measured.items() if key[0] in tables}
    return from_the_best(values, [row.model for row in overall.rows], level=settings.level)


def _rating_notes(
    rated: Mapping[str, Rated], judged: Rated, overall: Rated, people: PeoplesLabels | None
) -> Iterator[str]:
    """Yield the notes on the fits: of each data set, of the correction, of the overall table."""
    for name, table in rated.items():
        yield from (f"{name}: {why}" for why in table.notes)
    if people is not None:
        yield from people.notes
        # The corrected table begins with the notes of the judge's, which are given below.
        yield from overall.notes[len(judged.notes) :]
    if len(rated) > 1:
        yield from (f"overall: {why}" for why in judged.notes)


def _corrected(
    judged: Rated,
    battles: Battles,
    people: PeoplesLabels | None,
    settings: RatingSettings,
    how: Correct,
) -> tuple[Rated, Correction | None]:
    """Return the overall table with the ratings that people's labels correct, if there are any."""
    if people is None:
        return judged, None
    from arena.rating.people.correction import correct_ratings  # noqa: PLC0415 - few have labels

    n_datasets = int(np.count_nonzero(np.bincount(battles.dataset)))
    weight = dataset_weights(battles) if n_datasets > 1 else None
    return correct_ratings(judged, battles, people, settings, how=how, weight=weight)


def _position_advantages(
    rated: Mapping[str, Rated], settings: RatingSettings
) -> dict[str, PositionAdvantage]:
    """Return data set → the advantage of being shown first, where it is fitted."""
    fitted = {name: position_advantage(table.fit, settings) for name, table in rated.items()}
    return {name: advantage for name, advantage in fitted.items() if advantage is not None}


def as_rated(verdicts: Battles, settings: RatingSettings) -> Battles:
    """Return the verdicts as the settings count them: with probabilities or not, or combined."""
    if settings.soft == "never" or settings.method != "bt":
        verdicts = replace(verdicts, probs=None)
    battles = combine(verdicts, settings.judges)
    if known_probs(verdicts).any() and known_probs(battles).any():
        return replace(battles, notes=(*battles.notes, soft_note(battles)))
    return battles


def _rate_datasets(
    battles: Battles, facts: Facts, settings: RatingSettings
) -> tuple[dict[str, Rated], NDArray[np.float64] | None]:
    """Return the table of each data set, and the Elo of its permutations as `_order_samples` does.

    The data sets of the samples are in the order of the tables.
    """
    codes = np.flatnonzero(count_codes(battles.dataset, len(battles.datasets))).tolist()
    samples = _order_samples(battles, codes, settings)
    rated = {}
    for place, code in enumerate(codes):
        part, name = battles.only(code), battles.datasets[code]
        orders = None if samples is None else samples[place]
        rows = _with_spread(_dataset_rows(part, name, facts, settings), battles.models, orders)
        rated[name] = rate_rows(rows, part, settings)
    return rated, samples


def _overall(
    rated: Mapping[str, Rated],
    samples: NDArray[np.float64] | None,
    battles: Battles,
    settings: RatingSettings,
) -> Rated:
    """Return one table of all data sets; a single one stays as it is."""
    if len(rated) == 1:
        return next(iter(rated.values()))
    rows = _aggregated({name: table.rows for name, table in rated.items()}, battles)
    rows = _with_spread(rows, battles.models, _mean_orders(samples))
    return rate_rows(rows, battles, settings, weight=dataset_weights(battles))


def _aggregated(
    tables: Mapping[str, Sequence[LeaderboardRow]], battles: Battles
) -> list[LeaderboardRow]:
    """Return one row a model over all tables, still without ratings."""
    by_model: dict[str, list[LeaderboardRow]] = defaultdict(list)
    for rows in tables.values():
        for row in rows:
            by_model[row.model].append(row)
    return [aggregate(by_model[model]) for model in battles.models if model in by_model]


def _price(verdicts: Battles, n_battles: int) -> float | None:
    """Return what a battle cost on average, US dollars: all verdicts of a panel are paid."""
    if verdicts.cost_usd is None or np.isnan(verdicts.cost_usd).all():
        return None
    return float(np.nanmean(verdicts.cost_usd)) * len(verdicts) / n_battles


def _dataset_rows(
    battles: Battles, dataset: str, facts: Facts, settings: RatingSettings
) -> list[LeaderboardRow]:
    """Return a row with Elo, record and measurements for each model that played on a data set."""
    elo = elo_ratings(battles, settings.elo)
    rows = []
    for code, record in enumerate(records_of(battles)):
        if not record.battles:
            continue
        model = battles.models[code]
        measured = facts.measured.get((dataset, model), Measured())
        rows.append(
            LeaderboardRow(
                model=model,
                elo=float(elo[code]),
                record=record,
                metrics=_metric_values(measured.metrics),
                named_metrics={
                    name: math.fsum(values.values()) / len(values)
                    for name, values in measured.values.items()
                    if values
                },
                latency=measured.latency,
                retrieval=measured.retrieval,
                facts=facts.models.get(model, ModelFacts()),
            )
        )
    return rows


def _metric_values(metrics: Metrics | None) -> dict[str, float]:
    if metrics is None:
        return {}
    return {
        "ndcg@5": metrics.ndcg_at_5,
        "ndcg@10": metrics.ndcg_at_10,
        "recall@5": metrics.recall_at_5,
        "recall@10": metrics.recall_at_10,
        "judged@10": metrics.judged_at_10,
    }


def _order_samples(
    battles: Battles, datasets: Sequence[int], settings: RatingSettings
) -> NDArray[np.float64] | None:
    """Return the Elo of every permutation, (n_datasets, n_permutations, n_models); None below 2."""
    if settings.n_permutations < 2:
        return None
    return elo_order_samples(
        map(battles.only, datasets),
        settings.elo,
        n_permutations=settings.n_permutations,
        seeds=[(settings.seed, code) for code in datasets],
    )


def _mean_orders(samples: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Return the overall Elo of each permutation, (n_permutations, n_models)."""
    if samples is None:
        return None
    played = ~np.isnan(samples)
    counts = np.maximum(played.sum(axis=0), 1)
    mean: NDArray[np.float64] = np.where(played, samples, 0).sum(axis=0) / counts
    return mean


def _with_spread(
    rows: Sequence[LeaderboardRow], models: Sequence[str], samples: NDArray[np.float64] | None
) -> list[LeaderboardRow]:
    if samples is None:
        return list(rows)
    place = {model: code for code, model in enumerate(models)}
    return [
        replace(row, elo_order_sd=float(samples[:, place[row.model]].std(ddof=1))) for row in rows
    ]


def dataset_weights(battles: Battles) -> NDArray[np.float64]:
    """Return a weight per battle: every data set weighs the same, and the mean weight is 1."""
    counts = count_codes(battles.dataset, len(battles.datasets))
    n_datasets = np.count_nonzero(counts)
    of_dataset = len(battles) / (n_datasets * np.maximum(counts, 1).astype(np.float64))
    return of_dataset[battles.dataset]


def all_pairs(battles: Battles, rated: Rated) -> tuple[Pair, ...]:
    """Return each pair of models once, in the order of the table."""
    wins, ties = count_wins(battles)
    places = [battles.models.index(row.model) for row in rated.rows]
    codes = [rated.models.index(row.model) for row in rated.rows]
    wins, ties = (matrix[np.ix_(places, places)].tolist() for matrix in (wins, ties))
    sure = rated.certainty
    p_better = None if sure is None else sure.p_better[np.ix_(codes, codes)].tolist()
    better = None if sure is None else (sure.better | sure.better.T)[np.ix_(codes, codes)].tolist()
    return tuple(
        Pair(
            a=rated.rows[i].model,
            b=rated.rows[j].model,
            wins=wins[i][j],
            losses=wins[j][i],
            ties=ties[i][j],
            p_better=None if p_better is None else p_better[i][j],
            separated=better is not None and better[i][j],
        )
        for i, j in combinations(range(len(rated.rows)), 2)
    )


def rating_gaps(rated: Rated) -> tuple[Gap, ...]:
    """Return the difference of each pair's ratings with its interval; none without intervals.

    The intervals hold for all pairs at once, like the ranks.
    """
    fit, sure = rated.fit, rated.certainty
    if fit is None or sure is None:
        return ()
    elo = (ELO_PER_LOGIT * (fit.theta[:, None] - fit.theta[None, :])).tolist()
    reach = (ELO_PER_LOGIT * sure.reach).tolist()
    codes = [rated.models.index(row.model) for row in rated.rows]
    return tuple(
        Gap(
            rated.models[i], rated.models[j], gap := elo[i][j], gap - reach[i][j], gap + reach[i][j]
        )
        for i, j in combinations(codes, 2)
    )


_MOST_QUERIES: Final = 1e12
"""Ratings that it would take more to separate are equal but for rounding."""


def more_queries(
    rated: Rated,
    *,
    battles_per_query: float,
    usd_per_battle: float | None,
) -> tuple[MoreQueries, ...]:
    """Return what would separate the neighbours by rating that do not, best first.

    Models of equal rating are left out: no number of queries separates them.
    """
    fit, sure = rated.fit, rated.certainty
    if fit is None or sure is None:
        return ()
    order = np.argsort(-fit.theta, kind="stable").tolist()
    open_pairs = [(i, j) for i, j in pairwise(order) if not sure.better[i, j]]
    if not open_pairs:
        return ()
    needed = queries_to_separate(fit, open_pairs, tail=sure.tail)
    plans, shares = [], query_shares(fit)
    for pair, queries in zip(open_pairs, needed.tolist(), strict=True):
        if not queries <= _MOST_QUERIES:  # nor where no variance shows and it is not a number
            continue
        more = max(math.ceil(queries) - fit.n_clusters, 1)
        battles = math.ceil(more * battles_per_query)
        plans.append(
            MoreQueries(
                a=rated.models[pair[0]],
                b=rated.models[pair[1]],
                queries=more,
                battles=battles,
                cost_usd=None if usd_per_battle is None else battles * usd_per_battle,
                query_share=float(shares[pair]),
            )
        )
    return tuple(plans)
