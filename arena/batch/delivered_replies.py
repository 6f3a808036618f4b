"""Deliver the replies of batch jobs to a judge, call by call, as if they were live.

A reply is paid for once: the first battle that takes it books its cost, the others share it. What
no battle took is booked by itself, so that the log always holds all that was paid for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from arena.batch.requests import JudgeCall
from arena.batch.results import ReplyOrFailure
from arena.errors import UnjudgedError
from arena.judging.chat_reply import ChatReply
from arena.records import Usage


@dataclass(slots=True)
class Delivery:
    """One answer of a job, or of a file of results."""

    id: str  #: the custom_id
    request: str  #: key of the request; empty in a file of results until its battle is known
    answer: ReplyOrFailure
    asked_at: str  #: UTC time; a failure that the log holds since then is this one
    answered_at: str  #: UTC time; a reply of this moment in the log is this one
    is_booked: bool = False  #: whether the log has its cost


class Deliveries:
    """The answers for one judge; its `Delivered` replies."""

    def __init__(self) -> None:
        self._by_id: dict[str, Delivery] = {}
        self._by_request: dict[str, Delivery] = {}
        self._by_call: dict[str, Delivery] = {}

    def add(self, delivery: Delivery) -> None:
        """Add an answer; of several to one request, the first that can be read counts."""
        self._by_id[delivery.id] = delivery
        known = self._by_request.get(delivery.request)
        if delivery.request and (known is None or isinstance(known.answer, UnjudgedError)):
            self._by_request[delivery.request] = delivery

    def find(self, call: JudgeCall) -> Delivery | None:
        """Return the answer to a call, and have it ready for the judge."""
        delivery = self._by_request.get(call.request) or self._by_id.get(call.id)
        if delivery:
            delivery.request = call.request
            self._by_request[call.request] = self._by_call[call.key] = delivery
        return delivery

    def take(self, key: str) -> ChatReply:
        """Return the reply of a call; see `arena.judging.chat.Delivered`."""
        delivery = self._by_call.get(key)
        if delivery is None:  # callers ask for what was found alone
            raise UnjudgedError("unanswered", "no job has answered this request yet")
        is_paid, delivery.is_booked = delivery.is_booked, True
        answer = delivery.answer
        if isinstance(answer, ChatReply):
            return replace(answer, usage=Usage(), cached=True) if is_paid else answer
        error = UnjudgedError(answer.reason, answer.detail)
        if not is_paid:
            error.reply = answer.reply
            error.cost_usd, error.estimated = answer.cost_usd, answer.estimated
        raise error

    def calls(self) -> Mapping[str, Delivery]:
        """Return the answers that were found to belong to a call, by the key of the call."""
        return self._by_call

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
