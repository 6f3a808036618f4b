"""One tiny call to a model, by the same path that an experiment takes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.checking.rows import CheckRow, failed
from arena.config import JudgeConfig, ModelConfig
from arena.data.run_file import read_run
from arena.embedding.open import open_embedder
from arena.embedding.providers import PRESETS
from arena.endpoint.address_and_key import is_own
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, run
from arena.errors import ApiError, UnjudgedError, UsageError
from arena.judging.open import endpoint_of, open_judge, prompt_name
from arena.judging.prompt import load_prompt
from arena.records import Dataset, Document, JudgeInput, Query, Verdict
from arena.retrieval.fuse import refuse_untunable
from arena.retrieval.rerank import open_reranker
from arena.retrieval.rerankers import Candidates
from arena.retrieval.retrieve import retrieve
from arena.terminal import dollars

PATIENCE: Final = Retry(attempts=2, first_contact=1)
"""A check is to say what is wrong, not to wait until it is well."""

QUERY: Final = Query("q", "How long may parents stay at home after the birth of a child?")

GOOD: Final = Document(
    "good",
    "After the birth of a child parents may stay at home for fourteen weeks with full pay, and "
    "for up to three years without.",
    title="Parental leave",
)

POOR: Final = Document(
    "poor",
    "The printer on the second floor takes paper from the cupboard beside it.",
    title="Printer",
)

_TINY: Final = Dataset("check", {d.doc_id: d for d in (GOOD, POOR)}, {"q": QUERY}, {})
Datasets = Callable[[], Sequence[Dataset] | None]
"""Waits until the experiment's data sets are loaded; None if they are not to be."""

_SAME: Final = 0.9999
"""Cosine of two vectors of one text, beyond which a model makes no difference between roles."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a try may use."""

    folder: Path  #: the arena.toml's
    cache: Path  #: an empty folder, thrown away afterwards
    timeout_s: float  #: for each reply
    top_k: int = 5  #: documents that a judge is shown of each list
    sample: Callable[[Dataset], Sequence[str]] = lambda dataset: tuple(dataset.queries)
    """Returns the queries of a data set that the experiment takes."""
    here: threading.Lock = field(default_factory=threading.Lock)  #: held by one local model at most


def try_model(model: ModelConfig, datasets: Datasets, means: Means) -> CheckRow:
    """Try a model: let it rank something.

    Args:
        model: any kind.
        datasets: the experiment's, asked for by models that know no other.
        means: what may be used.

    Raises:
        ArenaError: it does not work.
    """
    model = model.model_copy(update={"timeout_s": min(model.timeout_s, means.timeout_s)})
    if model.run is not None:
        return _try_run(model, model.run, datasets)
    if model.command is not None:
        return _try_command(model, datasets, means)
    if model.fuse is not None:
        return _try_fusion(model, model.fuse, datasets, means)
    # Several local models at once might not fit into memory, though each of them does.
    with means.here if _runs_here(model) else nullcontext():
        if model.rerank is not None:
            return _try_reranker(model)
        if model.provider in ("bm25", "splade", "colbert"):  # these make no vectors to look at
            _, stats = retrieve(model, _TINY, ["q"], cache=means.cache)
            return CheckRow(
                model.name, model_kind(model), "ok", latency_ms=_first(stats.latency_ms)
            )
        return _try_embedder(model)


def _try_fusion(
    model: ModelConfig, members: Sequence[str], datasets: Datasets, means: Means
) -> CheckRow:
    for dataset in datasets() or () if model.weights == "tuned" else ():
        refuse_untunable(model, dataset, means.sample(dataset))
    return CheckRow(
        model.name, model_kind(model), "ok", notes=(f"works if {' and '.join(members)} do",)
    )


def model_kind(model: ModelConfig) -> str:
    """Return the kind of model, in a word or two."""
    if model.run is not None:
        return "run file"
    if model.command is not None:
        return "command"
    if model.fuse is not None:
        return "fusion"
    return f"reranker {model.rerank}" if model.rerank is not None else str(model.provider)


def _runs_here(model: ModelConfig) -> bool:
    if model.rerank is not None:
        return model.rerank == "cross-encoder"
    return model.provider not in PRESETS


def _try_embedder(model: ModelConfig) -> CheckRow:
    """Send one request for documents, with the query's text among them, and one for the query."""
    with open_embedder(model, _TINY.corpus, retry=PATIENCE) as embedder:
        documents = embedder.embed([GOOD.text, POOR.text, QUERY.text], "document")
        query = embedder.embed([QUERY.text], "query")
    dimension = _checked(model, documents.vectors, query.vectors)
    tokens = [part.tokens for part in (documents, query) if part.tokens is not None]
    total = sum(tokens) if len(tokens) == 2 else None
    price = model.price_per_1m_tokens
    is_symmetric = _cosine(documents.vectors[2], query.vectors[0]) > _SAME
    return CheckRow(
        model.name,
        model_kind(model),
        "ok",
        dimension=dimension,
        latency_ms=query.seconds * 1000,
        prices=() if price is None else (price,),
        tokens=total,
        cost_usd=None if price is None or total is None else total * price / 1e6,
        notes=(f"queries and documents {'alike' if is_symmetric else 'told apart'}",),
    )


def _checked(model: ModelConfig, documents: NDArray[np.float32], query: NDArray[np.float32]) -> int:
    """Return the dimension of the vectors.

    Raises:
        ApiError: they are not what was asked for.
    """
    if documents.shape[0] != 3 or query.shape[0] != 1:
        counts = f"{documents.shape[0]} vectors for 3 texts, {query.shape[0]} for 1"
        raise ApiError("garbage", counts)
    dimension = documents.shape[1]
    if query.shape[1] != dimension:
        counts = f"{query.shape[1]} numbers for a query, {dimension} for a document"
        raise ApiError("garbage", counts)
    dimensions = dimension if model.dimensions is None else model.dimensions
    if dimension < dimensions:
        raise ApiError("garbage", f"{dimension} numbers where dimensions = {dimensions}")
    for role, vectors in (("document", documents), ("query", query)):
        if not np.isfinite(vectors).all():
            raise ApiError("garbage", f"the vector of a {role} holds NaN or an infinity")
        if not vectors.any(axis=1).all():
            raise ApiError("garbage", f"the vector of a {role} is all zeros")
    return int(dimensions)


def _try_run(model: ModelConfig, pattern: str, datasets: Datasets) -> CheckRow:
    if (loaded := datasets()) is None:
        missing = [pattern] if "{dataset}" not in pattern and not Path(pattern).is_file() else []
        if missing:
            raise UsageError(f"{pattern}: no such file")
        return CheckRow(model.name, "run file", "not tried", "not tried", "needs the data sets")
    notes = []
    for dataset in loaded:
        path = Path(pattern.replace("{dataset}", dataset.name))
        loaded_run = read_run(
            path,
            dataset=dataset,
            model=model.name,
            query_ids=list(dataset.queries),
            complete=False,
        )
        answered = sum(bool(loaded_run.rankings.get(query_id)) for query_id in dataset.queries)
        notes.append(f"{dataset.name}: {answered:,} of {len(dataset.queries):,} queries")
    return CheckRow(model.name, "run file", "ok", notes=tuple(notes))


def _try_command(model: ModelConfig, datasets: Datasets, means: Means) -> CheckRow:
    """Ask a program one query of each data set, because it knows only its own corpus."""
    if (loaded := datasets()) is None:
        return CheckRow(model.name, "command", "not tried", "not tried", "needs the data sets")
    notes, latency_ms = [], None
    for dataset in loaded:
        first = list(dataset.queries)[:1]
        made, stats = retrieve(model, dataset, first, cache=means.cache)
        notes.append(f"{dataset.name}: {len(made.rankings[first[0]]):,} documents")
        latency_ms = latency_ms or _first(stats.latency_ms)
    return CheckRow(model.name, "command", "ok", latency_ms=latency_ms, notes=tuple(notes))


def _try_reranker(model: ModelConfig) -> CheckRow:
    pair = Candidates((model.query_prefix or "") + QUERY.text, (POOR.text, GOOD.text))
    with open_reranker(model, retry=PATIENCE) as reranker:
        ((_, scored),) = reranker.score([pair], alone=True)
    if len(scored.scores) != 2 or not all(map(math.isfinite, scored.scores)):
        raise ApiError("garbage", f"{len(scored.scores)} scores for 2 documents")
    poor, good = scored.scores
    price = model.price_per_1m_tokens
    return CheckRow(
        model.name,
        model_kind(model),
        "ok",
        latency_ms=scored.latency_ms,
        prices=() if price is None else (price,),
        tokens=scored.tokens,
        cost_usd=None if price is None or scored.tokens is None else scored.tokens * price / 1e6,
        notes=(
            "scored the right document higher" if good > poor else "WRONG: preferred a printer",
        ),
    )


def _first(samples: Sequence[float]) -> float | None:
    return samples[0] if samples else None


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else 0.0


_OF_LENGTH: Final = ("bad_request", "prompt_cut")
"""Reasons that every prompt as long as this one would meet."""

_TOO_SLOW: Final = "too slow to try a prompt as long as the battles'"
_PER_WORD: Final = 1.4
"""Tokens, about."""


def try_judge(config: JudgeConfig, datasets: Datasets, means: Means) -> CheckRow:
    """Try a judge: let it decide a matchup with an obvious answer, by its own prompt.

    Raises:
        ArenaError: it does not work; an unreadable reply is no verdict.
    """
    kind = f"judge {config.kind}"
    if config.kind == "qrels":
        if (loaded := datasets()) is None:
            return CheckRow(config.log_name, kind, "not tried", "not tried", "needs the data sets")
        if without := [dataset.name for dataset in loaded if not dataset.qrels]:
            names = ", ".join(without)
            raise UsageError(f"{names}: has no qrels to judge by; use an LLM judge")
        return CheckRow(config.log_name, kind, "ok", cost_usd=0.0)
    config = config.model_copy(update={"timeout_s": min(config.timeout_s, means.timeout_s)})
    prices = (config.price_per_1m_input_tokens or 0.0, config.price_per_1m_output_tokens or 0.0)
    try:
        verdict, remark = run(_verdict(config, means))
    except UnjudgedError as error:
        return failed(
            config.log_name, kind, error, cost_usd=error.cost_usd if config.priced else None
        )
    usage, winner = verdict.usage, verdict.winner
    cost_usd = usage.cost_usd if config.priced else None
    return CheckRow(
        config.log_name,
        kind,
        "ok",
        latency_ms=usage.latency_ms,
        prices=prices if config.priced else (),
        tokens=usage.input_tokens + usage.output_tokens,
        cost_usd=cost_usd,
        notes=(
            "rightly said first" if winner == "first" else f"wrongly said {winner}",
            f"{usage.input_tokens:,}+{usage.output_tokens:,} tokens"
            + ("" if cost_usd is None else f", {dollars(cost_usd)}"),
            *((remark,) if remark else ()),
        ),
    )


async def _verdict(config: JudgeConfig, means: Means) -> tuple[Verdict, str]:
    """Return the verdict on a tiny matchup, and a note on one as long as the battles'."""
    until = time.monotonic() + means.timeout_s
    prompt = load_prompt(prompt_name(config), folder=means.folder)
    async with Api(endpoint_of(config), retry=PATIENCE) as api:
        judge = open_judge(config, api, prompt=prompt, top_k=means.top_k)
        verdict = await judge.judge(JudgeInput("check", QUERY, (GOOD,), (POOR,)))
        if config.priced or not is_own(endpoint_of(config)):
            return verdict, ""
        long = _long_input(config, means.top_k)
        n_tokens = _PER_WORD * sum(len(d.text.split()) for d in (*long.first, *long.second))
        longer = 1 + n_tokens / max(1, verdict.usage.input_tokens)
        if longer * verdict.usage.latency_ms / 1000 > until - time.monotonic():
            return verdict, _TOO_SLOW
        try:
            await judge.judge(long)
        except UnjudgedError as error:
            if error.reason in _OF_LENGTH:
                raise
        return verdict, ""


def _long_input(config: JudgeConfig, top_k: int) -> JudgeInput:
    """Return lists as long as the experiment's; a pointwise judge reads one document at a time."""
    words = (GOOD.text + " " + POOR.text).split()
    text = " ".join(islice(cycle(words), config.document_words))
    n_documents = 1 if config.kind == "pointwise" else top_k
    shown = tuple(Document(f"long-{i}", text) for i in range(n_documents))
    return JudgeInput("check", QUERY, shown, shown)
