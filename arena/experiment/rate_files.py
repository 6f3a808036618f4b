"""From battles on disk, or in a frame, to a leaderboard with all that is known of its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena.data.metrics import Metrics, latency_summary, read_metrics
from arena.data.trec import read_stats
from arena.errors import DataError, UsageError
from arena.experiment.people import peoples_labels
from arena.rating.battles import from_frame, load_aliases, load_battles
from arena.rating.leaderboard import build_leaderboard
from arena.rating.leaderboard_files import read_leaderboard, write_csv, write_json
from arena.rating.leaderboard_records import (
    Facts,
    Leaderboard,
    Measured,
    ModelFacts,
    RatingSettings,
    figures_of,
)
from arena.rating.peoples_labels import Correct
from arena.records import RetrievalStats
from arena.store.folder import Folder
from arena.store.manifest import read_manifest

if TYPE_CHECKING:
    import pandas as pd


def rate(
    battles: pd.DataFrame,
    *,
    aliases: Mapping[str, str] | None = None,
    settings: RatingSettings | None = None,
) -> Leaderboard:
    """Rate any DataFrame with the columns model_a, model_b and winner.

    Optional columns: dataset, query_id (intervals are clustered by it), judge.

    Args:
        battles: one row a battle; ``winner`` is model_a, model_b or tie.
        aliases: other spelling → model.
        settings: how to rate; by Bradley-Terry with clustered 95% intervals if absent.

    Raises:
        DataError: a column is missing, or an outcome is unknown; names the row.
    """
    return build_leaderboard(from_frame(battles, aliases=aliases), settings=settings)


def rate_files(
    paths: Sequence[Path],
    *,
    aliases: Path | None = None,
    settings: RatingSettings | None = None,
    correct: Correct = "auto",
) -> Leaderboard:
    """Rate experiments, battle logs, or CSV, JSONL and Parquet files of battles, together.

    Args:
        paths: experiment folders or files.
        aliases: a file of other spellings of models.
        settings: as for `rate`.
        correct: how people's labels beside the battles correct the ratings.

    Raises:
        DataError: a file cannot be read as battles; names file and line.
        UsageError: the labels do not allow for the correction that is asked for.
    """
    names = load_aliases(aliases) if aliases else {}
    battles = load_battles(paths, aliases=names)
    folders = [path for path in paths if Folder(path).is_experiment]
    judge = settings.judge if settings else None
    people = None if correct == "none" else peoples_labels(folders, aliases=names, judge=judge)
    if people is None and correct not in ("auto", "none"):
        where = ", ".join(map(str, paths))
        raise UsageError(f"--correct {correct}: no labels.jsonl in {where}; `arena label` makes it")
    return build_leaderboard(
        battles, facts=experiment_facts(folders), settings=settings, people=people, correct=correct
    )


def write_leaderboard(leaderboard: Leaderboard, folder: Path) -> None:
    """Write leaderboard.json and leaderboard.csv."""
    files = Folder(folder)
    write_json(leaderboard, files.leaderboard)
    write_csv(leaderboard, files.leaderboard_csv)


def last_leaderboard(folder: Path) -> Leaderboard | None:
    """Return the leaderboard that the last run left; None where there is none that can be read."""
    try:
        return read_leaderboard(Folder(folder).leaderboard)
    except DataError:
        return None


def experiment_facts(folders: Sequence[Path]) -> Facts:
    """Return facts of the models: settings, prices, latency, metrics, dimensions."""
    if not folders:
        return Facts()  # and the settings of an experiment are not imported
    models: dict[str, ModelFacts] = {}
    measured: dict[tuple[str, str], Measured] = {}
    from arena.config import known_price  # noqa: PLC0415

    llm_judges = False
    for folder in folders:
        manifest = read_manifest(folder)
        sections = manifest["config"]["models"]
        llm_judges |= any(judge.get("is_llm") for judge in manifest.get("judges", ()))
        for model, dataset, stats, metrics in _retrievals(folder):
            name = model["name"]
            price = known_price(name, sections)
            models[name] = _facts(model, stats, price, models.get(name))
            measured[dataset, name] = _measured(stats, metrics)
    return Facts(models, measured, llm_judges)


def _measured(stats: RetrievalStats, metrics: Metrics | None) -> Measured:
    figures = figures_of(stats) if stats.n_documents else None  # a run that is not there yet
    return Measured(metrics, latency_summary(stats.latency_ms), figures)


def _retrievals(
    folder: Path,
) -> Iterator[tuple[dict[str, Any], str, RetrievalStats, Metrics | None]]:
    """Yield each model's settings with its stats and metrics on each dataset."""
    files = Folder(folder)
    config = read_manifest(folder)["config"]
    for dataset in config["datasets"]:
        metrics = read_metrics(files.metrics(dataset["name"]))
        for model in config["models"]:
            path = files.run_stats(dataset["name"], model["name"])
            stats = read_stats(path) if path.exists() else RetrievalStats()
            yield model, dataset["name"], stats, metrics.get(model["name"])


def _facts(
    model: Mapping[str, Any], stats: RetrievalStats, price: float | None, known: ModelFacts | None
) -> ModelFacts:
    release = model.get("release_date")
    return ModelFacts(
        dimension=stats.dimension or (known.dimension if known else None),
        price_per_1m_tokens=price,
        license=model.get("license"),
        provider=model.get("provider"),
        release_date=None if release is None else str(release),
    )
