"""From battles on disk, or in a frame, to a leaderboard with all that is known of its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arena.battles.load import Battles, from_frame, load_aliases, load_battles
from arena.cost.formula import Rates
from arena.data.metrics import Metrics, latency_summary, read_metrics
from arena.data.run_file import read_stats
from arena.errors import DataError, UsageError
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
from arena.rating.metric_differences import Values
from arena.rating.people.label_estimates import Correct
from arena.rating.people.peoples_labels import peoples_labels
from arena.records import RetrievalStats
from arena.store.folder import Folder
from arena.store.manifest import clicked_datasets, read_manifest
from arena.store.named_metrics import read_named_metrics

if TYPE_CHECKING:
    import pandas as pd

    from arena.config.usage import UsageConfig
    from arena.cost.model_rates import Measurement


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


def rate_files(  # noqa: PLR0913, options of one command, each named
    paths: Sequence[Path],
    *,
    aliases: Path | None = None,
    settings: RatingSettings | None = None,
    correct: Correct = "auto",
    usage: Mapping[str, float] | None = None,
    battles: Battles | None = None,
) -> Leaderboard:
    """Rate experiments, battle logs, or CSV, JSONL and Parquet files of battles, together.

    Args:
        paths: experiment folders or files.
        aliases: a file of other spellings of models.
        settings: as for `rate`.
        correct: how people's labels beside the battles correct the ratings.
        usage: settings of ``[usage]`` that replace those of the experiments; None: theirs alone,
            if they have any.
        battles: those of the paths, if they are read already.

    Raises:
        DataError: a file cannot be read as battles; names file and line.
        UsageError: the labels do not allow for the correction that is asked for, or the load is
            unknown though a ``usage`` is given.
    """
    names = load_aliases(aliases) if aliases else {}
    battles = battles or load_battles(paths, aliases=names)
    folders = [path for path in paths if Folder(path).is_experiment]
    judge = settings.judge if settings else None
    people = None if correct == "none" else peoples_labels(folders, aliases=names, judge=judge)
    if people is None and correct not in ("auto", "none"):
        where = ", ".join(map(str, paths))
        raise UsageError(f"--correct {correct}: no labels.jsonl in {where}; `arena label` makes it")
    facts = replace(experiment_facts(folders), usage=usage_of(folders, usage))
    return build_leaderboard(
        battles, facts=facts, settings=settings, people=people, correct=correct
    )


def usage_of(folders: Sequence[Path], given: Mapping[str, float] | None) -> UsageConfig | None:
    """Return the load of experiments with what was given instead; None if none is known.

    Raises:
        ConfigError: a setting is out of range.
        UsageError: settings are given, but not enough, or the experiments have different loads.
    """
    manifests = [read_manifest(folder) for folder in folders]
    stated = [
        (m["config"]["usage"], f)
        for m, f in zip(manifests, folders, strict=True)
        if "usage" in m["config"]
    ]
    settings = dict(stated[0][0]) if stated else {}
    if any(other != settings for other, _ in stated):
        if given is None:
            return None
        if not given.keys() >= _LOAD:
            source = f"{stated[0][1]} and others"
            raise UsageError(f"{source}: different [usage]; give {_LOAD_OPTIONS}")
        settings = {}
    if given is None and not stated:
        return None
    settings |= given or {}
    if missing := sorted(_LOAD - settings.keys()):
        raise UsageError(
            f"{' and '.join(missing)} unknown; add [usage] to arena.toml and run "
            f"`arena battle` again, or give {_LOAD_OPTIONS}"
        )
    # Importing pydantic takes time.
    from arena.config.section import checked_section  # noqa: PLC0415
    from arena.config.usage import UsageConfig  # noqa: PLC0415
    from arena.cost.model_rates import passages_per_document  # noqa: PLC0415

    source = f"{Folder(stated[0][1]).manifest}: [usage]" if stated else "[usage]"
    cut = passages_per_document([d for m in manifests for d in m.get("datasets", {}).values()])
    cuts = {} if cut is None else {"passages_per_document": cut}
    return checked_section(UsageConfig, cuts | settings, source)


_LOAD: Final = {"documents", "queries_per_month"}
_LOAD_OPTIONS: Final = "--documents 1M --queries-per-month 200k"


def write_leaderboard(leaderboard: Leaderboard, folder: Path) -> None:
    """Write leaderboard.json and leaderboard.csv."""
    files = Folder(folder)
    write_json(leaderboard, files.leaderboard)
    write_csv(leaderboard, files.leaderboard_csv)


def last_leaderboard(folder: Path) -> Leaderboard | None:
    """Return the leaderboard that the last run left; None if there is none that can be read."""
    try:
        return read_leaderboard(Folder(folder).leaderboard)
    except DataError:
        return None


def experiment_facts(folders: Sequence[Path]) -> Facts:
    """Return facts of the models: settings, prices, latency, metrics, dimensions."""
    if not folders:
        return Facts()  # and the settings of an experiment are not imported
    models: dict[str, ModelFacts] = {}
    runs: dict[str, list[Measurement]] = {}
    rates: dict[str, Rates] = {}
    measured: dict[tuple[str, str], Measured] = {}
    from arena.config import known_price  # noqa: PLC0415
    from arena.cost.model_rates import model_rates  # noqa: PLC0415

    llm_judges = False
    from_clicks: set[str] = set()
    for folder in folders:
        manifest = read_manifest(folder)
        from_clicks |= clicked_datasets(manifest)
        sections = manifest["config"]["models"]
        llm_judges |= any(judge.get("is_llm") for judge in manifest.get("judges", ()))
        for model, dataset, stats, measured_by in _retrievals(folder):
            name = model["name"]
            price = known_price(name, sections)
            models[name] = _facts(model, stats, price, models.get(name))
            measured[dataset, name] = _measured(stats, *measured_by)
            made = _measurement(folder, manifest, (model, dataset), stats)
            runs.setdefault(name, []).append(made)
            rates[name] = model_rates(model, runs[name])
    return Facts(models, measured, llm_judges, rates=rates, from_clicks=frozenset(from_clicks))


def _measurement(
    folder: Path,
    manifest: Mapping[str, Any],
    run: tuple[Mapping[str, Any], str],
    stats: RetrievalStats,
) -> Measurement:
    from arena.cost.model_rates import Measurement  # noqa: PLC0415

    model, dataset = run
    base = model.get("base", model.get("over"))
    path = None if base is None else Folder(folder).run_stats(dataset, base)
    below = read_stats(path) if path is not None and path.exists() else RetrievalStats()
    n_corpus = manifest.get("datasets", {}).get(dataset, {}).get("documents")
    return Measurement(stats, None if base is None else below, n_corpus)


def _measured(stats: RetrievalStats, metrics: Metrics | None, values: Values) -> Measured:
    figures = figures_of(stats) if stats.n_documents else None  # a run that is not there yet
    return Measured(metrics, latency_summary(stats.latency_ms), figures, values)


def _retrievals(
    folder: Path,
) -> Iterator[tuple[dict[str, Any], str, RetrievalStats, tuple[Metrics | None, Values]]]:
    """Yield each model's settings with its stats and metrics on each dataset."""
    files = Folder(folder)
    config = read_manifest(folder)["config"]
    for dataset in config["datasets"]:
        metrics = read_metrics(files.metrics(dataset["name"]))
        named = read_named_metrics(files.named_metrics(dataset["name"]))
        for model in config["models"]:
            path = files.run_stats(dataset["name"], model["name"])
            stats = read_stats(path) if path.exists() else RetrievalStats()
            name = model["name"]
            yield model, dataset["name"], stats, (metrics.get(name), named.of(name))


def _facts(
    model: Mapping[str, Any], stats: RetrievalStats, price: float | None, facts: ModelFacts | None
) -> ModelFacts:
    release = model.get("release_date")
    return ModelFacts(
        dimension=stats.dimension or (facts.dimension if facts else None),
        price_per_1m_tokens=price,
        license=model.get("license"),
        provider=model.get("provider"),
        release_date=None if release is None else str(release),
    )
