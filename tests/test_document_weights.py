"""How much each document decides, held against the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.rating.people.document_grades import document_weights

DOCUMENTS = "abcdef"
RANKINGS = st.permutations(DOCUMENTS).flatmap(
    lambda order: st.integers(0, len(order)).map(lambda n: order[:n])
)
LISTS = st.lists(
    st.fixed_dictionaries({}, optional={"q1": RANKINGS, "q2": RANKINGS}), min_size=2, max_size=4
).map(lambda each: {f"m{number}": rankings for number, rankings in enumerate(each)})


def by_definition(lists, query_id, doc_id, top_k):
    """A_u: the weight in each list, less the mean."""
    whole = sum(1 / math.log2(rank + 1) for rank in range(1, top_k + 1))
    weights = []
    for rankings in lists.values():
        shown = list(rankings.get(query_id, ()))[:top_k]
        found = 1 / math.log2(shown.index(doc_id) + 2) / whole if doc_id in shown else 0.0
        weights.append(found)
    return np.array(weights) - np.mean(weights)


@given(lists=LISTS, top_k=st.integers(1, 5))
def test_sizes_and_sums_are_those_of_the_definition(lists, top_k):
    weights = document_weights(lists, ["q1", "q2"], top_k=top_k)
    gain = np.linspace(0, 1, len(weights.doc_ids))

    expected = np.zeros((2, len(lists)))
    for u, (code, doc_id) in enumerate(zip(weights.query, weights.doc_ids, strict=True)):
        contrast = by_definition(lists, weights.query_ids[code], doc_id, top_k)
        expected[code] += contrast * gain[u]
        assert weights.size[u] == pytest.approx(np.linalg.norm(contrast), abs=1e-12)
    assert weights.by_query(gain) == pytest.approx(expected, abs=1e-12)
    shown = {
        (query_id, doc_id)
        for rankings in lists.values()
        for query_id, ranking in rankings.items()
        for doc_id in ranking[:top_k]
    }
    units = [(weights.query_ids[c], d) for c, d in zip(weights.query, weights.doc_ids, strict=True)]
    assert set(units) == shown
    assert len(units) == len(shown)


def test_a_document_at_the_same_rank_of_all_lists_decides_nothing():
    lists = {"one": {"q": ["a", "b"]}, "two": {"q": ["a", "c"]}}

    weights = document_weights(lists, ["q"], top_k=2)

    assert dict(zip(weights.doc_ids, weights.size > 0, strict=True)) == {
        "a": False,
        "b": True,
        "c": True,
    }
