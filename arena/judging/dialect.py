"""What a server takes in a chat request, learnt from its refusals.

Reasoning models reject ``temperature`` and ``max_tokens``; many servers know no JSON schema, or
no logprobs. A request starts out with everything, and loses what the server says it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

SHORT: Final = 4
"""Tokens for a reply of one word: room for a blank or a quotation mark, too little for prose."""

_UNKNOWN = re.compile(
    r"unsupported|not support|n['’]t support|unrecogni[sz]ed|unknown|not permitted|not allowed"
    r"|unexpected|extra|invalid|must be|only the default|not available|not recogni[sz]ed"
    r"|not enabled|at most|maximum",
    re.IGNORECASE,
)
_FORMAT = re.compile(r"response_format|json_schema|json_object|structured[ _]output", re.IGNORECASE)
_TOO_LONG = re.compile(r"context[ _](length|window)|too (long|large|many)", re.IGNORECASE)
_LENGTH = re.compile(r"max_(completion_|output_)?tokens", re.IGNORECASE)
_TOO_SHORT = re.compile(
    r"at least|minimum|greater than|>=|below|too (small|low|short)|limit was reached", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Form:
    """What a judge is to write: a JSON object of this schema, or else one of these words."""

    schema: Mapping[str, Any] | None = None
    labels: tuple[str, ...] = ()  #: in lower case
    name: str = "verdict"  #: what the endpoint is told that the object is


@dataclass(frozen=True, slots=True)
class Dialect:
    """The optional fields of a chat request that a server takes."""

    temperature: bool = True
    length: Literal["max_tokens", "max_completion_tokens"] | None = "max_tokens"
    answer: Literal["json_schema", "json_object"] | None = "json_schema"
    alternatives: Literal[0, 5, 10] = 10  #: ``top_logprobs``; some servers give no more than 5
    short: bool = True  #: takes a limit of `SHORT` tokens, and answers within it

    def fields(self, form: Form, *, temperature: float, max_tokens: int) -> dict[str, Any]:
        """The optional fields, as far as the server takes them."""
        fields: dict[str, Any] = {}
        if self.temperature:
            fields["temperature"] = temperature
        if self.length:
            fields[self.length] = SHORT if form.labels and self.short else max_tokens
        if form.labels and self.alternatives:
            fields |= {"logprobs": True, "top_logprobs": self.alternatives}
        if form.schema is not None and self.answer == "json_schema":
            strict = {"name": form.name, "strict": True, "schema": form.schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif form.schema is not None and self.answer == "json_object":
            fields["response_format"] = {"type": "json_object"}
        return fields

    def after(self, refusal: str) -> Dialect:
        """The dialect to try next, given what a status 400 said; itself if it said nothing new."""
        if self.short and _LENGTH.search(refusal) and _TOO_SHORT.search(refusal):
            return replace(self, short=False)
        if not _UNKNOWN.search(refusal) or _TOO_LONG.search(refusal):
            return self
        if self.answer and _FORMAT.search(refusal):
            return replace(self, answer="json_object" if self.answer == "json_schema" else None)
        if self.alternatives and "logprobs" in refusal.lower():
            limited = self.alternatives == 10 and "top_logprobs" in refusal.lower()
            return replace(self, alternatives=5 if limited else 0)
        return self._with_another_limit(refusal)

    def _with_another_limit(self, refusal: str) -> Dialect:
        if self.length == "max_tokens" and re.search("max_(completion_)?tokens", refusal):
            return replace(self, length="max_completion_tokens")
        if self.length and "max_completion_tokens" in refusal:
            return replace(self, length=None)
        unknown = self.temperature and "temperature" in refusal.lower()
        return replace(self, temperature=False) if unknown else self


def dialect_from(facts: Mapping[str, Any]) -> Dialect:
    """The dialect that an earlier run wrote down as its fields; a fresh one if that is none."""
    try:
        return _DIALECT.validate_python(facts)
    except ValidationError:
        return Dialect()


_DIALECT: Final = TypeAdapter(Dialect)
