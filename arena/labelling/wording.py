"""The words of a question, the same on the page and in the terminal."""

from __future__ import annotations

from typing import Final, NamedTuple

from arena.store.labels import Unit


class AnswerOption(NamedTuple):
    """One answer that a person may give."""

    value: float
    key: str  #: that gives it
    short: str
    long: str = ""


CHOICES: Final[dict[Unit, tuple[AnswerOption, ...]]] = {
    "document": (
        AnswerOption(0, "0", "Unrelated", "has nothing to do with the query"),
        AnswerOption(1, "1", "Related", "same subject, but no answer"),
        AnswerOption(2, "2", "Partly", "holds part of the answer"),
        AnswerOption(3, "3", "Answers", "clearly and completely"),
    ),
    "battle": (
        AnswerOption(1, "1", "First", "the first list is better"),
        AnswerOption(0.5, "0", "Tie", "neither is better"),
        AnswerOption(0, "2", "Second", "the second list is better"),
    ),
}
"""The grades are those that `kind = "pointwise"` asks a judge for (TREC's deep learning track)."""

REASONS: Final = (
    "I do not know the subject",
    "The query is unclear",
    "The text cannot be read",
)
"""Why people skip an item, most often."""

CANNOT_TELL: Final = "cannot tell"
