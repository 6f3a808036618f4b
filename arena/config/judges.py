"""``[judge]`` and ``[[judges]]`` of an arena.toml."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from arena.config.section import BaseUrl, Name, Section, Usd, VariableName

UNPRICED = "price_per_1m_input_tokens and price_per_1m_output_tokens: without prices, no limit"
"""The prices that a cost limit needs, and the reason."""


class JudgeConfig(Section):
    """``[judge]``: the judge that picks the better of two lists."""

    name: Name | None = None
    """The judge's name in the log; default: the model's name."""
    kind: Literal["pairwise", "pointwise", "qrels"] = "pairwise"
    """The kind of judge.

    ``pairwise``: an LLM reads both lists. ``pointwise``: an LLM grades each query and document
    once, and battles follow from the grades. ``qrels``: compares the DCG of known grades,
    without an LLM.
    """
    answer: Literal["json", "letter"] = "json"
    """``json``: an analysis, then the verdict. ``letter``: one token, with its probabilities."""
    scale: Literal["binary", "graded"] = "graded"
    """For a pointwise judge: P(relevant), or a grade from 0 to 3."""
    tie_margin: Annotated[float, Field(ge=0, le=1)] | None = None
    """The share of the largest difference below which two sides tie; default: the judge's own.
    """
    gate: bool = True
    """Control matchups with an obvious answer before the first paid battle."""
    model: str | None = None
    """The endpoint's name of the judge model."""
    base_url: BaseUrl | None = None
    api_key_env: VariableName | None = None
    """The environment variable with the key: OPENAI_API_KEY, unless a base_url is given."""
    prompt: str = "pairwise"
    """``prompts/<name>.md``, or a path to a template."""
    document_words: Annotated[int, Field(ge=10)] = 300
    """Maximum number of words of a document; arena cuts longer ones at a word boundary."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    """Maximum number of tokens of a reply, for the analysis and the verdict."""
    price_per_1m_input_tokens: Usd | None = None
    price_per_1m_output_tokens: Usd | None = None
    price_per_1m_cached_tokens: Usd | None = None
    """US dollars; default for cached prompt tokens: the price of input tokens."""
    max_usd: Annotated[float, Field(gt=0)] | None = None
    """Limit of this judge's cost in US dollars, for all runs of the experiment together."""
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None
    """Requests and tokens per minute, if you know the endpoint's limits."""
    max_failures: Annotated[float, Field(ge=0, le=1)] = 0.10
    """Share of battles without a verdict above which the command fails."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 90.0
    """Maximum wait for one reply, in seconds."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """Number of requests in flight; ``auto`` finds the endpoint's limit."""

    @model_validator(mode="after")
    def _llm_has_a_model(self) -> Self:
        if self.kind != "qrels" and not self.model:
            raise ValueError('needs model = "...", or kind = "qrels"')
        if self.kind == "qrels" and self.name not in (None, "qrels"):
            raise ValueError(f'the qrels judge has the name "qrels", not "{self.name}"')
        return self

    @model_validator(mode="after")
    def _cap_can_be_held(self) -> Self:
        if self.max_usd is not None and not self.priced:
            raise ValueError(f"max_usd = {self.max_usd:g} needs {UNPRICED}")
        return self

    @property
    def log_name(self) -> str:
        """Return the judge's name in the log."""
        return self.kind if self.kind == "qrels" else self.name or self.model or ""

    @property
    def priced(self) -> bool:
        """Return whether arena knows the judge's cost; a judge without an LLM costs nothing."""
        prices = (self.price_per_1m_input_tokens, self.price_per_1m_output_tokens)
        return self.kind == "qrels" or None not in prices
