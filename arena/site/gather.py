"""Gather the input of a site: an experiment's folder, or a log from any tool."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from arena.auditing.audit import build_audit
from arena.auditing.audit_input import read_evidence
from arena.auditing.records import Audit
from arena.data.run_file import read_stats
from arena.errors import DataError, UsageError, WriteError
from arena.rating.leaderboard_records import Leaderboard
from arena.rating.rate_files import last_leaderboard, rate_files, write_leaderboard
from arena.records import RetrievalStats
from arena.site.data_files import Lists
from arena.site.log_columns import Log, count_failures
from arena.store.folder import Folder
from arena.store.manifest import read_manifest
from arena.store.per_query import read_lists
from arena.store.texts import ShownTexts, read_shown

Tree = Mapping[str, Any]
"""A JSON object as an experiment's manifest has it."""

Noted = TypeVar("Noted", Leaderboard, Audit)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What lies in an experiment's folder; None or empty if something does not."""

    path: Path  #: the folder, or the file of battles
    title: str
    manifest: Tree  #: empty for a bare log
    config_text: str  #: the arena.toml as it was written; not yet fit to be published
    log: Log | None  #: None if nothing was judged yet
    failures: int  #: matchups without a verdict
    leaderboard: Leaderboard | None
    audit: Audit | str  #: or why there is none
    datasets: Sequence[str]
    shown: Mapping[str, ShownTexts]  #: data set → texts
    lists: Lists
    stats: Mapping[tuple[str, str], RetrievalStats]  #: (data set, model) →

    @property
    def model_settings(self) -> Sequence[Tree]:
        """Return the sections ``[[models]]`` of the configuration."""
        models: Sequence[Tree] = self.manifest.get("config", {}).get("models", ())
        return models

    @property
    def judges(self) -> Sequence[Tree]:
        """Return the judges of the manifest."""
        judges: Sequence[Tree] = self.manifest.get("judges", ())
        return judges


def gather(path: Path, log: Log | None, leaderboard: Leaderboard | None = None) -> Gathered:
    """Read all that a site shows.

    Args:
        path: an experiment's folder, or a file of battles.
        log: of the path, as `read_log` reads it.
        leaderboard: of the log; arena rates the log if absent.

    Raises:
        UsageError: the path holds neither an experiment nor battles.
        DataError: a file is not what it should be; names file and line.
    """
    check_path(path)
    manifest = read_manifest(path) if Folder(path).is_experiment else {}
    rated = None if log is None else _without_folder(_leaderboard(path, log, leaderboard), path)
    named = list(manifest.get("datasets", {}))
    datasets = [
        *named,
        *(name for name in (log.battles.datasets if log else ()) if name not in named),
    ]
    models = [model["name"] for model in manifest.get("config", {}).get("models", ())]
    toml = Folder(path).config
    return Gathered(
        path=path,
        title=manifest.get("experiment") or path.resolve().stem,
        manifest=manifest,
        config_text=toml.read_text("utf-8", "replace") if toml.is_file() else "",
        log=log,
        failures=rated.failures if rated else count_failures(path),
        leaderboard=rated,
        audit="no battle was judged yet" if log is None else _audit(path, log),
        datasets=datasets,
        shown=_shown(path, datasets),
        lists=_lists(path, datasets),
        stats=_stats(path, datasets, models),
    )


def check_path(path: Path) -> None:
    """Check that there is something to make a site of.

    Raises:
        UsageError: there is not.
    """
    if path.is_dir():
        if not Folder(path).is_experiment and not Folder(path).logs():
            raise UsageError(
                f"{path}: no experiment: neither manifest.json nor battles*.jsonl is in it; "
                "give a folder under runs/, or a file of battles"
            )
    elif path.suffix == ".toml":
        raise UsageError(f"{path}: a configuration; give the folder under runs/ that it made")
    elif not path.is_file():
        raise UsageError(f"{path}: no such file or folder; give an experiment under runs/")


def current_leaderboard(path: Path, log: Callable[[], Log | None]) -> Leaderboard:
    """Return an experiment's leaderboard on disk, or a new one if the log or arena is newer.

    Args:
        path: an experiment's folder; a new leaderboard is written as `arena rate` writes it.
        log: reads the log; called only for a new leaderboard.
    """
    folder = Folder(path)
    newest = _newest_change(folder)
    file = folder.leaderboard
    is_current = file.is_file() and file.stat().st_mtime_ns >= max(newest, _newest_code())
    if is_current and (kept := last_leaderboard(path)):
        return kept
    leaderboard = _rate(path, log())
    if _newest_change(folder) != newest:
        return leaderboard  # of a log that has grown since: it must not replace a newer one
    with contextlib.suppress(WriteError):  # a folder without write access can still be shown
        write_leaderboard(leaderboard, path)
    return leaderboard


def _newest_change(folder: Folder) -> int:
    """Return when a file that ratings are made of was last changed, in nanoseconds."""
    return max(file.stat().st_mtime_ns for file in folder.rated())


@functools.cache
def _newest_code() -> int:
    """Return when arena was installed or last changed, in nanoseconds."""
    package = Path(__file__).parents[1]
    return max(file.stat().st_mtime_ns for file in package.rglob("*.py"))


def _leaderboard(path: Path, log: Log, leaderboard: Leaderboard | None) -> Leaderboard:
    """Return the leaderboard, or a new one if there is none under the log's model names."""
    if leaderboard and all(row.model in log.battles.models for row in leaderboard.overall):
        return leaderboard
    return _rate(path, log)


def _rate(path: Path, log: Log | None) -> Leaderboard:
    return rate_files([path], battles=log.battles if log else None)


def _audit(path: Path, log: Log) -> Audit | str:
    try:
        evidence = read_evidence(path, aliases={}, labels=None, battles=log.battles)
        return _without_folder(build_audit(evidence), path)
    except DataError:
        raise
    except UsageError as error:  # such as a log of identical lists alone
        return str(error).removeprefix(f"{path}: ")


def _without_folder(noted: Noted, path: Path) -> Noted:
    """Return the same with notes that name files without their folder."""
    folder = path if path.is_dir() else path.parent
    return replace(noted, notes=tuple(note.replace(f"{folder}/", "") for note in noted.notes))


def _shown(path: Path, datasets: Sequence[str]) -> dict[str, ShownTexts]:
    if not path.is_dir():
        return {}
    files = {name: read_shown(Folder(path).shown(name)) for name in datasets}
    return {name: texts for name, texts in files.items() if texts is not None}


def _lists(path: Path, datasets: Sequence[str]) -> Lists:
    if not path.is_dir():
        return {}
    return {
        (name, model): shown
        for name in datasets
        for model, shown in read_lists(Folder(path).per_query(name)).items()
    }


def _stats(
    path: Path, datasets: Sequence[str], models: Sequence[str]
) -> dict[tuple[str, str], RetrievalStats]:
    places = {
        (dataset, model): Folder(path).run_stats(dataset, model)
        for dataset in datasets
        for model in models
    }
    return {key: read_stats(place) for key, place in places.items() if place.is_file()}
