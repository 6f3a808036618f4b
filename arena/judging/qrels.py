"""A judge that knows the qrels: the list with the higher DCG wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arena.data.metrics import dcg
from arena.digest import content_hash
from arena.errors import UnjudgedError
from arena.judging.chat import Messages
from arena.judging.judge import Judge
from arena.records import Document, JudgeInput, JudgeKind, Qrels, Side, Verdict

_SAME_DCG = 1e-9
"""Two sums of the same gains may differ by so much, added up in another order."""


def qrels_judge(qrels: Mapping[str, Qrels], top_k: int) -> Judge:
    """Return a judge that knows the relevance grades and compares the DCG of the two lists.

    DCG = Σ max(grade, 0) / log2(rank + 1) over the first ``top_k`` ranks, the gain of
    trec_eval's nDCG (Järvelin and Kekäläinen 2002, doi:10.1145/582415.582418); the ideal
    is the same for both lists, so the comparison is that of nDCG.

    Args:
        qrels: dataset → its relevance grades.
        top_k: ranks that count.
    """
    return _QrelsJudge(qrels, top_k)


def list_dcg(documents: Sequence[Document], grades: Mapping[str, int], top_k: int) -> float:
    """Return the DCG of a list with linear gains; ungraded documents gain nothing."""
    return dcg(max(grades.get(document.doc_id, 0), 0) for document in documents[:top_k])


class _QrelsJudge:
    name = "qrels"
    prompt = ""
    is_llm = False
    kind: JudgeKind = "qrels"

    def __init__(self, qrels: Mapping[str, Qrels], top_k: int) -> None:
        self._qrels = qrels
        self._top_k = top_k
        graded = {
            dataset: {query_id: dict(grades) for query_id, grades in rows.items()}
            for dataset, rows in qrels.items()
        }
        self.fingerprint = content_hash("qrels", top_k, graded)

    def request_key(self, judge_input: JudgeInput) -> str:
        lists = [
            [d.doc_id for d in side[: self._top_k]]
            for side in (judge_input.first, judge_input.second)
        ]
        return content_hash(
            self.fingerprint, judge_input.dataset, judge_input.query.query_id, lists
        )

    def calls(self, judge_input: JudgeInput) -> Mapping[str, Messages]:
        del judge_input
        return {}

    async def judge(self, judge_input: JudgeInput) -> Verdict:
        query_id = judge_input.query.query_id
        grades = self._qrels.get(judge_input.dataset, {}).get(query_id)
        if not grades:
            detail = f"dataset {judge_input.dataset} has no qrels for query {query_id}"
            raise UnjudgedError("no_qrels", detail)
        lead = list_dcg(judge_input.first, grades, self._top_k) - list_dcg(
            judge_input.second, grades, self._top_k
        )
        winner: Side = "first" if lead > 0 else "second"
        return Verdict("tie" if abs(lead) < _SAME_DCG else winner)
