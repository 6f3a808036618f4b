"""Which embedding model should I use, and how sure may I be?

The commands are thin over these::

    dataset = arena.load_dataset(Path("data/mydocs"))
    run, stats = arena.retrieve(model, dataset, query_ids, cache=arena.cache_folder())
    matchups = arena.plan(["bm25", "bge-m3"], {"mydocs": query_ids})
    summary = arena.battle(Path("arena.toml"))
    leaderboard = arena.rate(frame)          # any DataFrame with model_a, model_b, winner
    card = arena.audit(Path("runs/handbook"))  # how far to trust the judge
    page = arena.report(Path("runs/handbook"))  # a site of it all

Records (`Query`, `Document`, `Battle`, ...) are in `arena.records`, errors in `arena.errors`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from arena.auditing.card import audit
    from arena.auditing.records import Audit
    from arena.data.beir import load_beir as load_dataset
    from arena.experiment.pipeline import battle
    from arena.experiment.plan import plan_matchups as plan
    from arena.experiment.rate_files import rate, rate_files
    from arena.experiment.summary import BattleOptions
    from arena.files import cache_folder
    from arena.judging.judge import llm_judge, qrels_judge
    from arena.rating.leaderboard import Leaderboard, RatingSettings
    from arena.retrieval.retrieve import retrieve
    from arena.site.build import build_site as report

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "BattleOptions",
    "Leaderboard",
    "RatingSettings",
    "audit",
    "battle",
    "cache_folder",
    "llm_judge",
    "load_dataset",
    "plan",
    "qrels_judge",
    "rate",
    "rate_files",
    "report",
    "retrieve",
]

_HOMES: Final = {
    "Audit": "arena.auditing.records",
    "BattleOptions": "arena.experiment.summary",
    "Leaderboard": "arena.rating.leaderboard",
    "RatingSettings": "arena.rating.leaderboard",
    "audit": "arena.auditing.card",
    "battle": "arena.experiment.pipeline",
    "cache_folder": "arena.files",
    "llm_judge": "arena.judging.judge",
    "load_dataset": "arena.data.beir:load_beir",
    "plan": "arena.experiment.plan:plan_matchups",
    "qrels_judge": "arena.judging.judge",
    "rate": "arena.experiment.rate_files",
    "rate_files": "arena.experiment.rate_files",
    "report": "arena.site.build:build_site",
    "retrieve": "arena.retrieval.retrieve",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: importing arena, and showing a command's help, takes no time.
    if name not in _HOMES:
        raise AttributeError(f"module 'arena' has no attribute {name!r}")
    module, _, function = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), function or name)
