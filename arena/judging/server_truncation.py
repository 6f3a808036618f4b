"""Detect a server that did not read the whole prompt, by the tokens that it reports.

Some servers, such as Ollama, silently cut the beginning of a prompt that exceeds their context. The
judge then misses its task, or one of the lists. There are two signs: fewer tokens than words, and
the same number of tokens for prompts of different lengths.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

SMALLEST_CONTEXT: Final = 500
"""Tokens of the smallest context in use; a lower count is of another kind."""
TOKENS_PER_WORD: Final = 0.75
"""Tokens for each word below which a prompt was cut; English has 1.3, all others have more."""
SAME_COUNT: Final = 16
"""Tokens by which counts at a ceiling differ."""
LENGTH_RATIO: Final = 1.3
"""Prompts at a ceiling differ in length by this factor, at least."""
LEAST_PROMPTS: Final = 4
"""Prompts at a ceiling that prove it; by chance two of a thousand have the same count."""

_DENSE = re.compile(
    # Scripts that put no space between words: of these characters a token has three at most.
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class Ceiling:
    """Tracks what a server reports, prompt by prompt."""

    def __init__(self) -> None:
        self._most = 0
        self._at_ceiling: deque[int] = deque(maxlen=64)  # lengths of prompts with as many tokens

    def cut(self, text: str, n_tokens: int) -> str:
        """Return what to say where a server did not read all of a prompt; empty if it did.

        Args:
            text: all messages of the prompt.
            n_tokens: that the server counted in it; 0 if it does not say.
        """
        if n_tokens < SMALLEST_CONTEXT:
            return ""
        if n_tokens > self._most + SAME_COUNT:
            self._at_ceiling.clear()
        self._most = max(self._most, n_tokens)
        if n_tokens < self._most - SAME_COUNT:
            return ""  # one that counts only what its cache did not hold says less by turns
        self._at_ceiling.append(len(text))
        if not below_words(text, n_tokens) and not self._is_ceiling(len(text)):
            return ""
        return (
            f"the server read only {n_tokens:,} tokens of a prompt of {len(text):,} characters; "
            "raise its context (Ollama: OLLAMA_CONTEXT_LENGTH or num_ctx; llama.cpp: -c), or lower "
            "document_words or top_k"
        )

    def _is_ceiling(self, length: int) -> bool:
        shortest = min(self._at_ceiling)
        return len(self._at_ceiling) >= LEAST_PROMPTS and length >= LENGTH_RATIO * shortest


def below_words(text: str, n_tokens: int) -> bool:
    """Return whether a count of tokens is too low for the words of a text."""
    # To count exactly takes a tenth of the time of a call: a bound that is quickly had will do
    # for nearly all. A character beyond ASCII, two bytes or more, parts two words at most.
    beyond = 0 if text.isascii() else len(text.encode("utf-8", "surrogatepass")) - len(text)
    most = text.count(" ") + text.count("\n") + 1 + 4 / 3 * beyond
    return n_tokens < TOKENS_PER_WORD * most and n_tokens < TOKENS_PER_WORD * least_words(text)


def least_words(text: str) -> float:
    """Return the least number of words of a text, in any script."""
    if text.isascii():
        return text.count(" ") + text.count("\n") + 1  # no word is empty in what judges read
    apart, dense = _DENSE.subn(" ", text)
    return len(apart.split()) + dense / 3
