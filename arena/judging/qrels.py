"""Judge by the qrels: the list with the higher DCG wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from arena.data.metrics import dcg
from arena.digest import content_hash
from arena.errors import UnjudgedError
from arena.judging.chat import Messages
from arena.judging.judge import Judge
from arena.records import Document, JudgeInput, JudgeKind, Qrels, Side, Verdict

_SAME_DCG = 1e-9
"""Two sums of the same gains may differ by so much, added up in another order."""


ParentOf = Callable[[str], str]
"""A passage's id → the id of the document that is graded."""


def qrels_judge(
    qrels: Mapping[str, Qrels], top_k: int, parents: Mapping[str, ParentOf] | None = None
) -> Judge:
    """Return a judge that knows the relevance grades and compares the DCG of the two lists.

    DCG = Σ max(grade, 0) / log2(rank + 1) over the first ``top_k`` ranks, the gain of trec_eval's
    nDCG (Järvelin and Kekäläinen 2002, doi:10.1145/582415.582418). The ideal is the same for both
    lists, so the comparison is that of nDCG.

    Args:
        qrels: dataset → its relevance grades.
        top_k: ranks that count.
        parents: dataset → the graded document of each passage; a second passage of a document
            gains nothing. Documents are graded themselves if absent.
    """
    return _QrelsJudge(qrels, top_k, parents or {})


def list_dcg(
    documents: Sequence[Document],
    grades: Mapping[str, float],
    top_k: int,
    parent_of: ParentOf | None = None,
) -> float:
    """Return the DCG of a list with linear gains; ungraded documents gain nothing.

    Args:
        documents: the list, best first.
        grades: doc_id → grade.
        top_k: ranks that count.
        parent_of: gives the graded document of each passage. Of several passages of one document
            only the first gains.
    """
    doc_ids = [document.doc_id for document in documents[:top_k]]
    if parent_of is not None:
        parents = [parent_of(doc_id) for doc_id in doc_ids]
        doc_ids = [name if name not in parents[:n] else "" for n, name in enumerate(parents)]
    return dcg(max(grades.get(doc_id, 0), 0) for doc_id in doc_ids)


class _QrelsJudge:
    name = "qrels"
    prompt = ""
    is_llm = False
    kind: JudgeKind = "qrels"

    def __init__(
        self, qrels: Mapping[str, Qrels], top_k: int, parents: Mapping[str, ParentOf]
    ) -> None:
        self._qrels = qrels
        self._parents = parents
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
        first, second = (
            list_dcg(documents, grades, self._top_k, self._parents.get(judge_input.dataset))
            for documents in (judge_input.first, judge_input.second)
        )
        lead = first - second
        winner: Side = "first" if lead > 0 else "second"
        return Verdict("tie" if abs(lead) < _SAME_DCG else winner)
