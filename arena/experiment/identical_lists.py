"""Find battles whose two lists are identical: they are ties, and no judge is asked."""

from __future__ import annotations

from arena.records import JudgeInput


def same_lists(judge_input: JudgeInput) -> bool:
    """Return whether a judge could not tell the two lists apart.

    That is so if both hold the same titles and texts in the same order; their ids may differ.
    """
    first, second = judge_input.first, judge_input.second
    return [(d.title, d.text) for d in first] == [(d.title, d.text) for d in second]
