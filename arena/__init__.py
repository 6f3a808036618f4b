"""Compare embedding models on your documents, and see how sure you can be.

The whole job in a notebook::

    import arena

    data = arena.load_dataset("data/mydocs")
    runs = [
        arena.retrieve("bm25", data),
        arena.retrieve(my_model.encode, data, name="mine"),
        arena.read_run("hybrid.trec", data),
    ]

    def judge(query, first, second):
        return "first" if len(first[0].text) > len(second[0].text) else "second"

    battles = arena.compare(runs, judge=judge, queries=50)
    board = arena.rate(battles)
    board.to_frame()

`docs/python.md` shows the rest: LLM judges, logs that are kept and resumed, audits, plots, and
the statistics alone. The commands do the same over an arena.toml.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from arena.version import __version__ as __version__

if TYPE_CHECKING:
    from arena.api.compare import ArenaWarning, compare
    from arena.api.data import Dataset, load_dataset
    from arena.api.experiment import battle, plan, report
    from arena.api.judges import Judge, function_judge, llm_judge, qrels_judge
    from arena.api.rate import audit, between, rate, rate_files
    from arena.api.results import Audit, Between, Leaderboard, ModelCosts
    from arena.api.retrieve import retrieve
    from arena.api.runs import ModelRun, read_run
    from arena.api.statistics import bradley_terry, corrected_bradley_terry, elo
    from arena.config import JudgeConfig, ModelConfig
    from arena.errors import ArenaError, UnjudgedError
    from arena.experiment.battle_options import BattleOptions
    from arena.files import cache_folder
    from arena.progress import reporter
    from arena.rating.leaderboard_records import RatingSettings
    from arena.records import Document, Probs, Query, Verdict

__all__ = [
    "ArenaError",
    "ArenaWarning",
    "Audit",
    "BattleOptions",
    "Between",
    "Dataset",
    "Document",
    "Judge",
    "JudgeConfig",
    "Leaderboard",
    "ModelConfig",
    "ModelCosts",
    "ModelRun",
    "Probs",
    "Query",
    "RatingSettings",
    "UnjudgedError",
    "Verdict",
    "audit",
    "battle",
    "between",
    "bradley_terry",
    "cache_folder",
    "compare",
    "corrected_bradley_terry",
    "elo",
    "function_judge",
    "llm_judge",
    "load_dataset",
    "metric_differences",
    "plan",
    "qrels_judge",
    "rate",
    "rate_files",
    "read_run",
    "report",
    "reporter",
    "retrieve",
]

_HOMES: Final = {
    "ArenaError": "arena.errors",
    "ArenaWarning": "arena.api.compare",
    "Audit": "arena.api.results",
    "BattleOptions": "arena.experiment.battle_options",
    "Between": "arena.api.results",
    "Dataset": "arena.api.data",
    "Document": "arena.records",
    "Judge": "arena.api.judges",
    "JudgeConfig": "arena.config",
    "Leaderboard": "arena.api.results",
    "ModelConfig": "arena.config",
    "ModelCosts": "arena.api.results",
    "ModelRun": "arena.api.runs",
    "Probs": "arena.records",
    "Query": "arena.records",
    "RatingSettings": "arena.rating.leaderboard",
    "UnjudgedError": "arena.errors",
    "Verdict": "arena.records",
    "audit": "arena.api.rate",
    "battle": "arena.api.experiment",
    "between": "arena.api.rate",
    "bradley_terry": "arena.api.statistics",
    "cache_folder": "arena.files",
    "compare": "arena.api.compare",
    "corrected_bradley_terry": "arena.api.statistics",
    "elo": "arena.api.statistics",
    "function_judge": "arena.api.judges",
    "llm_judge": "arena.api.judges",
    "load_dataset": "arena.api.data",
    "metric_differences": "arena.api.metrics",
    "plan": "arena.api.experiment",
    "qrels_judge": "arena.api.judges",
    "rate": "arena.api.rate",
    "rate_files": "arena.api.rate",
    "read_run": "arena.api.runs",
    "report": "arena.api.experiment",
    "reporter": "arena.progress",
    "retrieve": "arena.api.retrieve",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import arena` and `arena --help` are fast.
    if name not in _HOMES:
        raise AttributeError(f"module 'arena' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
