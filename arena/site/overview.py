"""From what lies in an experiment's folder to what every page of its site knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from arena.battles.load import Battles
from arena.config import ExperimentConfig, known_price
from arena.rating.elo import count_wins
from arena.rating.leaderboard import as_rated
from arena.rating.leaderboard_notes import separation_lines, summary_lines
from arena.rating.leaderboard_records import Leaderboard, PositionAdvantage
from arena.rating.panel_votes import only_judge
from arena.site.data_files import Names
from arena.site.gather import Gathered, Tree
from arena.site.records import (
    DataFiles,
    ExperimentState,
    JudgeInfo,
    Method,
    ModelInfo,
    PairCells,
    PromptInfo,
    Site,
)
from arena.site.secrets import publishable, settings_text
from arena.site.tables import ranked_rows, six_digits
from arena.store.texts import ShownTexts
from arena.version import __version__

_SHOWN_APART = ("name", "maker", "about", "license", "release_date", "price_per_1m_tokens")
"""Settings of a model that its page says in words of its own."""

_LONGEST_FILE = 50
"""Characters; file systems take 255 bytes."""

_BARE = "a log alone has no texts of queries and documents; an experiment's folder has"

_NO_TEXTS = (
    "the texts of queries and documents are not beside the log; `arena retrieve` with the same "
    "arena.toml puts them there"
)


def site_of(gathered: Gathered, names: Names, files: DataFiles, *, version: str) -> Site:
    """Return what every page needs.

    Args:
        gathered: the contents of the folder.
        names: what the codes in the site's data mean.
        files: how those data are cut.
        version: hash of all that the site is made of.
    """
    board = gathered.leaderboard
    details = gathered.log.details if gathered.log else None
    return Site(
        title=gathered.title,
        version=version,
        generated_at=details.last_at if details else None,
        arena=__version__,
        top_k=_top_k(gathered),
        state=state_of(gathered),
        datasets=gathered.datasets,
        judges=list(_judges(gathered)),
        models=list(_models(gathered)),
        overall=ranked_rows(board.overall) if board else (),
        by_dataset={
            name: ranked_rows(board.datasets.get(name, ()) if board else ())
            for name in gathered.datasets
        },
        pairs=list(_pairs(board, names)) if board else (),
        position_advantage=_figures(board.position_advantage) if board else None,
        position_by_dataset={
            name: asdict(advantage)
            for name, advantage in (board.position_by_dataset if board else {}).items()
        },
        more_queries=[six_digits(asdict(more)) for more in board.more_queries] if board else (),
        notes=_notes(gathered),
        sentences=[*summary_lines(board), *separation_lines(board)] if board else (),
        queries={
            name: {
                "n": len(names.queries[name]),
                "chunks": _chunks(gathered.shown.get(name), files.shown_chunk),
            }
            for name in gathered.datasets
        },
        texts_note=None if gathered.shown else _NO_TEXTS if gathered.manifest else _BARE,
        files=files,
    )


def state_of(gathered: Gathered) -> ExperimentState:
    """Return the progress of an experiment, in figures and in a sentence."""
    planned: int | None = gathered.manifest.get("planned")
    judged, failures = len(gathered.log.battles) if gathered.log else 0, gathered.failures
    complete = judged > 0 if planned is None else judged + failures >= planned
    of = f"{judged:,}" if planned is None or planned <= judged else f"{judged:,} of {planned:,}"
    parts = [f"{of} {'battle' if (planned or judged) == 1 else 'battles'} judged"]
    if not judged:
        parts = ["No battle judged yet", *([f"{planned:,} are planned"] if planned else [])]
    if failures:
        parts.append(f"{failures:,} without verdict")
    moving = "; the ratings will move" if judged and not complete else ""
    return ExperimentState(planned, judged, failures, complete, f"{', '.join(parts)}{moving}.")


def model_names(gathered: Gathered) -> list[str]:
    """Return all models: those of the configuration in its order, then others of the log.

    The order of the ratings changes while battles are played. A page that was opened before may
    load files that were written after, and their codes have to mean the same models.
    """
    played = gathered.log.battles.models if gathered.log else ()
    return list(dict.fromkeys((*(model["name"] for model in gathered.model_settings), *played)))


def judge_names(gathered: Gathered) -> list[str]:
    """Return the judges of the manifest, then others of the log."""
    played = gathered.log.battles.judges if gathered.log else ()
    return list(dict.fromkeys((*(judge["name"] for judge in gathered.judges), *played)))


def rated_battles(gathered: Gathered) -> Battles | None:
    """Return the battles as the leaderboard counts them, for example with joined panel verdicts."""
    if gathered.log is None or gathered.leaderboard is None:
        return None
    battles, settings = gathered.log.battles, gathered.leaderboard.settings
    return as_rated(
        battles if settings.judge is None else only_judge(battles, settings.judge), settings
    )


def pairs_by_dataset(gathered: Gathered, names: Names) -> dict[str, list[list[int]]]:
    """Return data set → for each pair: both places, and wins, losses, ties of the first."""
    battles = rated_battles(gathered)
    if battles is None or gathered.leaderboard is None:
        return {}
    tables: dict[str, list[list[int]]] = {name: [] for name in gathered.datasets}
    codes = [battles.models.index(row.model) for row in gathered.leaderboard.overall]
    number_of = {model: number for number, model in enumerate(names.models)}
    for number, name in enumerate(battles.datasets):
        wins, ties = (matrix.tolist() for matrix in count_wins(battles.only(number)))
        for a, b in combinations(codes, 2):
            if (cells := [wins[a][b], wins[b][a], ties[a][b]]) != [0, 0, 0]:
                tables[name].append(
                    [number_of[battles.models[a]], number_of[battles.models[b]], *cells]
                )
    return tables


def _top_k(gathered: Gathered) -> int | None:
    if not gathered.manifest:
        return None
    default: int = ExperimentConfig.model_fields["top_k"].default
    settings: Tree = gathered.manifest.get("config", {}).get("experiment", {})
    return int(settings.get("top_k", default))


def _files(names: Sequence[str]) -> Iterator[str]:
    """Return a file name for each model's page, unique on every file system."""
    taken: set[str] = set()
    for name in names:
        # Web hosts hide files that begin with a dot or an underscore, and not every file system
        # or archive keeps other letters than these.
        base = re.sub(r"[^\w.+@-]+", "_", name, flags=re.ASCII)[:_LONGEST_FILE]
        base = base if base[:1].isalnum() else f"m{base}"
        file, number = base, 1
        while file.casefold() in taken:
            number += 1
            file = f"{base}-{number}"
        taken.add(file.casefold())
        yield f"models/{file}.html"


def _models(gathered: Gathered) -> Iterator[ModelInfo]:
    board = gathered.leaderboard
    facts = {row.model: row.facts for row in board.overall} if board else {}
    settings = {model["name"]: model for model in gathered.model_settings}
    names = model_names(gathered)
    for name, file in zip(names, _files(names), strict=True):
        model_facts, model_settings = facts.get(name), settings.get(name, {})
        stats = (gathered.stats.get((dataset, name)) for dataset in gathered.datasets)
        dimension = next((one.dimension for one in stats if one and one.dimension), None)
        yield ModelInfo(
            name=name,
            file=file,
            maker=model_settings.get("maker"),
            provider=_provided_by(model_settings),
            license=model_settings.get("license"),
            price=known_price(name, gathered.model_settings),
            release_date=model_settings.get("release_date"),
            dimension=model_facts.dimension if model_facts and model_facts.dimension else dimension,
            about=model_settings.get("about"),
            settings_text=settings_text(
                {k: v for k, v in model_settings.items() if k not in _SHOWN_APART}
            ),
        )


def _provided_by(section: Mapping[str, Any]) -> str | None:
    """Return what ranks for a model: its provider, its reranker, or the fusion of others."""
    if section.get("fuse"):
        return "fusion"
    return section.get("provider") or section.get("rerank")


def _judges(gathered: Gathered) -> Iterator[JudgeInfo]:
    known = {judge["name"]: judge for judge in gathered.judges}
    for name in judge_names(gathered):
        judge = known.get(name, {})
        yield JudgeInfo(name, judge.get("kind"), judge.get("is_llm"))


def _pairs(board: Leaderboard, names: Names) -> Iterator[PairCells]:
    place = {model: number for number, model in enumerate(names.models)}
    for pair in board.pairs:
        record = pair.wins, pair.losses, pair.ties
        yield place[pair.a], place[pair.b], *record, six_digits(pair.p_better), int(pair.separated)


def _notes(gathered: Gathered) -> list[str]:
    board = gathered.leaderboard
    notes = [*gathered.manifest.get("notes", ()), *(board.notes if board else ())]
    if isinstance(gathered.audit, str) and gathered.log:
        notes.append(f"the judge cannot be audited: {gathered.audit}")
    return notes


def _chunks(texts: ShownTexts | None, size: int) -> int:
    return -(-len(texts.queries) // size) if texts else 0


def _figures(advantage: PositionAdvantage | None) -> dict[str, float] | None:
    return None if advantage is None else asdict(advantage)


_HASHES = {"corpus_hash": "corpus", "queries_hash": "queries", "qrels_hash": "qrels"}


def method_of(gathered: Gathered) -> Method:
    """Return the content of the method page; a bare log has little of it."""
    manifest = gathered.manifest
    return Method(
        manifest={key: value for key, value in manifest.items() if key != "config"},
        config=publishable(gathered.config_text) or None,
        prompts=list(_prompts(gathered)),
        commands=_commands(gathered),
        versions=_versions(manifest),
        hashes=dict(_hashes(manifest)),
        notes=list(manifest.get("notes", ())),
    )


def _prompts(gathered: Gathered) -> Iterator[PromptInfo]:
    for judge in gathered.judges:
        if prompt := judge.get("prompt"):
            text = f"# System\n\n{prompt['system']}\n\n# User\n\n{prompt['user']}\n"
            yield PromptInfo(judge["name"], prompt["hash"], text)


def _commands(gathered: Gathered) -> list[str]:
    if not gathered.manifest:
        return [f"arena rate {gathered.path.name}", f"arena report {gathered.path.name}"]
    folder = f"runs/{gathered.title}"
    version = gathered.manifest.get("arena", __version__)
    return [
        f"arena --version            # these figures are of {version}",
        "arena battle arena.toml    # judges what is not in the log yet",
        f"arena rate {folder}",
        f"arena audit {folder}",
        f"arena report {folder}",
    ]


def _versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    own = {"arena": manifest.get("arena"), "python": manifest.get("python")}
    packages = manifest.get("packages", {})
    return {name: str(version) for name, version in (own | packages).items() if version}


def _hashes(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, dataset in manifest.get("datasets", {}).items():
        for key, label in _HASHES.items():
            if value := dataset.get(key):
                yield f"{name}: {label}", value
    for judge in manifest.get("judges", ()):
        yield f"judge {judge['name']}", judge["fingerprint"]
