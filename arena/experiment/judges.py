"""The judges of an experiment, opened together: one, or a panel of several."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from arena.config import JudgeConfig
from arena.data.passage_corpus import PassageCorpus, qrels_by_parent
from arena.endpoint.client import Api
from arena.errors import UsageError
from arena.experiment.experiment import PreparedExperiment
from arena.files import cache_folder
from arena.judging.budget import Budget
from arena.judging.chat import Delivered
from arena.judging.endpoint_facts import Learned
from arena.judging.judge import Judge
from arena.judging.open import endpoint_of, open_judge
from arena.judging.prompt import Prompt
from arena.judging.qrels import qrels_judge
from arena.judging.reply_cache import VerdictCache
from arena.records import Grade
from arena.store.folder import Folder


@dataclass(frozen=True, slots=True)
class ConfiguredJudge:
    """One judge of an experiment."""

    config: JudgeConfig
    prompt: Prompt | None  #: None for a judge that is no LLM
    judge: Judge
    api: Api  #: its endpoint; never used by a judge that is no LLM


@dataclass(frozen=True, slots=True)
class JudgeResources:
    """What judges draw on, and where they leave what they find out."""

    budgets: Mapping[str, Budget] = field(default_factory=dict)  #: judge → what it may spend
    cache: VerdictCache | None = None  #: replies paid for before, by any experiment
    on_grade: Callable[[Grade], None] | None = None  #: told of each document's grade
    learned: Learned | None = None  #: what earlier runs found out about endpoints
    delivered: Mapping[str, Delivered] = field(default_factory=dict)
    """Judge → replies that came by batch job; the others ask their endpoints."""


@asynccontextmanager
async def open_judges(
    prepared: PreparedExperiment,
    *,
    budgets: Mapping[str, Budget],
    on_grade: Callable[[Grade], None],
    log: Callable[[str], None],
) -> AsyncIterator[tuple[ConfiguredJudge, ...]]:
    """Open every judge's endpoint, and the cache of verdicts that experiments share.

    Args:
        prepared: the experiment.
        budgets: judge → what it may spend.
        on_grade: told of each document's grade by a pointwise judge.
        log: told when an endpoint is down, and when it is back.

    Raises:
        FatalApiError: an endpoint's key or address is missing.
        UsageError: two judges differ only in their names.
        DataError: the cache cannot be opened.
    """
    async with AsyncExitStack() as stack:
        origin, cache = prepared.experiment.origin, None
        if origin is None or not origin.bypasses_cache:
            cache = stack.enter_context(VerdictCache(cache_folder()))
        learned = Learned(Folder(prepared.experiment.folder).learned)
        resources = JudgeResources(budgets, cache, on_grade, learned)
        judges = []
        for config in prepared.config.judges:
            api = Api(endpoint_of(config), on_event=log)
            if config.kind != "qrels" and config.log_name not in prepared.own_judges:
                await stack.enter_async_context(api)
            judges.append(_configured(prepared, config, api, resources))
        yield _different(judges)


def closed_judges(
    prepared: PreparedExperiment, resources: JudgeResources | None = None
) -> tuple[ConfiguredJudge, ...]:
    """Return the judges without their endpoints: they are not to be asked anything live.

    Args:
        prepared: the experiment.
        resources: what judges draw on; nothing if absent.

    Raises:
        UsageError: two judges differ only in their names.
    """
    return _different(
        [
            _configured(prepared, config, Api(endpoint_of(config)), resources or JudgeResources())
            for config in prepared.config.judges
        ]
    )


def _different(judges: Sequence[ConfiguredJudge]) -> tuple[ConfiguredJudge, ...]:
    """Return the judges, if no two of them would share their battles.

    Raises:
        UsageError: two judges differ only in their names.
    """
    by_fingerprint: dict[str, str] = {}
    for configured in judges:
        name, fingerprint = configured.judge.name, configured.judge.fingerprint
        other = by_fingerprint.setdefault(fingerprint, name)
        if other != name:
            raise UsageError(
                f"judges {other} and {name} differ only in their names: "
                "give one of them another model, prompt or setting, or leave it out"
            )
    return tuple(judges)


def _configured(
    prepared: PreparedExperiment, config: JudgeConfig, api: Api, resources: JudgeResources
) -> ConfiguredJudge:
    """Return the judge of one section: the user's own, the qrels judge, or an LLM."""
    if own := prepared.own_judges.get(config.log_name):
        return ConfiguredJudge(config, None, own, api)
    top_k = prepared.config.experiment.top_k
    prompt = prepared.prompts[config.log_name]
    if prompt is None:
        datasets = prepared.data.datasets
        qrels = {name: qrels_by_parent(d.qrels, d.corpus) for name, d in datasets.items()}
        parents = {
            name: dataset.corpus.parent_of
            for name, dataset in datasets.items()
            if isinstance(dataset.corpus, PassageCorpus)
        }
        return ConfiguredJudge(config, None, qrels_judge(qrels, top_k, parents), api)
    judge = open_judge(
        config,
        api,
        prompt=prompt,
        top_k=top_k,
        budget=resources.budgets.get(config.log_name),
        cache=resources.cache,
        learned=resources.learned,
        on_grade=resources.on_grade,
        delivered=resources.delivered.get(config.log_name),
    )
    return ConfiguredJudge(config, prompt, judge, api)
