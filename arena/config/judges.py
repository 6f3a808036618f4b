"""``[judge]`` and ``[[judges]]`` of an arena.toml."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from arena.config.section import BaseUrl, Name, Section, Usd, VariableName

UNPRICED = (
    "price_per_1m_input_tokens and price_per_1m_output_tokens: what is not counted cannot be capped"
)
"""What a cap on the cost needs, and why."""


class JudgeConfig(Section):
    """``[judge]``: who says which of two lists answers a query better."""

    name: Name | None = None
    """What the log calls this judge; the model's name where absent."""
    kind: Literal["pairwise", "pointwise", "qrels"] = "pairwise"
    """``pairwise``: an LLM reads both lists. ``pointwise``: it reads each distinct query and
    document once, and battles are derived. ``qrels``: compares DCG by known grades; no LLM."""
    answer: Literal["json", "letter"] = "json"
    """``json``: an analysis, then the verdict. ``letter``: one token, with its probabilities."""
    scale: Literal["binary", "graded"] = "graded"
    """Of a pointwise judge: P(relevant), or a grade from 0 to 3."""
    tie_margin: Annotated[float, Field(ge=0, le=1)] | None = None
    """How close two sides may be to tie, as a share of the greatest difference; the judge's own
    default where absent. For pointwise judges and letters."""
    gate: bool = True
    """Control matchups with an obvious answer before the first paid battle."""
    model: str | None = None
    """What the endpoint calls the judge model."""
    base_url: BaseUrl | None = None
    api_key_env: VariableName | None = None
    """The environment variable with the key: OPENAI_API_KEY, unless a base_url is given."""
    prompt: str = "pairwise"
    """``prompts/<name>.md``, or a path to a template."""
    document_words: Annotated[int, Field(ge=10)] = 300
    """Each document is cut to so many words, on a word boundary."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    """Room for the analysis and the verdict."""
    price_per_1m_input_tokens: Usd | None = None
    price_per_1m_output_tokens: Usd | None = None
    price_per_1m_cached_tokens: Usd | None = None
    """US dollars; cached prompt tokens cost as input tokens where absent."""
    max_usd: Annotated[float, Field(gt=0)] | None = None
    """The most that this judge may cost, all runs of the experiment together, in US dollars."""
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None
    """Requests and tokens a minute, where the endpoint's limits are known."""
    max_failures: Annotated[float, Field(ge=0, le=1)] = 0.10
    """Share of battles without a verdict above which the command fails."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 90.0
    """Longest wait for one reply."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """Requests in flight; ``auto`` finds the endpoint's own limit."""

    @model_validator(mode="after")
    def _llm_has_a_model(self) -> Self:
        if self.kind != "qrels" and not self.model:
            raise ValueError('needs model = "...", or kind = "qrels"')
        if self.kind == "qrels" and self.name not in (None, "qrels"):
            raise ValueError(f'the qrels judge is called "qrels", not "{self.name}"')
        return self

    @model_validator(mode="after")
    def _cap_can_be_held(self) -> Self:
        if self.max_usd is not None and not self.priced:
            raise ValueError(f"max_usd = {self.max_usd:g} needs {UNPRICED}")
        return self

    @property
    def log_name(self) -> str:
        """What the log calls this judge."""
        return self.kind if self.kind == "qrels" else self.name or self.model or ""

    @property
    def priced(self) -> bool:
        """Whether what it costs can be counted; a judge that is no LLM costs nothing."""
        prices = (self.price_per_1m_input_tokens, self.price_per_1m_output_tokens)
        return self.kind == "qrels" or None not in prices
