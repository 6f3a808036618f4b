"""Build the demo's configuration: offline by known grades, or with an LLM if you have a key."""

from __future__ import annotations

from collections.abc import Mapping

LLM_QUERIES = 10
"""Number of questions that an LLM judges: 200 battles, a few cents at a small model's price."""

DEFAULT_JUDGE = "gpt-4.1-mini"


def demo_config(template: str, environment: Mapping[str, str], judge_model: str | None) -> str:
    """Return the demo's arena.toml; with a key or a base_url in the environment an LLM judges.

    Args:
        template: the offline arena.toml.
        environment: the process's environment variables.
        judge_model: the endpoint's name of the judge.
    """
    if not (environment.get("OPENAI_API_KEY") or environment.get("OPENAI_BASE_URL")):
        return template
    setup, judge, _ = template.partition("[judge]")
    prices = (
        ""
        if judge_model
        else "price_per_1m_input_tokens = 0.40\nprice_per_1m_output_tokens = 1.60\n"
    )
    return (
        setup.replace('name = "demo"', 'name = "demo-llm"').replace(
            'orders = "both"', f'orders = "both"\nqueries = {LLM_QUERIES}'
        )
        + f'{judge}\nmodel = "{judge_model or DEFAULT_JUDGE}"\n{prices}'
    )
