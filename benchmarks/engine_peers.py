"""So many judgments by another tool: ``engine_peers.py inspect_ai BASE_URL N``, its rate printed.

Run in an environment that holds the tool; 64 in flight, prompts of about 5 kB, all different.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

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


if __name__ == "__main__":
    measure = {"inspect_ai": inspect_ai, "alpaca_eval": alpaca_eval}[sys.argv[1]]
    sys.stdout.write(f"\n{measure(sys.argv[2], int(sys.argv[3]))}\n")
