"""The calls that a judge is still to make, and what they come to: tokens and dollars."""

from __future__ import annotations

from typing import Final, Protocol

from arena.experiment.judges import ConfiguredJudge
from arena.judging.token_count import TOKENS_PER_MESSAGE, find_tokenizer, tokens_per_character
from arena.records import JudgeInput
from arena.store.id_index import IdSet

SAMPLED: Final = 200
"""Prompts that a tokenizer reads; the others are taken to have as many tokens a character."""

TOKENS_PER_REPLY: Final = 150
"""A few sentences on each list, and a verdict."""


class CalledBefore(Protocol):
    """What knows which single calls are paid for."""

    def called(self, key: str) -> bool:
        """Return whether a single call has a reply."""


class CallsToMake:
    """The calls that a judge is still to make, and what they come to."""

    def __init__(self, configured: ConfiguredJudge, paid: CalledBefore) -> None:
        self.keys = IdSet()
        self.tokenizer = find_tokenizer(configured.config.model)
        self._judge = configured.judge
        self._config = configured.config
        self._paid = paid
        self._n_characters = self._n_messages = 0
        self._sample: list[str] = []

    def add(self, judge_input: JudgeInput) -> bool:
        """Add the calls that this takes; return False if all of them are on the bill or paid."""
        fresh = False
        for key, messages in self._judge.calls(judge_input).items():
            if self._paid.called(key) or not self.keys.add(key):
                continue
            fresh = True
            texts = [message["content"] for message in messages]
            self._n_characters += sum(map(len, texts))
            self._n_messages += len(texts)
            if len(self.keys) <= SAMPLED:
                self._sample += texts
        return fresh

    @property
    def input_tokens(self) -> int:
        """Return the tokens of all prompts, estimated from a sample of them."""
        rate = tokens_per_character(self._sample, self.tokenizer)
        return round(self._n_characters * rate) + self._n_messages * TOKENS_PER_MESSAGE

    @property
    def output_tokens(self) -> int:
        """Return the tokens of all replies, estimated by the kind of judge."""
        config = self._config
        short = config.kind == "pointwise" or config.answer == "letter"
        return len(self.keys) * (1 if short else min(TOKENS_PER_REPLY, config.max_tokens))

    @property
    def cost_usd(self) -> float | None:
        """Return the price of all calls; None if the config has no prices."""
        config = self._config
        if not self._judge.is_llm:
            return 0.0
        prices = config.price_per_1m_input_tokens, config.price_per_1m_output_tokens
        if prices[0] is None or prices[1] is None:
            return None
        return (self.input_tokens * prices[0] + self.output_tokens * prices[1]) / 1e6
