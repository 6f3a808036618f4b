"""Open the language-model judge of a configuration."""

from __future__ import annotations

from collections.abc import Callable

from arena.config import JudgeConfig
from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.client import Api
from arena.errors import ConfigError
from arena.judging.budget import Budget
from arena.judging.capabilities import ResponseFormat
from arena.judging.chat import Chat, Delivered
from arena.judging.endpoint_facts import Learned
from arena.judging.judge import RequestJudge
from arena.judging.pairwise import LETTERS, letter_judge, llm_judge
from arena.judging.pointwise import SCALES, pointwise_judge
from arena.judging.prompt import PLACEHOLDERS, POINTWISE_PLACEHOLDERS, Prompt
from arena.judging.reply_cache import VerdictCache
from arena.records import Grade


def prompt_name(config: JudgeConfig) -> str:
    """Return the template that a judge uses: the one that is configured, else that of its kind."""
    if "prompt" in config.model_fields_set:
        return config.prompt
    if config.kind == "pointwise":
        return "pointwise" if config.scale == "graded" else "pointwise-binary"
    return "letter" if config.answer == "letter" else "pairwise"


def open_judge(  # noqa: PLR0913, what a judge is made of, each named
    config: JudgeConfig,
    api: Api,
    *,
    prompt: Prompt,
    top_k: int,
    budget: Budget | None = None,
    cache: VerdictCache | None = None,
    learned: Learned | None = None,
    on_grade: Callable[[Grade], None] | None = None,
    delivered: Delivered | None = None,
) -> RequestJudge:
    """Return the judge of a configuration; not the qrels judge, which is no language model.

    Args:
        config: kind and answer say which judge it is.
        api: the endpoint; opened and closed by the caller.
        prompt: the template, of the name that `prompt_name` gives.
        top_k: ranks that a pointwise judge counts.
        budget: what it may cost; no limit if absent.
        cache: replies paid for before; none if absent.
        learned: what earlier runs found out about the endpoint; nothing if absent.
        on_grade: told of each document's grade by a pointwise judge.
        delivered: replies that came by batch job; the endpoint is asked if absent.

    Raises:
        ConfigError: the template shows two lists to a pointwise judge, or one document to
            another.
    """
    pointwise = config.kind == "pointwise"
    placeholders = POINTWISE_PLACEHOLDERS if pointwise else PLACEHOLDERS
    if prompt.placeholders != placeholders:
        needs = ", ".join(f"{{{{{word}}}}}" for word in placeholders)
        raise ConfigError(prompt.name, [f'a prompt for kind = "{config.kind}" needs {needs}'])
    if not pointwise and config.answer == "json":
        return llm_judge(
            config, prompt, api, budget=budget, cache=cache, learned=learned, delivered=delivered
        )
    form = ResponseFormat(labels=SCALES[config.scale] if pointwise else tuple(LETTERS))
    chat = Chat(config, api, form, budget=budget, cache=cache, learned=learned, delivered=delivered)
    if pointwise:
        return pointwise_judge(config, prompt, chat, top_k=top_k, on_grade=on_grade)
    return letter_judge(config, prompt, chat)


def endpoint_of(config: JudgeConfig) -> Endpoint:
    """Return where a judge's requests go."""
    return Endpoint(
        config.base_url,
        config.api_key_env,
        config.timeout_s,
        config.concurrency,
        rpm=config.rpm,
        tpm=config.tpm,
    )
