"""One tiny call to a judge: a matchup with an obvious answer, by the judge's own prompt.

A server of one's own may cut a prompt that its context does not hold, without a word. So it gets a
second call, as long as the battles' will be, if it is fast enough.
"""

from __future__ import annotations

import time
from itertools import cycle, islice
from typing import Final

from arena.checking.rows import Row, failed
from arena.checking.tries import GOOD, PATIENCE, POOR, QUERY, Datasets, Means
from arena.config import JudgeConfig
from arena.endpoint.address import is_own
from arena.endpoint.client import Api, run
from arena.errors import UnjudgedError, UsageError
from arena.experiment.panel import endpoint_of
from arena.judging.judges import open_judge, prompt_name
from arena.judging.prompt import load_prompt
from arena.progress import dollars
from arena.records import Document, Exhibit, Verdict

_OF_LENGTH: Final = ("bad_request", "prompt_cut")
"""Reasons that every prompt as long as this one would meet."""
_TOO_SLOW: Final = "too slow to try a prompt as long as the battles'"
_PER_WORD: Final = 1.4
"""Tokens, about."""


def try_judge(config: JudgeConfig, datasets: Datasets, means: Means) -> Row:
    """Have a judge decide a matchup with an obvious answer, by its own prompt.

    Raises:
        ArenaError: it does not work; an unreadable reply is no verdict.
    """
    kind = f"judge {config.kind}"
    if config.kind == "qrels":
        if (loaded := datasets()) is None:
            return Row(config.log_name, kind, "not tried", "not tried", "needs the data sets")
        if without := [dataset.name for dataset in loaded if not dataset.qrels]:
            names = ", ".join(without)
            raise UsageError(f"{names}: has no qrels to judge by; use an LLM judge")
        return Row(config.log_name, kind, "ok", cost_usd=0.0)
    config = config.model_copy(update={"timeout_s": min(config.timeout_s, means.timeout_s)})
    prices = (config.price_per_1m_input_tokens or 0.0, config.price_per_1m_output_tokens or 0.0)
    try:
        verdict, remark = run(_verdict(config, means))
    except UnjudgedError as error:
        return failed(
            config.log_name, kind, error, cost_usd=error.cost_usd if config.priced else None
        )
    usage, said = verdict.usage, verdict.winner
    cost_usd = usage.cost_usd if config.priced else None
    return Row(
        config.log_name,
        kind,
        "ok",
        latency_ms=usage.latency_ms,
        prices=prices if config.priced else (),
        tokens=usage.input_tokens + usage.output_tokens,
        cost_usd=cost_usd,
        notes=(
            "rightly said first" if said == "first" else f"wrongly said {said}",
            f"{usage.input_tokens:,}+{usage.output_tokens:,} tokens"
            + ("" if cost_usd is None else f", {dollars(cost_usd)}"),
            *((remark,) if remark else ()),
        ),
    )


async def _verdict(config: JudgeConfig, means: Means) -> tuple[Verdict, str]:
    """The verdict on a tiny matchup, and a remark on one as long as the battles'."""
    until = time.monotonic() + means.timeout_s
    prompt = load_prompt(prompt_name(config), folder=means.folder)
    async with Api(endpoint_of(config), retry=PATIENCE) as api:
        judge = open_judge(config, api, prompt=prompt, top_k=means.top_k)
        verdict = await judge.judge(Exhibit("check", QUERY, (GOOD,), (POOR,)))
        if config.priced or not is_own(endpoint_of(config)):
            return verdict, ""
        long = _long_exhibit(config, means.top_k)
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


def _long_exhibit(config: JudgeConfig, top_k: int) -> Exhibit:
    """Lists as long as the experiment's; a pointwise judge reads one document at a time."""
    words = (GOOD.text + " " + POOR.text).split()
    text = " ".join(islice(cycle(words), config.document_words))
    n_documents = 1 if config.kind == "pointwise" else top_k
    shown = tuple(Document(f"long-{i}", text) for i in range(n_documents))
    return Exhibit("check", QUERY, shown, shown)
