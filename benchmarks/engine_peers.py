"""So many judgments by another tool: ``engine_peers.py inspect_ai BASE_URL N``, its rate printed.

Run in an environment that holds the tool; 64 in flight, prompts of about 5 kB, all different. Two
calls before the clock starts take the first imports out of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

IN_FLIGHT = 64


def prompts(n_calls: int) -> list[str]:
    """Texts as long as a judge's, no two the same."""
    return [f"Which of two lists is better? {i} " + "word " * 900 for i in range(n_calls)]


def inspect_ai(base_url: str, n_calls: int) -> float:
    """The model API of inspect_ai, as its scorers call it: `Model.generate` with no cache."""
    from inspect_ai.model import GenerateConfig, get_model

    async def story() -> float:
        settings = GenerateConfig(max_connections=IN_FLIGHT, temperature=0, max_tokens=1024)
        model = get_model(
            "openai-api/loopback/judge", base_url=base_url, api_key="none", config=settings
        )
        began = time.perf_counter()
        asked = [model.generate(prompt) for prompt in prompts(n_calls)]
        await asyncio.gather(*asked)
        return n_calls / (time.perf_counter() - began)

    return asyncio.run(story())


def alpaca_eval(base_url: str, n_calls: int) -> float:
    """`openai_completions` of alpaca_eval: threads, one client made for each call."""
    os.environ |= {"OPENAI_API_BASE": base_url, "OPENAI_BASE_URL": base_url}
    os.environ["OPENAI_API_KEY"] = "none"
    from alpaca_eval.decoders.openai import openai_completions

    texts = [f"<|im_start|>user\n{text}\n<|im_end|>" for text in prompts(n_calls)]
    began = time.perf_counter()
    openai_completions(texts, "gpt-4-turbo", num_procs=IN_FLIGHT, max_tokens=1024)
    return n_calls / (time.perf_counter() - began)


def ragelo(base_url: str, n_calls: int) -> float:
    """The pairwise answer evaluator of RAGElo over an experiment, saved to disk as by default.

    It asks for each pair twice, one order after the other, so there are half as many pairs; the
    answers make its prompts as long as those of the others.
    """
    from ragelo import Experiment, get_answer_evaluator, get_llm_provider

    provider = get_llm_provider(
        "openai", api_key="none", api_base=base_url, model="judge", temperature=0, max_tokens=1024
    )
    judge = get_answer_evaluator("pairwise", provider, use_progress_bar=False)
    with tempfile.TemporaryDirectory() as name:
        results = Path(name) / "results.jsonl"
        experiment = Experiment("e", str(Path(name) / "e.json"), str(results))
        for i in range(n_calls // 2):
            experiment.add_query(f"Which is better? {i}", f"q{i}", should_save=False)
            for agent in ("a", "b"):
                answer = f"{agent} {i} " + "word " * 300
                experiment.add_agent_answer(answer, agent, f"q{i}", should_save=False)
        began = time.perf_counter()
        judge.evaluate_experiment(experiment, n_threads=IN_FLIGHT)
        took_s = time.perf_counter() - began
        n_judged = len(results.read_text().splitlines())
    if n_judged != n_calls // 2:
        raise SystemExit(f"ragelo judged {n_judged} of {n_calls // 2} pairs")
    return 2 * n_judged / took_s


def arena_hard(base_url: str, n_calls: int) -> float:
    """The judging loop of arena-hard-auto, re-typed here because it is no installable package.

    What its `gen_judgment.py` does and no more: a pool of threads, a pair for each task, both its
    orders one after the other, an `openai.OpenAI` made for each call, the verdict found by a
    regular expression, a line added to a file. Left out: its retries, and asking on when a reply
    holds no verdict. Neither happens here.
    """
    import openai

    verdict = re.compile(r'"verdict": "(\w+)"')

    def ask(prompt: str) -> str:
        client = openai.OpenAI(base_url=base_url, api_key="none")
        messages = [{"role": "user", "content": prompt}]
        completion = client.chat.completions.create(
            model="judge", messages=messages, temperature=0, max_tokens=1024
        )
        return completion.choices[0].message.content

    def judge(orders: tuple[str, str], output: Path) -> None:
        replies = [ask(prompt) for prompt in orders]
        games = [{"judgment": reply, "score": verdict.findall(reply)[0]} for reply in replies]
        with output.open("a") as lines:
            lines.write(json.dumps({"games": games}) + "\n")

    texts = prompts(n_calls)
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "judgments.jsonl"
        began = time.perf_counter()
        with ThreadPoolExecutor(max_workers=IN_FLIGHT) as pool:
            pairs = zip(texts[::2], texts[1::2], strict=True)
            tasks = [pool.submit(judge, pair, output) for pair in pairs]
            for task in as_completed(tasks):
                task.result()
        return n_calls / (time.perf_counter() - began)


PEERS = {
    "inspect_ai": inspect_ai,
    "ragelo": ragelo,
    "alpaca_eval": alpaca_eval,
    "arena_hard": arena_hard,
}

if __name__ == "__main__":
    measure = PEERS[sys.argv[1]]
    measure(sys.argv[2], 2)
    sys.stdout.write(f"\n{measure(sys.argv[2], int(sys.argv[3]))}\n")
