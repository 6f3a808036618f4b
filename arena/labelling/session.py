"""One person's session: the next question, its answer, undo, and how far the work is.

All state is on disk, and is read again for each step under the folder's lock. So tabs, servers and
people may work on one experiment at once, and a process that is killed loses nothing.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from arena.digest import digest
from arena.errors import UsageError
from arena.labelling.questions import Questions, ShownItem
from arena.labelling.sampling import DrawnPlace, uniform
from arena.records import now
from arena.store.label_claims import Claim, read_label_claims, write_label_claims
from arena.store.labels import (
    Event,
    Item,
    LabelLine,
    append_labels,
    is_value,
    label_lock,
    read_label_lines,
    standing_lines,
)

LONGEST_REASON: Final = 500
"""Characters of a reason that are kept."""

_LONGEST_S: Final = 86_400.0
_RECENT: Final = 50
"""Own labels that the time left is estimated from."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Who is asked, and about how much."""

    who: str
    n: int = 200  #: items from the beginning of the order
    overlap: float = 0.1  #: share of the items that two people are asked about


@dataclass(frozen=True, slots=True)
class Question:
    """An item as it is put before a person."""

    id: str  #: names the item, and tells nothing of it
    shown: ShownItem


@dataclass(frozen=True, slots=True)
class SessionState:
    """Where a person stands."""

    question: Question | None  #: None if nothing is left, or others look at the rest
    done: int  #: items that need no label of this person any more
    left: int  #: items that still do
    mine: int  #: labels and skips of this person, among them
    held: int = 0  #: of the items left, those that others look at now
    seconds: float | None = None  #: median of this person's own times; None before the first
    undone: bool = False  #: the question's earlier label was taken back just now

    @property
    def left_s(self) -> float | None:
        """Return the seconds for the rest at this person's pace; None before the first answer."""
        return None if self.seconds is None else self.seconds * self.left


@dataclass(frozen=True, slots=True)
class _LabelsSoFar:
    """What labels.jsonl says of this draw."""

    labelled: Mapping[Item, set[str]]  #: item → people who gave it a value
    skipped: Mapping[Item, set[str]]  #: item → people who could not tell, or skipped it
    placed: set[Item]  #: items whose place in this draw is written down
    mine: Sequence[LabelLine]  #: this person's standing labels, oldest first


@dataclass
class LabellingSession:
    """Asks one person about the items of an experiment.

    Args:
        questions: what may be asked.
        settings: who is asked, and about how much.
    """

    questions: Questions
    settings: SessionSettings
    _server: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self._asked = self.questions.draw.order[: self.settings.n]
        self._by_id = {item_id(place.item): place for place in self._asked}

    @property
    def folder(self) -> Path:
        """Return the experiment's folder."""
        return self.questions.folder

    def next(self, tab: str) -> SessionState:
        """Return the first item that needs a label of this person, claimed for the tab.

        Raises:
            LogError: the folder cannot be written.
        """
        with label_lock(self.folder):
            return self._state(tab)

    def answer(
        self, tab: str, item: str, value: float | None, *, reason: str = "", seconds: float = 0.0
    ) -> SessionState:
        """Write a label to the disk, then return the next item.

        Args:
            tab: that shows the item.
            item: id of the item.
            value: the grade; or 1 for the first list, 0.5 for a tie, 0 for the second; or None.
            reason: why there is no value.
            seconds: how long the person looked at it.

        Raises:
            UsageError: there is no such item or value.
            LogError: the label cannot be written.
        """
        question = self._by_id.get(item)
        unit = self.questions.unit
        if question is None or (value is not None and not is_value(unit, value)):
            raise UsageError(f"no such item or value: {item[:40]!r}, {value}; load the page again")
        line = self._line("label", question, value=value, reason=reason, seconds=seconds)
        with label_lock(self.folder):
            append_labels(self.folder, [*self._passes(self._known(), before=question), line])
            return self._state(tab)

    def undo(self, tab: str) -> SessionState:
        """Take this person's last label back, and return its item.

        Raises:
            LogError: it cannot be written.
        """
        with label_lock(self.folder):
            mine = self._known().mine
            line = next(
                (line for line in reversed(mine) if item_id(line.item) in self._by_id), None
            )
            if line is None:
                return self._state(tab)
            place = self._by_id[item_id(line.item)]
            append_labels(self.folder, [self._line("undo", place)])
            return self._state(tab, first=place)

    def release(self, tab: str) -> None:
        """Release what a tab has claimed; its labels stay.

        Raises:
            LogError: the folder cannot be written.
        """
        with label_lock(self.folder):
            claims = read_label_claims(self.folder)
            write_label_claims(self.folder, self._without(claims, tab))

    def models(self, item: Item) -> tuple[str, ...]:
        """Return the models of a battle as this person sees them: the first list's model first."""
        turned = uniform(self.questions.draw.seed, item, f"side for {self.settings.who}") < 0.5
        return item.models[::-1] if turned else item.models

    def _state(self, tab: str, first: DrawnPlace | None = None) -> SessionState:
        so_far = self._known()
        needed = [place for place in self._asked if self._needs(place.item, so_far)]
        claims = read_label_claims(self.folder)
        free = [place for place in needed if not self._is_taken(claims, place, tab)]
        # Another tab of the same person may have been closed: what it holds comes last.
        own = [place for place in needed if self._holder(claims, place) == self.settings.who]
        place = first or next(iter(free or own), None)
        claims = self._without(claims, tab)
        question = None
        if place is not None:
            claim = Claim(self.settings.who, self._server, tab, time.time())
            claims[item_id(place.item)] = claim
            shown = self.questions.shown(place.item, self.models(place.item))
            question = Question(item_id(place.item), shown)
        write_label_claims(self.folder, claims)
        if passes := self._passes(so_far, before=place):
            append_labels(self.folder, passes)
        times = [line.seconds for line in so_far.mine if line.seconds][-_RECENT:]
        return SessionState(
            question=question,
            done=len(self._asked) - len(needed),
            left=len(needed),
            mine=sum(item_id(line.item) in self._by_id for line in so_far.mine),
            held=len(needed) - len(free),
            seconds=statistics.median(times) if times else None,
            undone=first is not None,
        )

    def _known(self) -> _LabelsSoFar:
        labelled: dict[Item, set[str]] = {}
        skipped: dict[Item, set[str]] = {}
        lines = read_label_lines(self.folder)
        standing = standing_lines(lines)
        for line in standing:
            if line.draw is not None:
                people = skipped if line.value is None else labelled
                people.setdefault(line.item, set()).add(line.who)
        placed = {
            line.item
            for line in [*standing, *(line for line in lines if line.event == "pass")]
            if line.draw == self.questions.draw.name
        }
        mine = [line for line in standing if line.who == self.settings.who and line.draw]
        return _LabelsSoFar(labelled, skipped, placed, mine)

    def _needs(self, item: Item, so_far: _LabelsSoFar) -> bool:
        """Return whether this person is asked about an item."""
        people, who = so_far.labelled.get(item, set()), self.settings.who
        if who in people or who in so_far.skipped.get(item, set()):
            return False
        is_shared = uniform(self.questions.draw.seed, item, "overlap") < self.settings.overlap
        return len(people) < (2 if is_shared else 1)

    def _passes(self, so_far: _LabelsSoFar, *, before: DrawnPlace | None) -> list[LabelLine]:
        """Return lines for items of this draw that are labelled already."""
        end = self.questions.draw.position[before.item] if before else len(self._asked)
        return [
            self._line("pass", place)
            for place in self._asked[:end]
            if place.item in so_far.labelled and place.item not in so_far.placed
        ]

    def _line(
        self,
        event: Event,
        placed: DrawnPlace,
        *,
        value: float | None = None,
        reason: str = "",
        seconds: float | None = None,
    ) -> LabelLine:
        item = placed.item
        models = self.models(item) if item.models else (None, None)
        return LabelLine(
            event=event,
            unit=item.unit,
            dataset=item.dataset,
            query_id=item.query_id,
            doc_id=item.doc_id or None,
            model_a=models[0],
            model_b=models[1],
            who="" if event == "pass" else self.settings.who,
            value=value,
            reason=" ".join(reason.split())[:LONGEST_REASON],
            at=now(),
            seconds=None if seconds is None else round(min(max(seconds, 0.0), _LONGEST_S), 3),
            draw=self.questions.draw.name,
            seed=self.questions.draw.seed,
            size=placed.size,
            rank=placed.rank,
            next_rank=placed.next_rank,
        )

    def _is_taken(self, claims: Mapping[str, Claim], place: DrawnPlace, tab: str) -> bool:
        """Return whether another person, or another tab, has an item open.

        What this person looked at in a server that is gone is free again.
        """
        claim = claims.get(item_id(place.item))
        if claim is None or (claim.server == self._server and claim.tab == tab):
            return False
        return claim.who != self.settings.who or claim.server == self._server

    def _holder(self, claims: Mapping[str, Claim], place: DrawnPlace) -> str:
        claim = claims.get(item_id(place.item))
        return claim.who if claim else ""

    def _without(self, claims: Mapping[str, Claim], tab: str) -> dict[str, Claim]:
        return {
            item: claim
            for item, claim in claims.items()
            if (claim.server, claim.tab) != (self._server, tab)
        }


def item_id(item: Item) -> str:
    """Return an item's name on a page: a hash that tells neither document nor models."""
    fields = (item.unit, item.dataset, item.query_id, item.doc_id, *item.models)
    return digest("item", *fields, size=12).hex()
