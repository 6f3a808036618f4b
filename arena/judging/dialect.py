"""What a server takes in a chat request, learnt from its refusals.

Reasoning models reject ``temperature`` and ``max_tokens``; many servers know no JSON schema.
A request starts out with everything, and loses what the server says it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

_UNKNOWN = re.compile(
    r"unsupported|not support|n['’]t support|unrecogni[sz]ed|unknown|not permitted|not allowed"
    r"|unexpected|extra|invalid|must be|only the default|not available|not recogni[sz]ed",
    re.IGNORECASE,
)
_FORMAT = re.compile(r"response_format|json_schema|json_object|structured[ _]output", re.IGNORECASE)
_TOO_LONG = re.compile(r"context[ _](length|window)|too (long|large|many)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The optional fields of a chat request that a server takes."""

    temperature: bool = True
    length: Literal["max_tokens", "max_completion_tokens"] | None = "max_tokens"
    answer: Literal["json_schema", "json_object"] | None = "json_schema"

    def fields(
        self, *, temperature: float, max_tokens: int, name: str, schema: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The optional fields, as far as the server takes them."""
        fields: dict[str, Any] = {}
        if self.temperature:
            fields["temperature"] = temperature
        if self.length:
            fields[self.length] = max_tokens
        if self.answer == "json_schema":
            strict = {"name": name, "strict": True, "schema": schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif self.answer == "json_object":
            fields["response_format"] = {"type": "json_object"}
        return fields

    def after(self, refusal: str) -> Dialect:
        """The dialect to try next, given what a status 400 said; itself if it said nothing new."""
        if not _UNKNOWN.search(refusal) or _TOO_LONG.search(refusal):
            return self
        if self.answer and _FORMAT.search(refusal):
            return replace(self, answer="json_object" if self.answer == "json_schema" else None)
        if self.length == "max_tokens" and re.search("max_(completion_)?tokens", refusal):
            return replace(self, length="max_completion_tokens")
        if self.length and "max_completion_tokens" in refusal:
            return replace(self, length=None)
        if self.temperature and "temperature" in refusal.lower():
            return replace(self, temperature=False)
        return self
