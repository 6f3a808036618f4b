"""A judge that reads both lists and answers with one letter, whose probability is known.

The mean of a judge's verdict distribution is a better verdict than the single most likely one
(Wang et al. 2025, arXiv 2503.03064), and a tie is where the two sides are about as likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from arena.config import JudgeConfig
from arena.judging.chat import Chat
from arena.judging.choice import read_choice
from arena.judging.judge import RequestJudge
from arena.judging.lists import ListJudge
from arena.judging.prompt import Prompt
from arena.judging.reply import ChatReply
from arena.records import Probs, Side

LETTERS: Final[Mapping[str, Side]] = {"a": "first", "b": "second", "t": "tie"}

TIE_MARGIN: Final = 0.1
"""Below it, moving five hundredths of probability from one side to the other would turn the
verdict: less than what the exchange of the two lists moves in most judges."""


def letter_judge(config: JudgeConfig, prompt: Prompt, chat: Chat) -> RequestJudge:
    """A judge that answers A, B or T.

    Args:
        config: the model's name, the margin of ties, the length of documents.
        prompt: a template that asks for one of these letters.
        chat: the model, set up for the labels of `LETTERS`.
    """
    tie_margin = TIE_MARGIN if config.tie_margin is None else config.tie_margin
    read = partial(_read, tie_margin=tie_margin)
    return ListJudge(config, prompt, chat, read=read, reading=f"letter {tie_margin}")


def winner_by_probs(probs: Probs, tie_margin: float) -> Side:
    """Which side is likelier: a tie if that is likeliest, or if the sides are closer than this."""
    lead = probs.first - probs.second
    if probs.tie >= max(probs.first, probs.second) or not lead or abs(lead) < tie_margin:
        return "tie"
    return "first" if lead > 0 else "second"


def _read(reply: ChatReply, tie_margin: float) -> tuple[Side, Probs | None]:
    names: dict[str, str] = {side: letter for letter, side in LETTERS.items()}
    choice = read_choice(reply, tuple(LETTERS), names=names)
    if choice.probs is None:
        return LETTERS[choice.label], None
    sides = {LETTERS[letter]: share for letter, share in choice.probs.items()}
    probs = Probs(sides["first"], sides["second"], sides["tie"])
    return winner_by_probs(probs, tie_margin), probs
