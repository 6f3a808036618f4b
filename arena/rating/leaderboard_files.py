"""leaderboard.json and leaderboard.csv: the same figures as the table, for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import orjson

from arena.data.metrics import Latency
from arena.errors import ConfigError, DataError
from arena.files import write_atomically
from arena.rating.elo import EloSettings
from arena.rating.leaderboard_cost import cost_block, ownership, with_cost_block
from arena.rating.leaderboard_records import (
    Correction,
    Leaderboard,
    LeaderboardRow,
    ModelFacts,
    MoreQueries,
    Pair,
    PositionAdvantage,
    RatingSettings,
    RetrievalFigures,
)
from arena.rating.metric_differences import MetricDifference
from arena.records import Record
from arena.terminal import printable

OVERALL = "overall"
FORMULA = frozenset("=+-@＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula."""
"""What a spreadsheet takes for the beginning of a formula."""


_RATINGS = (
    *("elo", "elo_order_sd", "rating", "lower", "upper"),
    *("rank_lower", "rank_upper", "effective_queries"),
)
_CORRECTED = ("corrected", "corrected_lower", "corrected_upper")
METRICS = ("ndcg@5", "ndcg@10", "recall@5", "recall@10", "judged@10")
_RETRIEVAL = tuple(figure.name for figure in fields(RetrievalFigures))
_FACTS = tuple(fact.name for fact in fields(ModelFacts))
_PER_MONTH = "usd_per_month"


def to_json(leaderboard: Leaderboard) -> dict[str, Any]:
    """Return the leaderboard as ``arena rate --json`` prints it; None for an unknown figure."""
    advantage = leaderboard.position_advantage
    settings = asdict(leaderboard.settings)
    corrected = {} if leaderboard.correction is None else {"correction": leaderboard.correction}
    return {
        "overall": [row_to_json(row) for row in leaderboard.overall],
        "datasets": {
            name: [row_to_json(row) for row in rows] for name, rows in leaderboard.datasets.items()
        },
        "position_advantage": (
            {"elo": None, "lower": None, "upper": None} if advantage is None else asdict(advantage)
        ),
        "battles": leaderboard.battles,
        "ties": leaderboard.ties,
        "failures": leaderboard.failures,
        "queries": leaderboard.queries,
        "judges": list(leaderboard.judges),
        "settings": {**settings.pop("elo"), **settings},
        "notes": list(leaderboard.notes),
        "tied_with_first": list(leaderboard.tied_with_first),
        "pairs": [_flat(pair) for pair in leaderboard.pairs],
        "more_queries": [_flat(more) for more in leaderboard.more_queries],
        "position_by_dataset": {
            name: asdict(value) for name, value in leaderboard.position_by_dataset.items()
        },
        **{name: asdict(value) for name, value in corrected.items()},
        **cost_block(leaderboard),
        **_differences(leaderboard),
    }


def _differences(leaderboard: Leaderboard) -> dict[str, Any]:
    """Return the differences by metric; nothing if arena.toml names no metric."""
    found = [_flat(difference) for difference in leaderboard.metric_differences]
    return {"metric_differences": found} if found else {}


def _flat(record: Pair | MoreQueries | MetricDifference) -> dict[str, Any]:
    # asdict copies deeply, which for the pairs of 500 models takes seconds.
    return {name: getattr(record, name) for name in record.__slots__}


def row_to_json(row: LeaderboardRow) -> dict[str, Any]:
    """Return one row; metrics, latency and facts only where they are known."""
    tree: dict[str, Any] = {"rank": row.rank, "model": row.model}
    tree |= {name: getattr(row, name) for name in _RATINGS}
    if row.corrected is not None:
        tree |= {name: getattr(row, name) for name in _CORRECTED}
    tree |= asdict(row.record)
    tree |= {"battles": row.record.battles, "win_rate": row.record.win_rate}
    tree |= row.metrics
    if row.named_metrics:
        tree["metrics"] = dict(row.named_metrics)
    if row.latency is not None:
        tree["latency_ms"] = {
            "mean": row.latency.mean_ms,
            "p50": row.latency.p50_ms,
            "p90": row.latency.p90_ms,
            "p99": row.latency.p99_ms,
            "samples": row.latency.n_samples,
        }
    if row.retrieval is not None:
        tree["retrieval"] = asdict(row.retrieval)
    tree |= {name: value for name, value in asdict(row.facts).items() if value is not None}
    return tree


def from_json(tree: Mapping[str, Any]) -> Leaderboard:
    """Return the leaderboard that `to_json` gave; a KeyError or TypeError if it did not."""
    advantage = tree["position_advantage"]
    settings = dict(tree["settings"])
    elo = EloSettings(**{f.name: settings.pop(f.name) for f in fields(EloSettings)})
    leaderboard = Leaderboard(
        overall=tuple(map(_row, tree["overall"])),
        datasets={name: tuple(map(_row, rows)) for name, rows in tree["datasets"].items()},
        position_advantage=None if advantage["elo"] is None else PositionAdvantage(**advantage),
        battles=tree["battles"],
        ties=tree["ties"],
        failures=tree["failures"],
        queries=tree["queries"],
        judges=tuple(tree["judges"]),
        settings=RatingSettings(elo=elo, **settings),
        notes=tuple(tree["notes"]),
        pairs=tuple(Pair(**pair) for pair in tree["pairs"]),
        more_queries=tuple(MoreQueries(**more) for more in tree["more_queries"]),
        position_by_dataset={
            name: PositionAdvantage(**value) for name, value in tree["position_by_dataset"].items()
        },
        correction=Correction(**tree["correction"]) if "correction" in tree else None,
        metric_differences=tuple(
            MetricDifference(**difference) for difference in tree.get("metric_differences", ())
        ),
    )
    return with_cost_block(leaderboard, tree)


def _row(tree: Mapping[str, Any]) -> LeaderboardRow:
    latency = tree.get("latency_ms")
    return LeaderboardRow(
        rank=tree["rank"],
        model=tree["model"],
        record=Record(tree["wins"], tree["losses"], tree["ties"]),
        **{name: tree[name] for name in _RATINGS},
        **{name: tree[name] for name in _CORRECTED if name in tree},
        metrics={name: tree[name] for name in METRICS if name in tree},
        named_metrics=tree.get("metrics", {}),
        latency=None
        if latency is None
        else Latency(
            latency["mean"], latency["p50"], latency["p90"], latency["p99"], latency["samples"]
        ),
        retrieval=RetrievalFigures(**tree["retrieval"]) if "retrieval" in tree else None,
        facts=ModelFacts(**{name: tree[name] for name in _FACTS if name in tree}),
    )


def write_json(leaderboard: Leaderboard, path: Path) -> None:
    """Write leaderboard.json, whole or not at all."""
    text = orjson.dumps(to_json(leaderboard), option=orjson.OPT_INDENT_2)
    write_atomically(path, [text, b"\n"])


def read_leaderboard(path: Path) -> Leaderboard:
    """Read a leaderboard.json back.

    Raises:
        DataError: missing, or not a leaderboard of this version.
    """
    try:
        return from_json(orjson.loads(Path(path).read_bytes()))
    except OSError as error:
        raise DataError(path, None, error.strerror or str(error)) from None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ConfigError) as error:
        what = f"not a leaderboard ({type(error).__name__}: {error})"
        raise DataError(path, None, what, "`arena rate` writes it again") from None


def write_csv(leaderboard: Leaderboard, path: Path) -> None:
    """Write leaderboard.csv: a line per table and model, the overall table first."""
    tables: dict[str, Iterable[LeaderboardRow]] = {
        OVERALL: leaderboard.overall,
        **leaderboard.datasets,
    }
    latency = [f"latency_{name}_ms" for name in ("mean", "p50", "p90", "p99")]
    counts = ("wins", "losses", "ties", "battles", "win_rate")
    corrected = _CORRECTED if leaderboard.correction is not None else ()
    header = ["dataset", "rank", "model", *_RATINGS, *corrected, *counts, *METRICS]
    every = (row for rows in tables.values() for row in rows)
    header += dict.fromkeys(name for row in every for name in row.named_metrics)
    header += [*latency, "latency_samples"]
    header += [*(f"retrieval_{name}" for name in _RETRIEVAL), *_FACTS]
    usage = leaderboard.usage
    costs = {} if usage is None else ownership(leaderboard, usage).costs
    header += [_PER_MONTH] if costs else []
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    for name, rows in tables.items():
        for row in rows:
            tree = row_to_json(row)
            tree |= tree.pop("metrics", {})
            for key, value in tree.pop("latency_ms", {}).items():
                tree["latency_samples" if key == "samples" else f"latency_{key}_ms"] = value
            for key, value in tree.pop("retrieval", {}).items():
                tree[f"retrieval_{key}"] = value
            if row.model in costs:
                tree[_PER_MONTH] = costs[row.model].per_month
            row_cells = {"dataset": name, **tree}
            writer.writerow({key: csv_cell(value) for key, value in row_cells.items()})
    write_atomically(path, [text.getvalue().encode()])


def csv_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet computes and no terminal obeys: names are anybody's.

    What begins as a formula does gets an apostrophe before it, which spreadsheets take for "text".
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip()[:1] in FORMULA and text.strip() else text
