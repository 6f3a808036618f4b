"""How much each document decides: its weight in the contenders' lists.

A list is worth Σ gain / log2(rank + 1) over its first ``top_k`` ranks, divided by what a perfect
list is worth. A document's weight in a list is its share of that sum. A document that all lists
hold at the same rank adds the same to each: no grade of it changes the order of the models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arena.data.metrics import discounted
from arena.rating.comparisons import Floats, Ints


@dataclass(frozen=True, slots=True)
class DocumentWeights:
    """The distinct documents of each query in the lists of one data set, n of them.

    Weights are held as entries (document, model, weight); all others are 0.
    """

    models: tuple[str, ...]  #: the contenders; codes index into it
    query_ids: tuple[str, ...]  #: codes index into it
    doc_ids: tuple[str, ...]  #: of each document, (n,)
    query: Ints  #: of each document, (n,)
    document: Ints  #: of each entry
    model: Ints  #: of each entry
    weight: Floats  #: of each entry: discount in the model's list / sum of all discounts

    @property
    def size(self) -> Floats:
        """Return the length |A_u| of each document's weights less their mean over models, (n,).

        0 for a document that all lists hold at the same rank.
        """
        n, m = len(self.doc_ids), len(self.models)
        total = np.bincount(self.document, self.weight, n)
        listed = np.bincount(self.document, minlength=n)
        mean = total / max(m, 1)
        away = np.bincount(self.document, (self.weight - mean[self.document]) ** 2, n)
        squares = away + (m - listed) * mean**2
        # What is left of equal weights is rounding.
        size: Floats = np.sqrt(np.where(squares > 1e-24, squares, 0.0))
        return size

    def by_query(self, value: Floats) -> Floats:
        """Return Σ A_u value_u over the documents of each query, (n_queries, n_models).

        Args:
            value: of each document, (n,).
        """
        n, m = len(self.query_ids), len(self.models)
        cell = self.query[self.document] * m + self.model
        total = np.bincount(cell, self.weight * value[self.document], n * m).reshape(n, m)
        centred: Floats = total - total.mean(axis=1, keepdims=True)
        return centred

    def outer(self, value: Floats) -> Floats:
        """Return Σ value_u A_u A_uᵀ over all documents, (n_models, n_models).

        Args:
            value: of each document, (n,).
        """
        m, used = len(self.models), np.flatnonzero(value)
        row = np.full(len(self.doc_ids), -1, dtype=np.intp)
        row[used] = np.arange(len(used))
        listed = row[self.document] >= 0
        dense = np.zeros((len(used), m))
        np.add.at(dense, (row[self.document[listed]], self.model[listed]), self.weight[listed])
        dense -= dense.mean(axis=1, keepdims=True)
        outer: Floats = dense.T @ (dense * value[used, None])
        return outer


def document_weights(
    lists: Mapping[str, Mapping[str, Sequence[str]]], query_ids: Iterable[str], *, top_k: int
) -> DocumentWeights:
    """Return the weights of the distinct documents in the contenders' lists of one data set.

    Args:
        lists: model → query_id → doc_ids, best first. A query that a model lacks is an empty list.
        query_ids: the queries that count, such as those that were judged; each once.
        top_k: ranks that count; the experiment's ``top_k``.
    """
    queries = tuple(query_ids)
    share = np.array([discounted(1.0, rank) for rank in range(1, top_k + 1)])
    shares = (share / share.sum()).tolist()
    doc_ids: list[str] = []
    query: list[int] = []
    entries: list[tuple[int, int, float]] = []
    for code, query_id in enumerate(queries):
        units: dict[str, int] = {}
        for model, rankings in enumerate(lists.values()):
            for doc_id, weight in zip(rankings.get(query_id, ()), shares, strict=False):
                unit = units.setdefault(doc_id, len(doc_ids) + len(units))
                entries.append((unit, model, weight))
        doc_ids += units
        query += [code] * len(units)
    document, models, weights = zip(*entries, strict=True) if entries else ((), (), ())
    return DocumentWeights(
        models=tuple(lists),
        query_ids=queries,
        doc_ids=tuple(doc_ids),
        query=np.array(query, dtype=np.intp),
        document=np.array(document, dtype=np.intp),
        model=np.array(models, dtype=np.intp),
        weight=np.array(weights, dtype=np.float64),
    )
