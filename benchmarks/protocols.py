"""What each kind of judge costs: calls, tokens and dollars, for lists that real models retrieved.

::

    python benchmarks/protocols.py CORPUS [--models 13] [--queries 20]

The models are BM25, and word vectors and latent semantic analysis of several dimensions: all run
here. Nothing is asked of any endpoint: prompts are rendered and measured. Tokens in are counted
as `arena battle --dry-run` counts them; tokens out are 150 for an analysis in JSON (two sentences
on each list and a verdict), and 1 for a letter, a grade or a word.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from arena.config import JudgeConfig, ModelConfig
from arena.data.beir import load_beir
from arena.data.query_sample import sample_queries
from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.client import Api
from arena.experiment.identical_lists import same_lists
from arena.experiment.plan import plan_matchups
from arena.experiment.shown_lists import Lists
from arena.judging.judge import Judge
from arena.judging.open import open_judge, prompt_name
from arena.judging.prompt import load_prompt
from arena.judging.token_count import find_tokenizer
from arena.records import Matchup, Orders, Run
from arena.retrieval.retrieve import retrieve

TOP_K = 5
ANALYSIS_TOKENS = 150
PRICE_IN, PRICE_OUT = 0.40, 1.60
"""US dollars for a million tokens, of a small hosted model."""

PROTOCOLS: tuple[tuple[str, dict[str, str], Orders], ...] = (
    ("pairwise, json", {}, "both"),
    ("pairwise, json", {}, "balanced"),
    ("pairwise, letter", {"answer": "letter"}, "both"),
    ("pairwise, letter", {"answer": "letter"}, "balanced"),
    ("pointwise, graded", {"kind": "pointwise"}, "both"),
    ("pointwise, binary", {"kind": "pointwise", "scale": "binary"}, "both"),
)


def contenders() -> Iterator[ModelConfig]:
    """Thirteen models, the least alike first."""
    yield ModelConfig(name="bm25", provider="bm25")
    for dimensions in (256, 64, 128):
        name = f"wordllama-{dimensions}"
        yield ModelConfig(name=name, provider="wordllama", dimensions=dimensions)
    for dimensions in (256, 16, 64, 32, 128, 8, 192, 48, 96):
        yield ModelConfig(name=f"lsa-{dimensions}", provider="lsa", dimensions=dimensions)


def main() -> None:
    """Print the table of one corpus."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("corpus", type=Path, help="a BEIR folder")
    parser.add_argument("--models", type=int, default=13)
    parser.add_argument("--queries", type=int, default=20)
    given = parser.parse_args()
    dataset = load_beir(given.corpus, given.corpus.name)
    queries = sample_queries(dataset, given.queries, seed=42)
    with tempfile.TemporaryDirectory() as cache:
        models = list(contenders())[: given.models]
        runs = [retrieve(model, dataset, queries, cache=Path(cache))[0] for model in models]
    lists = Lists({dataset.name: dataset}, runs, top_k=TOP_K)
    counter = find_tokenizer("gpt-4.1-mini")
    print(
        f"{dataset.name}: {len(runs)} models, {len(queries)} queries, top {TOP_K}; {describe(runs)}"
    )
    print(f"tokens {counter.name}; ${PRICE_IN} and ${PRICE_OUT} for a million in and out\n")
    print("| judge | orders | battles | calls | tokens | tokens/battle | $ | $/1000 battles |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for name, settings, orders in PROTOCOLS:
        plan = list(
            plan_matchups([run.model for run in runs], {dataset.name: queries}, orders=orders)
        )
        calls = distinct_calls(opened(settings), lists, plan, counter.count)
        print(f"| {name} | {orders} {row(settings, len(plan), calls)}")


def opened(settings: Mapping[str, str]) -> Judge:
    """A judge that is never asked."""
    config = JudgeConfig(model="gpt-4.1-mini", **settings)
    api = Api(Endpoint("http://127.0.0.1:1/v1", None))
    return open_judge(config, api, prompt=load_prompt(prompt_name(config)), top_k=TOP_K)


def distinct_calls(
    judge: Judge, lists: Lists, plan: Sequence[Matchup], count: Callable[[str], int]
) -> list[int]:
    """The tokens of each call that an experiment would make: none for a tie by identical lists."""
    sizes: dict[str, int] = {}
    for matchup in plan:
        exhibit = lists.judge_input(matchup)
        if same_lists(exhibit):
            continue
        for key, messages in judge.calls(exhibit).items():
            if key not in sizes:
                sizes[key] = sum(count(message["content"]) for message in messages)
    return list(sizes.values())


def row(settings: Mapping[str, str], n_battles: int, calls: Sequence[int]) -> str:
    """The rest of a line of the table."""
    n_out = len(calls) * (1 if settings else ANALYSIS_TOKENS)
    n_tokens = sum(calls) + n_out
    usd = (sum(calls) * PRICE_IN + n_out * PRICE_OUT) / 1e6
    return (
        f"| {n_battles:,} | {len(calls):,} | {n_tokens:,} | {n_tokens / n_battles:,.0f} "
        f"| {usd:.3f} | {1000 * usd / n_battles:.3f} |"
    )


def describe(runs: Sequence[Run]) -> str:
    """How much the lists have in common, which is what a pointwise judge saves by."""
    found = [
        {scored.doc_id for run in runs for scored in run.rankings[query_id][:TOP_K]}
        for query_id in runs[0].rankings
    ]
    return f"{statistics.mean(map(len, found)):.1f} distinct documents a query"


if __name__ == "__main__":
    main()
