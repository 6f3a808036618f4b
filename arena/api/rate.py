"""Rate battles in a notebook, and measure how reliable their judges are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from arena.api.arguments import path_of, wrong_type
from arena.api.frames import Tables, battles_in, frame_in
from arena.api.results import Audit, Between, Leaderboard
from arena.auditing.audit import audit as audit_card
from arena.auditing.between import Between as PlainBetween
from arena.auditing.between import between as between_judges
from arena.auditing.records import Audit as PlainAudit
from arena.battles.load import Battles, from_frame, load_aliases, load_battles
from arena.config.unknown_keys import remedy
from arena.errors import UsageError
from arena.rating.elo import EloSettings
from arena.rating.leaderboard import build_leaderboard
from arena.rating.leaderboard_records import Leaderboard as PlainLeaderboard
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.people.label_estimates import Correct, PeoplesLabels
from arena.rating.people.peoples_labels import frame_labels, peoples_labels, with_datasets
from arena.rating.rate_files import experiment_facts, usage_of
from arena.store.folder import Folder

if TYPE_CHECKING:
    import pandas as pd

Aliases = Mapping[str, str] | str | Path
"""Other spelling → model, or a TOML file of such lines."""


def rate(
    battles: Tables,
    *,
    aliases: Aliases | None = None,
    settings: RatingSettings | Mapping[str, Any] | None = None,
    labels: Tables | None = None,
    correct: Correct = "auto",
) -> Leaderboard:
    """Rate battles: return a leaderboard with intervals that are clustered by query.

    Bradley-Terry (1952) by maximum likelihood, on the Elo scale around 1500; docs/method.md has
    the formulas and their sources.

    Args:
        battles: what `compare` returned, or any table with the columns model_a, model_b and
            winner (model_a, model_b or tie): a DataFrame of pandas or polars, a table of
            `datasets`, a list of dicts, or a list of such tables; an experiment's folder, a JSON,
            JSONL, CSV or Parquet file of battles, or a list of paths. Metrics and latency are
            known for folders alone.
        aliases: other spelling → model, or a TOML file of such lines.
        settings: how to rate, as `RatingSettings` or a dict of its fields; by Bradley-Terry with
            95% intervals if absent.
        labels: people's labels that correct the ratings: an experiment's folder, or a table
            with the columns query_id, model_a, model_b, winner, probability (of being asked) and,
            if they are known, dataset and who; those in the folders of ``battles`` if absent.
        correct: which labels, and how: "auto", "battles", "documents", "shrink" or "none".

    Returns:
        The leaderboard; ``to_frame()`` has one row a model.

    Raises:
        DataError: a column is missing, or an outcome is unknown; names the row.
        UsageError: there is nothing to rate, or an argument is wrong.
    """
    settings = _settings(settings)
    if correct not in get_args(Correct):
        raise UsageError(f"correct is {correct!r}; expected {', '.join(get_args(Correct))}")
    names = _aliases(aliases)
    source = battles_in(battles)
    facts, folders = None, []
    if isinstance(source, list):
        folders = [path for path in source if Folder(path).is_experiment]
        table = load_battles(source, aliases=names)
        facts = replace(experiment_facts(folders), usage=usage_of(folders, None))
    else:
        table = _rows_of_frame(source, names)
    people = _people(folders, labels, names, settings, table)
    return _leaderboard(
        build_leaderboard(table, facts=facts, settings=settings, people=people, correct=correct)
    )


def _rows_of_frame(frame: pd.DataFrame, aliases: Mapping[str, str]) -> Battles:
    """Return the battles of a frame, with the failures that `compare` counted."""
    table = from_frame(frame, aliases=aliases)
    counts = frame.attrs.get("arena", {})
    if counts.get("battles") != len(frame):
        return table  # rows were taken out, so the count no longer belongs to the frame
    return replace(table, failures=int(counts["failures"]))


def _settings(settings: object) -> RatingSettings | None:
    """Return how to rate.

    Raises:
        UsageError: a field is unknown.
    """
    if settings is None or isinstance(settings, RatingSettings):
        return settings
    if not isinstance(settings, Mapping):
        raise wrong_type(settings, "settings", "an arena.RatingSettings or a dict of its fields")
    known = [field.name for field in fields(RatingSettings)]
    if unknown := [str(key) for key in settings if key not in known]:
        raise UsageError(f"settings: {unknown[0]}: unknown key; {remedy(unknown[0], known, {})}")
    values = dict(settings)
    if isinstance(elo := values.get("elo"), Mapping):
        values["elo"] = EloSettings(**elo)
    return RatingSettings(**values)


def _aliases(aliases: object) -> Mapping[str, str]:
    """Return other spelling → model.

    Raises:
        DataError: the file of aliases cannot be read.
        UsageError: it is no dict of names.
    """
    if aliases is None:
        return {}
    if isinstance(aliases, str | Path):
        return load_aliases(path_of(aliases, "aliases"))
    expected = "a dict of other spelling → model, or a path"
    if not isinstance(aliases, Mapping):
        raise wrong_type(aliases, "aliases", expected)
    for name in (*aliases, *aliases.values()):
        if not isinstance(name, str):
            raise wrong_type(name, "aliases: a name", "a string")
    return aliases


def _people(
    folders: Sequence[Path],
    labels: object,
    aliases: Mapping[str, str],
    settings: RatingSettings | None,
    battles: Battles,
) -> PeoplesLabels | None:
    """Return the labels that were given, or those in the folders.

    Raises:
        UsageError: there are none where they were said to be.
    """
    judge = settings.judge if settings else None
    if labels is None:
        return peoples_labels(folders, aliases=aliases, judge=judge)
    if not isinstance(labels, str | Path):
        expected = "a DataFrame, a list of dicts, or an experiment's folder"
        frame = with_datasets(frame_in(labels, "labels", expected), battles)
        return frame_labels(frame, aliases=aliases)
    folder = path_of(labels, "labels")
    if folder.is_file():
        raise UsageError(f"labels: {folder} is a file; give a DataFrame, or an experiment's folder")
    people = peoples_labels([folder], aliases=aliases, judge=judge)
    if people is None:
        raise UsageError(f"labels: {folder} holds none; `arena label` collects them")
    return people


def rate_files(
    paths: Tables,
    *,
    aliases: Aliases | None = None,
    settings: RatingSettings | Mapping[str, Any] | None = None,
) -> Leaderboard:
    """Rate several experiments or files together: return `rate` of a list of paths.

    Args:
        paths: of experiments' folders and of files of battles.
        aliases: as of `rate`.
        settings: as of `rate`.

    Raises:
        DataError, UsageError: as `rate`.
    """
    return rate(paths, aliases=aliases, settings=settings)


def audit(
    battles: Tables,
    *,
    labels: Tables | None = None,
    aliases: Aliases | None = None,
) -> Audit:
    """Measure how reliable the judge of some battles is.

    Args:
        battles: what `rate` takes, but one path at most.
        labels: people's verdicts: a table as of `rate`, or a file with the columns query_id,
            model_a, model_b and winner; those in the experiment's folder if absent.
        aliases: as of `rate`.

    Returns:
        The card: a conclusion, and metrics with 95% intervals.

    Raises:
        DataError: a file cannot be read as what it should be; names file and line.
        UsageError: no battle was judged, no label is about a battle, or an argument is wrong.
    """
    names, log = _aliases(aliases), _one_log(battles, "battles")
    if labels is not None:
        labels = _one_log(labels, "labels")
    card = audit_card(log, labels=labels, aliases=names)
    return Audit(**{field.name: getattr(card, field.name) for field in fields(PlainAudit)})


def between(
    first: Tables,
    second: Tables,
    *,
    aliases: Aliases | None = None,
) -> Between:
    """Compare two judges on the battles that both judged: may the second replace the first?

    Args:
        first: what `audit` takes.
        second: the same battles by another judge, such as `arena battle --judge-with` leaves them.
        aliases: as of `rate`.

    Returns:
        The conclusion, and metrics with 95% intervals.

    Raises:
        DataError: a file cannot be read as what it should be; names file and line.
        UsageError: no battle was judged by both, a log names no queries, or an argument is wrong.
    """
    names = _aliases(aliases)
    card = between_judges(_one_log(first, "first"), _one_log(second, "second"), aliases=names)
    return Between(**{field.name: getattr(card, field.name) for field in fields(PlainBetween)})


def _one_log(battles: object, argument: str) -> pd.DataFrame | Path:
    """Return battles or labels as a data frame, or one path.

    Raises:
        UsageError: it is neither, or several paths.
    """
    source = battles_in(battles, argument)
    if not isinstance(source, list):
        return source
    if len(source) > 1:
        raise UsageError(f"{argument}: {len(source)} paths; expected a DataFrame or one path")
    return source[0]


def _leaderboard(board: PlainLeaderboard) -> Leaderboard:
    return Leaderboard(**{f.name: getattr(board, f.name) for f in fields(PlainLeaderboard)})
