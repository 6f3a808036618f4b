"""Define how often arena tries a request, and how long it waits in between."""

from __future__ import annotations

from dataclasses import dataclass, field

from arena.endpoint.outage import OutagePolicy


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is tried, and how long is waited in between."""

    attempts: int = 8  #: per request, the first one included, those during an outage excluded
    first_contact: int = (
        3  #: attempts at an endpoint that never answered, and never reported that it is busy
    )
    unusable: int = 3  #: calls without a usable answer, where none ever came, that stop a run
    late: int = 2  #: attempts that may end without an answer in time, or with an empty one
    base_s: float = 0.5  #: the first wait; it doubles from then on, with jitter
    longest_s: float = 60.0  #: no wait is longer, unless the endpoint asks for it
    longest_asked_s: float = 600.0  #: no wait that the endpoint asks for is longer than this
    storm_s: float = 5.0  #: everyone's wait in a storm of refusals that state none
    told_silence_s: float = 10.0
    """How long requests may fail unanswered before a message tells why."""
    longest_silence_s: float = 86_400.0
    """How long requests may fail unanswered before a run stops; a daily quota is new by then."""
    outage: OutagePolicy = field(default_factory=OutagePolicy)
    """When the endpoint is down, and what then."""
