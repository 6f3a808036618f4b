"""The lists that judges are shown: the top documents of each model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arena.experiment.battle_ids import battle_id, list_digest
from arena.records import Dataset, Document, JudgeInput, Matchup, Run


class Lists:
    """The top_k documents that each model shows for each query."""

    def __init__(self, datasets: Mapping[str, Dataset], runs: Iterable[Run], *, top_k: int) -> None:
        self._datasets = datasets
        self._runs = {(run.dataset, run.model): run for run in runs}
        self._top_k = top_k
        self._digests: dict[tuple[str, str, str], bytes] = {}

    def judge_input(self, matchup: Matchup) -> JudgeInput:
        """Return what a judge is shown of a matchup."""
        return JudgeInput(
            dataset=matchup.dataset,
            query=self._datasets[matchup.dataset].queries[matchup.query_id],
            first=self._documents(matchup, matchup.model_a),
            second=self._documents(matchup, matchup.model_b),
        )

    def battle_id(self, matchup: Matchup, fingerprint: str) -> str:
        """Return the id of the battle under a judge with this fingerprint."""
        query = self._datasets[matchup.dataset].queries[matchup.query_id]
        digests = self._digest(matchup, matchup.model_a), self._digest(matchup, matchup.model_b)
        return battle_id(matchup, query.text, digests, fingerprint)

    def _documents(self, matchup: Matchup, model: str) -> tuple[Document, ...]:
        ranking = self._runs[matchup.dataset, model].rankings.get(matchup.query_id, ())
        corpus = self._datasets[matchup.dataset].corpus
        return tuple(corpus[scored.doc_id] for scored in ranking[: self._top_k])

    def _digest(self, matchup: Matchup, model: str) -> bytes:
        key = (matchup.dataset, matchup.query_id, model)
        if key not in self._digests:
            self._digests[key] = list_digest(self._documents(matchup, model))
        return self._digests[key]
