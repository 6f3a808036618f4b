"""Queries in a model's reply, and which of them are fit to test a search engine with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from arena.digest import digest
from arena.judging.final_answer import (
    Objects,
    check_after,
    check_before,
    cut_short,
    is_gap,
    no_answer,
)
from arena.judging.prompt import clean, words_up_to
from arena.records import Document, Query

LONGEST_WORDS: Final = 40
"""A longer query is no query that anyone types."""

COPIED_WORDS: Final = 5
"""A shorter one may well be in the document word for word: the name of a thing is its name."""

COPIED: Final = 95.0
"""Similarity, up to 100, of a query to the stretch of its document that is most like it."""

SAME_QUERY: Final = 90.0
"""Similarity, up to 100, of two queries that ask the same, with words in any order."""

SAME_LONG_WORDS: Final = 95.0
"""And of their words of more than three letters: "do" and "can" may differ, tench and perch not."""

_NAMES_IT: Final = re.compile(
    r"\b(this|that|given|above|provided|following) "
    r"(passage|document|text|article|excerpt|paragraph|section|author|context)s?\b"
    r"|\bthe (passage|document|excerpt|paragraph)s?\b"
    r"|\b(in|from|by|does|did|to) the (text|article|section|author|context)s?\b"
    r"|\bthe (text|article|author)s? (says?|mentions?|describes?|states?|explains?|discuss(es)?)\b"
    r"|\b(im|dem|diesem|laut|dieses) (text|dokument|artikel|abschnitt|auszug)(e?s)?\b"
    r"|\b(dans|selon|d['’]après) (ce|cet|le|l['’]) ?(texte|document|passage|article|extrait)\b"
    r"|\b(en|según) (este|el) (texto|documento|pasaje|art[ií]culo|fragmento)\b"
    r"|\b(no|neste|segundo o) (texto|documento|artigo|trecho)\b"
    r"|\b(nel|in questo|secondo il) (testo|documento|brano)\b"
    r"|\b(i|ifølge) (denne )?(teksten|dokumentet|artikkelen|avsnittet)\b"
    r"|(هذا|هذه|في|حسب|وفقا ل|وفقًا ل)\s*(النص|المقطع|الوثيقة|المستند|الفقرة)"
    r"|本文|该文|這篇|这篇|上文|文中|この文書|この文章|本文書",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Written:
    """A query, and the document that it was written for."""

    query: Query
    doc_id: str


@dataclass(frozen=True, slots=True)
class Screened:
    """What is left of the queries that were written, and what became of the others."""

    kept: tuple[Written, ...]
    dropped: Mapping[str, int]  #: reason → queries


def reply_schema(number: int) -> dict[str, Any]:
    """Return the schema of a reply; it has a limit, because small models would not stop."""
    queries = {"type": "array", "items": {"type": "string"}, "maxItems": number}
    return {
        "type": "object",
        "properties": {"queries": queries},
        "required": ["queries"],
        "additionalProperties": False,
    }


def queries_of_reply(reply: str, *, cut: bool = False) -> tuple[str, ...]:
    """Return the queries in the JSON object that ends a reply; there may be none.

    Args:
        reply: what the model wrote.
        cut: it was cut off, so that only an object that is the whole reply is complete.

    Raises:
        UnjudgedError: ``empty``, ``refusal``, ``truncated``, ``contradiction`` or ``unreadable``.
    """
    end = reply.rfind("}") + 1
    last_object = Objects(reply).before(end)
    queries = last_object[1].get("queries") if last_object else None
    if last_object is None or not _are_texts(queries):
        raise no_answer(reply, "queries")
    spoken = check_before(reply, last_object[0], answer="queries")
    check_after(reply, end, answer="queries")
    if cut and not is_gap(reply, spoken, last_object[0].start):
        raise cut_short(reply)
    return tuple(query for query in (" ".join(clean(query).split()) for query in queries) if query)


def screen(replies: Sequence[tuple[Document, Sequence[str]]], *, per_document: int) -> Screened:
    """Keep the queries that are fit for use, in their order.

    Args:
        replies: each document with the queries that were written for it.
        per_document: no more than this many are kept of each reply.
    """
    written: list[Written] = []
    dropped: Counter[str] = Counter()
    so_far = _QueriesSoFar()
    for document, texts in replies:
        good = 0
        for text in texts:
            reason = "more than asked for" if good == per_document else fault(text, document)
            if reason is None and not so_far.add(text):
                reason = "near-duplicate"
            if reason is None:
                good += 1
                written.append(Written(Query(_query_id(document, text), text), document.doc_id))
            else:
                dropped[reason] += 1
    return Screened(tuple(written), dict(dropped))


def fault(text: str, document: Document) -> str | None:
    """Return why a query is unfit to test retrieval of its document; None if it is fit."""
    if not any(character.isalnum() for character in text):
        return "no words"
    n_words = words_up_to(text)
    if n_words > LONGEST_WORDS:
        return "too long"
    if _NAMES_IT.search(text):
        return "names the document"
    return "copied" if n_words >= COPIED_WORDS and _is_copied(text, document) else None


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_copied(text: str, document: Document) -> bool:
    from rapidfuzz import fuzz, utils  # noqa: PLC0415

    source = f"{document.title}\n{document.text}"
    likeness = fuzz.partial_ratio(
        utils.default_process(text), utils.default_process(source), score_cutoff=COPIED
    )
    return bool(likeness)


class _QueriesSoFar:
    """The queries so far; those with other numbers in them are other queries, however alike."""

    def __init__(self) -> None:
        self._by_numbers: dict[tuple[str, ...], list[str]] = {}

    def add(self, text: str) -> bool:
        """Add a query; return False if an earlier one is nearly the same."""
        from rapidfuzz import fuzz, process, utils  # noqa: PLC0415

        plain = utils.default_process(text)
        numbers = sorted(word for word in plain.split() if any(map(str.isdigit, word)))
        same_numbers = self._by_numbers.setdefault(tuple(numbers), [])
        near = process.extract_iter(
            plain,
            same_numbers,
            scorer=fuzz.token_sort_ratio,
            processor=None,
            score_cutoff=SAME_QUERY,
        )
        long_words = _long_words(plain)
        for other, _, _ in near:
            if fuzz.token_sort_ratio(long_words, _long_words(other)) >= SAME_LONG_WORDS:
                return False
        same_numbers.append(plain)
        return True


def _long_words(plain: str) -> str:
    return " ".join(word for word in plain.split() if len(word) > 3)


def _query_id(document: Document, text: str) -> str:
    """Return an id that depends only on the query and its document."""
    return f"q-{digest('query', document.doc_id, text, size=6).hex()}"
