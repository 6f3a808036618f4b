"""What a run will take, before anything is paid: battles, calls, tokens, dollars.

Nothing is asked of any endpoint. Where a model's lists are not on disk yet, documents drawn
from the corpus stand in for them: the prompts they make are of the same size.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from arena.config import JudgeConfig, ModelConfig
from arena.experiment.material import Experiment, Material, stored_run
from arena.experiment.plan import same_lists
from arena.experiment.play import Lists
from arena.judging.prompt import Prompt, render
from arena.progress import duration
from arena.records import Dataset, Matchup, Run, ScoredDoc
from arena.retrieval.retrieve import passage

RENDERED: Final = 200
"""Prompts that are rendered to be measured; the others are taken to be like them."""

CHARACTERS_PER_TOKEN: Final = 4.0
"""OpenAI's rule of thumb for English; other scripts need more tokens."""

TOKENS_PER_REPLY: Final = 150
"""A few sentences on each list, and a verdict."""

SECONDS_PER_CALL: Final = 2.0
IN_FLIGHT: Final = 64
"""Calls of a hosted model that writes a short analysis, and how many of them at once."""


@dataclass(frozen=True, slots=True)
class Unretrieved:
    """A run that is not on disk yet."""

    dataset: str
    model: str
    tokens: int  #: of the texts to embed, estimated; 0 for models that run here
    cost_usd: float | None  #: None where the config has no price


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left to do, and about what it takes."""

    n_battles: int  #: planned in all
    n_unplayed: int  #: of them not in the log
    n_calls: int  #: of those, the ones that the judge is asked about
    input_tokens: int
    output_tokens: int
    cost_usd: float | None  #: of the calls; None where the config has no prices
    unretrieved: Sequence[Unretrieved] = ()

    def lines(self) -> list[str]:
        """The estimate as people read it."""
        found = [
            f"battles      {self.n_battles:>12,}",
            f"in the log   {self.n_battles - self.n_unplayed:>12,}",
            f"free         {self.n_unplayed - self.n_calls:>12,}  same lists, or judged by qrels",
            f"judge calls  {self.n_calls:>12,}",
        ]
        if self.n_calls:
            seconds = self.n_calls * SECONDS_PER_CALL / IN_FLIGHT
            found += [
                f"tokens in    {self.input_tokens:>12,}  {CHARACTERS_PER_TOKEN:g} characters each",
                f"tokens out   {self.output_tokens:>12,}  {TOKENS_PER_REPLY} a reply",
                f"price        {_dollars(self.cost_usd)}",
                f"time         {duration(seconds):>12}  {IN_FLIGHT} calls at once",
            ]
        for run in self.unretrieved:
            found.append(
                f"to retrieve: {run.dataset} with {run.model}"
                + (
                    f", {run.tokens:,} tokens, {_dollars(run.cost_usd).strip()}"
                    if run.tokens
                    else ""
                )
            )
        if self.unretrieved:
            found.append("random documents stand in for lists that are not retrieved yet")
        return found


def estimate(
    n_battles: int,
    unplayed: Sequence[Matchup],
    lists: Lists,
    judge: JudgeConfig,
    prompt: Prompt | None,
) -> Estimate:
    """Estimate the judge's work from prompts rendered for the lists that it would read.

    Tokens are characters over four: good to about a fifth for English prose, and too low for
    scripts that tokenizers know less well.

    Args:
        n_battles: planned in all.
        unplayed: the matchups that have no battle in the log.
        lists: what the models retrieved.
        judge: its settings and prices.
        prompt: None for a judge that is not an LLM.
    """
    asked = [m for m in unplayed if not same_lists(lists.exhibit(m))] if prompt else []
    n_input = n_output = 0
    if prompt and asked:
        sample = random.Random(0).sample(asked, min(RENDERED, len(asked)))  # noqa: S311
        characters = sum(_characters(matchup, lists, judge, prompt) for matchup in sample)
        n_input = round(len(asked) * characters / len(sample) / CHARACTERS_PER_TOKEN)
        n_output = len(asked) * min(TOKENS_PER_REPLY, judge.max_tokens)
    price_in, price_out = judge.price_per_1m_input_tokens, judge.price_per_1m_output_tokens
    return Estimate(
        n_battles=n_battles,
        n_unplayed=len(unplayed),
        n_calls=len(asked),
        input_tokens=n_input,
        output_tokens=n_output,
        cost_usd=None
        if price_in is None or price_out is None
        else (n_input * price_in + n_output * price_out) / 1e6,
    )


def stored_or_stand_in(
    experiment: Experiment, material: Material
) -> tuple[list[Run], list[Unretrieved]]:
    """Every run: from the disk, or made up of random documents where it is not there."""
    runs, unretrieved = [], []
    for name, dataset in material.datasets.items():
        queries = material.queries[name]
        for model in experiment.config.models:
            run = stored_run(experiment, model, dataset, queries)
            if run is None:
                unretrieved.append(_unretrieved(model, dataset, queries))
                run = _stand_in(model.name, dataset, queries, experiment.config.experiment.top_k)
            runs.append(run)
    return runs, unretrieved


def _unretrieved(model: ModelConfig, dataset: Dataset, queries: Sequence[str]) -> Unretrieved:
    if model.provider != "openai":
        return Unretrieved(dataset.name, model.name, 0, 0.0)
    characters = sum(len(passage(document)) for document in dataset.corpus.values())
    characters += sum(len(dataset.queries[query_id].text) for query_id in queries)
    tokens = round(characters / CHARACTERS_PER_TOKEN)
    price = model.price_per_1m_tokens
    return Unretrieved(
        dataset.name, model.name, tokens, None if price is None else tokens * price / 1e6
    )


def _stand_in(model: str, dataset: Dataset, queries: Sequence[str], top_k: int) -> Run:
    draw = random.Random(model)  # noqa: S311
    doc_ids = list(dataset.corpus)
    rankings = {
        query_id: tuple(
            ScoredDoc(doc_id, 0.0) for doc_id in draw.sample(doc_ids, min(top_k, len(doc_ids)))
        )
        for query_id in queries
    }
    return Run(dataset.name, model, rankings)


def _characters(matchup: Matchup, lists: Lists, judge: JudgeConfig, prompt: Prompt) -> int:
    exhibit = lists.exhibit(matchup)
    messages = render(prompt, exhibit, document_words=judge.document_words)
    return sum(len(message["content"]) for message in messages)


def _dollars(amount: float | None) -> str:
    return (
        f"{'unknown':>12}  the config has no price"
        if amount is None
        else f"{f'${amount:,.2f}':>12}"
    )
