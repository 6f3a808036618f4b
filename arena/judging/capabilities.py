"""Track which optional fields a server accepts in a chat request, by its refusals.

Reasoning models reject ``temperature`` and ``max_tokens``; many servers support no JSON schema, or
no log-probabilities. A request starts with all fields, and loses those that a refusal names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

SHORT: Final = 4
"""Tokens for a reply of one word: room for a blank or a quotation mark, too little for prose."""

_FORMAT: Final = (
    "responseformat",
    "jsonschema",
    "jsonobject",
    "jsonmode",
    "structuredoutput",
    "outputformat",
    "outputconfig",
    "textformat",
    "responseschema",
    "responsemimetype",
    "guidedjson",
    "grammar",
)

_LENGTH: Final = ("maxtokens", "maxcompletiontokens", "maxoutputtokens", "maxnewtokens")
"""What servers call a field, in small letters alone; some translate it for another server."""

_TOO_SHORT = re.compile(
    r"at least|minimum|greater than|>=|below|too (small|low|short)|limit was reached", re.IGNORECASE
)
"""What a refusal of a limit says that is not refused for what it is; only a hint what to try."""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """What a judge is to write: a JSON object of this schema, or else one of these words."""

    schema: Mapping[str, Any] | None = None
    labels: tuple[str, ...] = ()  #: in lower case
    name: str = "verdict"  #: what the endpoint is told that the object is


@dataclass(frozen=True, slots=True)
class ServerCapabilities:
    """The optional fields of a chat request that a server takes."""

    temperature: bool = True
    length: Literal["max_tokens", "max_completion_tokens"] | None = "max_tokens"
    answer: Literal["json_schema", "json_object"] | None = "json_schema"
    alternatives: Literal[0, 5, 10] = 10  #: ``top_logprobs``; some servers give no more than 5
    short: bool = True  #: takes a limit of `SHORT` tokens, and answers within it

    def fields(
        self, form: ResponseFormat, *, temperature: float, max_tokens: int
    ) -> dict[str, Any]:
        """Return the optional fields, as far as the server takes them."""
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

    def after(self, refusal: str, form: ResponseFormat | None = None) -> ServerCapabilities:
        """Return the capabilities to try after a refusal that names a field, else the same.

        Only the name of the field matters, in any language; each try has fewer fields. A refusal
        may name a field because it echoes a text, so keep the result only if the next request is
        answered.

        Args:
            refusal: all that a status 400 or 422 said.
            form: of the request, which may have had no such field; any field if absent.
        """
        letters = re.sub(r"[^a-z0-9]", "", refusal.lower())
        schema = form is None or form.schema is not None
        labels = form is None or bool(form.labels)
        if schema and self.answer and any(name in letters for name in _FORMAT):
            return replace(self, answer="json_object" if self.answer == "json_schema" else None)
        if labels and self.alternatives and "logprobs" in letters:
            limited = self.alternatives == 10 and letters.count("logprobs") == letters.count(
                "toplogprobs"
            )
            return replace(self, alternatives=5 if limited else 0)
        if self.temperature and "temperature" in letters:
            return replace(self, temperature=False)
        # A limit beside the length of the context is a sum, and names no unknown field.
        if self.length and "context" not in letters and any(name in letters for name in _LENGTH):
            too_short = labels and self.short and _TOO_SHORT.search(refusal)
            return self._with_another_limit(too_short=bool(too_short))
        return self

    def _with_another_limit(self, *, too_short: bool) -> ServerCapabilities:
        if too_short:
            return replace(self, short=False)
        if self.length == "max_tokens":
            return replace(self, length="max_completion_tokens")
        return replace(self, length=None)

    def joined(self, other: ServerCapabilities) -> ServerCapabilities:
        """Return the capabilities that both have: the least of either."""
        length = self.length if self.length != "max_tokens" else other.length
        answer = self.answer if self.answer != "json_schema" else other.answer
        return ServerCapabilities(
            temperature=self.temperature and other.temperature,
            length=length if other.length is not None else None,
            answer=answer if other.answer is not None else None,
            alternatives=min(self.alternatives, other.alternatives),
            short=self.short and other.short,
        )


def capabilities_from(facts: Mapping[str, Any]) -> ServerCapabilities:
    """Return the capabilities that an earlier run recorded, or the default ones."""
    try:
        return _CAPABILITIES.validate_python(facts)
    except ValidationError:
        return ServerCapabilities()


_CAPABILITIES: Final = TypeAdapter(ServerCapabilities)
