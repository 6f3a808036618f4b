"""Compute battle ids: hashes of everything that could change a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from arena.digest import digest
from arena.records import Document, Matchup


def list_digest(documents: Sequence[Document]) -> bytes:
    """Return the address of one list: a hash of its doc ids, titles and texts, in order."""
    return digest(*(field for d in documents for field in (d.doc_id, d.title, d.text)))


def battle_id(
    matchup: Matchup, query_text: str, digests: tuple[bytes, bytes], fingerprint: str
) -> str:
    """Return the id of a battle, so that none is paid for twice.

    Args:
        matchup: dataset, query and the two models, model_a first.
        query_text: the text of the query.
        digests: of model_a's and model_b's list, from `list_digest`.
        fingerprint: of the judge: its model, settings and prompt.

    Returns:
        32 hexadecimal digits.
    """
    names = (matchup.dataset, matchup.query_id, matchup.model_a, matchup.model_b)
    return digest(*names, query_text, *digests, fingerprint).hex()
