"""From an arena.toml and measurements to what each model takes and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Final, Literal, get_args

from arena.config.models import HostedProvider, LocalProvider, ServerProvider
from arena.cost.formula import FREE, Rates
from arena.endpoint.address_and_key import Endpoint, is_own
from arena.records import RetrievalStats

Section = Mapping[str, Any]
"""A ``[[models]]`` section as the arena.toml has it."""

Kind = Literal["hosted", "server", "local", "stated"]
"""Who runs a model: a provider, you on a server, arena, or nobody knows (a program, a run file)."""

_OWN_RERANKERS: Final[Mapping[str, Kind]] = {"cross-encoder": "local", "tei": "server"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of a model."""

    stats: RetrievalStats
    base: RetrievalStats | None = None  #: of the run that it reranks
    n_corpus: int | None = None  #: passages of the data set, before the model cuts its own


def model_rates(section: Section, measurements: Sequence[Measurement]) -> Rates:
    """Return what a model takes: the mean over data sets of what was measured on each.

    Args:
        section: its settings and prices.
        measurements: one for each data set; empty if none was made.
    """
    if section.get("fuse"):
        return replace(FREE, below=below(section))  # merging takes microseconds
    kind = _kind(section)
    per_token, per_month = section.get("price_per_1m_tokens"), section.get("price_per_month")
    per_hour, per_1k = section.get("price_per_hour"), section.get("price_per_1k_queries")
    is_stated = any(price is not None for price in (per_token, per_month, per_1k))
    by_hour = per_hour is not None or (kind in ("server", "local") and not is_stated)
    unpriced = not is_stated and not by_hour
    seconds = _means(map(_seconds, measurements)) if by_hour else (0.0, 0.0)
    has_vectors = kind != "stated" and section.get("provider") not in (None, "bm25")
    reranks = section.get("rerank") is not None
    return Rates(
        tokens_per_passage=0.0
        if reranks
        else _mean([m.stats.tokens_per_document for m in measurements]),
        tokens_per_query=_mean([m.stats.tokens_per_query for m in measurements]),
        price_per_1m_tokens=None if unpriced and kind != "stated" else per_token or 0.0,
        bytes_per_passage=_mean([m.stats.bytes_per_vector for m in measurements])
        if has_vectors
        else 0.0,
        seconds_per_passage=0.0 if reranks else seconds[0],
        seconds_per_query=seconds[1],
        price_per_hour=per_hour,
        price_per_1k_queries=per_1k or 0.0,
        price_per_month=None if unpriced and kind == "stated" else per_month or 0.0,
        machine="none" if not by_hour else "local" if kind == "local" else "server",
        needs_price=_needs_price(kind, reranks=reranks),
        vectors_per_passage=_mean([_own_cut(m) for m in measurements]) or 1.0,
        below=below(section),
    )


def _own_cut(measured: Measurement) -> float:
    """Return how many texts the model searches for each passage of the data set."""
    searched, corpus = measured.stats.n_documents, measured.n_corpus
    return searched / corpus if searched and corpus else 1.0


def below(section: Section) -> tuple[str, ...]:
    """Return the names of the models whose runs a model is made of."""
    base = section.get("base", section.get("over"))
    return tuple(section.get("fuse") or (() if base is None else (base,)))


def passages_per_document(datasets: Sequence[Mapping[str, Any]]) -> float | None:
    """Return how many passages arena cut a document into; None if documents were not files.

    Args:
        datasets: the manifest's entries: ``documents`` counts passages.
    """
    wholes = [(d["documents"], d.get("whole_documents")) for d in datasets]
    return _mean([passages / n_wholes if n_wholes else None for passages, n_wholes in wholes])


def _kind(section: Section) -> Kind:
    provider, reranker = section.get("provider"), section.get("rerank")
    if reranker is not None:
        return _OWN_RERANKERS.get(reranker, "hosted")
    if provider in get_args(LocalProvider):
        return "local"
    if provider in get_args(ServerProvider):
        return "server"
    if provider in get_args(HostedProvider):
        url = section.get("base_url")
        return "server" if url and is_own(Endpoint(url, None)) else "hosted"
    return "stated"


def _needs_price(kind: Kind, *, reranks: bool) -> str:
    if kind == "stated":
        return "price_per_month or price_per_1k_queries"
    return "price_per_1m_tokens or price_per_1k_queries" if reranks else "price_per_1m_tokens"


def _seconds(measured: Measurement) -> tuple[float | None, float | None]:
    """Return the seconds of a passage and of a query, without those of a run that it reranks."""
    stats, base = measured.stats, measured.base
    per_passage = 1 / stats.documents_per_s if stats.documents_per_s else None
    if not stats.latency_ms:
        return per_passage, None
    milliseconds = fmean(stats.latency_ms)
    if base is not None and base.latency_ms and stats.latency_without is None:
        # As many samples as the reranker has: `with_base` added those.
        milliseconds -= fmean(base.latency_ms[: len(stats.latency_ms)])
    return per_passage, max(milliseconds, 0.0) / 1000


Two = tuple[float | None, float | None]


def _means(pairs: Iterator[Two]) -> Two:
    rows = list(pairs)
    return _mean([first for first, _ in rows]), _mean([second for _, second in rows])


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if there is no value, or one is unknown."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
