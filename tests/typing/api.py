"""How programs use arena, as the type checker sees it; never run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import arena
from arena.config import ModelConfig

data: arena.Dataset = arena.load_dataset(Path("data/mydocs"), "mydocs")
made: arena.Dataset = arena.Dataset({"d1": "A text."}, {"q1": "A query?"}, {"q1": {"d1": 1}})


def encode(texts: list[str]) -> NDArray[np.float32]:
    return np.ones((len(texts), 2), np.float32)


def search(query: str, k: int) -> list[str]:
    return [query][:k]


def judge(
    query: arena.Query, first: tuple[arena.Document, ...], second: tuple[arena.Document, ...]
) -> str:
    return "first" if query.text in first[0].text else "second"


async def slow_judge(
    query: arena.Query, first: tuple[arena.Document, ...], second: tuple[arena.Document, ...]
) -> arena.Verdict:
    return arena.Verdict("first", arena.Probs(0.7, 0.2, 0.1))


bm25: arena.ModelRun = arena.retrieve("bm25", data)
runs = [
    bm25,
    arena.retrieve(ModelConfig(name="bm25", provider="bm25"), data, ["q1"]),
    arena.retrieve({"name": "mine", "provider": "lsa"}, data, queries=50, cache="cache"),
    arena.retrieve(encode, data, name="mine"),
    arena.retrieve(search, data, returns="doc_ids"),
    arena.read_run(Path("hybrid.trec"), data),
]


class Encoder:
    def encode(self, sentences: str | list[str], batch_size: int = 32) -> NDArray[np.float32]:
        return np.ones((len(sentences), 2), np.float32)


async def encode_soon(texts: list[str]) -> list[list[float]]:
    return [[float(len(text))] for text in texts]


runs += [
    arena.retrieve(Encoder(), data, name="object"),
    arena.retrieve(encode_soon, data, name="async"),
    arena.read_run({"q1": {"d1": 2.0}}, data, name="dict"),
    arena.read_run(bm25.to_frame(), data, name="frame"),
]
best: str = bm25.rankings["q1"][0].doc_id
milliseconds: tuple[float, ...] = bm25.stats.latency_ms

battles: pd.DataFrame = arena.compare(runs, judge=judge, queries=50, seed=42)
arena.compare((run for run in runs), judge, queries=["q1", "q2"])
arena.Dataset(pd.DataFrame({"_id": ["d1"], "text": ["A text."]}), [{"_id": "q1", "text": "A?"}])
mine = arena.function_judge(slow_judge, "mine-v1")
arena.compare(runs, judge=[arena.llm_judge("gpt-4.1-mini"), mine], log=Path("runs/nb"))
arena.compare(runs, judge={"model": "gpt-4.1-mini"}, log="runs/nb")
arena.compare(runs, judge=arena.qrels_judge())


class OwnJudge:
    name = "mine"
    fingerprint = "mine-v1"

    async def judge(self, judge_input: object) -> arena.Verdict:
        if not judge_input:
            raise arena.UnjudgedError("refusal", "nothing to judge")
        return arena.Verdict("tie")


own: arena.Judge = OwnJudge()
section: arena.JudgeConfig = arena.llm_judge("gpt-4.1-mini")
chosen: arena.ModelConfig | None = bm25.config
try:
    arena.compare(runs, [own, section], limit=5, max_usd=2, gate=False)
except arena.ArenaError as error:
    status: int = error.exit_status
arena.battle("arena.toml", arena.reporter(), arena.BattleOptions(limit=5))
folder: Path = arena.cache_folder()
leads: pd.DataFrame = arena.metric_differences(runs, ["nDCG@10"])

for matchup in arena.plan(["bm25", "bge-m3"], {"mydocs": ["q1"]}, orders="balanced"):
    shown_first: str = matchup.model_a

frame = pd.DataFrame({"model_a": ["a"], "model_b": ["b"], "winner": ["tie"]})
leaderboard: arena.Leaderboard = arena.rate(frame, aliases={"A": "a"})
rows = [{"model_a": "a", "model_b": "b", "winner": "tie", "query_id": number} for number in (1, 2)]
arena.rate(rows, settings={"level": 0.9}, labels=rows)
arena.rate(rows, settings=arena.RatingSettings(method="davidson"))
arena.rate_files(["runs/a", "runs/b"])
card: arena.Audit = arena.audit(rows)
two: arena.Between = arena.between(rows, rows)
arena.rate([frame, frame], correct="none")
arena.rate(path for path in ("a.csv", "b.csv"))
arena.audit(rows)
table: pd.DataFrame = arena.rate(["runs/a", Path("runs/b")]).to_frame()
level: str = arena.audit(frame).trust.level
figures: pd.DataFrame = arena.audit("runs/nb").to_frame()
conclusion: str = arena.between(frame, "runs/own").conclusion
costs: arena.ModelCosts = leaderboard.cost(documents=1e6, queries_per_month=200_000)
dollars: pd.DataFrame = costs.to_frame()
taken: str | None = costs.recommendation.take
rank: int = leaderboard.overall[0].rank
first_page: Path = arena.report("runs/handbook")

ratings: pd.DataFrame = arena.bradley_terry(["a"], ["b"], ["first"], query=["q1"])
online: pd.DataFrame = arena.elo(np.array(["a"]), np.array(["b"]), np.array(["tie"]))
corrected: pd.DataFrame = arena.corrected_bradley_terry(
    ["a"], ["b"], ["first"], [None], 0.5, query=["q1"]
)
warned: type[UserWarning] = arena.ArenaWarning
