"""The questions of `arena label` in any terminal: text out, a line in for each answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TextIO

from arena.labelling.session import LabellingSession, Question, SessionState
from arena.labelling.wording import CANNOT_TELL, CHOICES, REASONS, AnswerOption
from arena.store.texts import ShownDocument
from arena.terminal import Screen, printable, wrapped

_TAB: Final = "terminal"
_LONG: Final = {"document": 1500, "battle": 240}
"""Characters of a text that are shown before the person asks for all of it."""


@dataclass
class TerminalForm:
    """Asks in a terminal until nothing is left, or the person has had enough.

    Args:
        session: asks the questions.
        answers: where lines are read from.
        write: writes a line.
        on: how wide the terminal is, and what it can show.
    """

    session: LabellingSession
    answers: TextIO
    write: Callable[[str], None]
    on: Screen
    _whole: bool = field(default=False, init=False)
    _paused_s: float = field(default=0.0, init=False)

    def run(self) -> None:
        """Ask until the end; what the person has answered is on disk in any case.

        Raises:
            LogError: a label cannot be written.
        """
        self._help()
        state = self.session.next(_TAB)
        try:
            while state.question is not None:
                state_after = self._ask(state, state.question)
                if state_after is None:
                    return
                state = state_after
            self._finished(state)
        finally:
            self.session.release(_TAB)

    def _ask(self, state: SessionState, question: Question) -> SessionState | None:
        """Show an item and read lines until one is an answer; None if the person leaves."""
        self._whole, self._paused_s = False, 0.0
        began = time.monotonic()
        self._show(state, question)
        while True:
            word = self._read(f"{self._prompt()}: ")
            if word is None or word in ("q", "quit"):
                return None
            seconds = time.monotonic() - began - self._paused_s
            state_after = self._act(word, question, seconds)
            if state_after is not None:
                return state_after

    def _act(self, word: str, question: Question, seconds: float) -> SessionState | None:
        """Do what a word asks for; return None if the same item still needs an answer."""
        choice = next((choice for choice in self._choices if choice.key == word), None)
        if choice or word == "c":
            value, reason = (choice.value, "") if choice else (None, CANNOT_TELL)
            return self._answer(question, value, reason, seconds)
        if word == "s":
            return self._skip(question, seconds)
        if word == "u":
            state = self.session.undo(_TAB)
            if not state.undone:
                self._say("There is nothing to take back.")
                return None
            return state
        if word == "m":
            self._whole = True
            self._texts(question)
        elif word == "p":
            began = time.monotonic()
            self._read("Paused; every answer is saved. Enter goes on: ")
            self._paused_s += time.monotonic() - began
        else:
            self._help()
        return None

    def _answer(
        self, question: Question, value: float | None, reason: str, seconds: float
    ) -> SessionState:
        return self.session.answer(_TAB, question.id, value, reason=reason, seconds=seconds)

    def _skip(self, question: Question, seconds: float) -> SessionState | None:
        for number, reason in enumerate(REASONS, 1):
            self._say(reason, lead=f"  {number}  ")
        word = self._read("Why? A number, or your own words; Enter alone goes back: ")
        if not word:
            return None
        known = {str(number): reason for number, reason in enumerate(REASONS, 1)}
        return self._answer(question, None, known.get(word, word), seconds)

    @property
    def _choices(self) -> tuple[AnswerOption, ...]:
        return CHOICES[self.session.questions.unit]

    def _prompt(self) -> str:
        return f"{', '.join(choice.key for choice in self._choices)}, c, s, u, m, p, q or ?"

    def _help(self) -> None:
        for key, words in self._keys():
            self._say(words, lead=f"  {key}  ")

    def _keys(self) -> Iterator[tuple[str, str]]:
        for choice in self._choices:
            yield choice.key, f"{choice.short}: {choice.long}"
        yield "c", "you cannot tell"
        yield "s", "skip it, with a reason"
        yield "u", "undo: take the last answer back"
        yield "m", "show all of long texts"
        yield "p", "pause"
        yield "q", "quit; the same command goes on later"
        yield "?", "show these keys"

    def _show(self, state: SessionState, question: Question) -> None:
        left = (
            "" if state.left_s is None else f", about {max(round(state.left_s / 60), 1)} min left"
        )
        undone = "Your last answer is taken back. " if state.undone else ""
        self.write("")
        self._say(f"{undone}{state.done} of {state.done + state.left} done{left}")
        self._texts(question)

    def _texts(self, question: Question) -> None:
        self.write("")
        self._say(question.shown.query, lead="QUERY  ")
        lists = question.shown.lists
        if self.session.questions.unit == "document":
            self.write("")
            self._document(lists[0][0], "")
            return
        places = [{document.doc_id: at for at, document in enumerate(each, 1)} for each in lists]
        for side, documents in enumerate(lists):
            self.write("")
            self._say(("FIRST LIST", "SECOND LIST")[side] + ("" if documents else ": empty"))
            for at, document in enumerate(documents, 1):
                self._document(document, f"{at}. ", other=places[1 - side].get(document.doc_id))

    def _document(self, document: ShownDocument, lead: str, *, other: int | None = None) -> None:
        blank = " " * len(lead)
        if other is not None:
            self._say(f"(in both lists, there at {other})", lead=lead)
            lead = blank
        if document.title:
            self._say(document.title, lead=lead)
            lead = blank
        most = _LONG[self.session.questions.unit]
        is_long = len(document.text) > most and not self._whole
        text = document.text[:most] if is_long else document.text
        for line in text.splitlines() or [""]:
            self._say(line, lead=lead)
            lead = blank
        if is_long:
            self._say(f"... {len(document.text) - most:,} more characters; m shows them", lead=lead)
        elif document.cut:
            self._say("[cut here, as for the judge]", lead=lead)

    def _finished(self, state: SessionState) -> None:
        self.write("")
        if state.left:
            self._say(
                f"{state.left} items are before somebody else right now; run this again later."
            )
        else:
            self._say(f"Done: all {state.done} items are labelled.")

    def _say(self, text: str, *, lead: str = "") -> None:
        """Write a line of any text, without what could move the cursor."""
        self.write(wrapped(printable(text), self.on, lead=lead))

    def _read(self, prompt: str) -> str | None:
        """Read the next line, without blanks around it; None at the end of the input."""
        self.write(prompt)
        line = self.answers.readline()
        if not line:
            return None
        word = printable(line).strip()
        return word.lower() if len(word) == 1 else word
