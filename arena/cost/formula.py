"""Compute dollars a month from what one document and one query take, and from the load.

``static/cost.js`` of the site computes the same in a browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from arena.config.usage import UsageConfig

MONTHS: Final = 12
SECONDS_PER_HOUR: Final = 3600
GB: Final = 1e9

Machine = Literal["none", "local", "server"]
"""Whose computer works: the provider's, this one, or a server of your own."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a passage and a query take of one model, and their prices; None is unknown, never 0.

    A passage is a text that the model searches: it has one vector.
    """

    tokens_per_passage: float | None = None
    tokens_per_query: float | None = None
    price_per_1m_tokens: float | None = None  #: US dollars
    bytes_per_passage: float | None = None  #: of the index; 0 for a model without vectors
    seconds_per_passage: float | None = None  #: of a machine of your own; 0 with a provider
    seconds_per_query: float | None = None
    price_per_hour: float | None = None  #: of that machine, US dollars; None: that of the usage
    price_per_1k_queries: float = 0.0  #: US dollars
    price_per_month: float | None = None  #: fixed US dollars; None: nobody knows what it costs
    machine: Machine = "none"
    needs_price: str = "price_per_1m_tokens"  #: the key to set where no price is known
    vectors_per_passage: float = 1.0  #: not 1 if the model cuts documents in its own way
    below: tuple[str, ...] = ()  #: models whose runs it reranks or fuses; their cost is added


FREE: Final = Rates(
    tokens_per_passage=0.0,
    tokens_per_query=0.0,
    price_per_1m_tokens=0.0,
    bytes_per_passage=0.0,
    seconds_per_passage=0.0,
    seconds_per_query=0.0,
    price_per_month=0.0,
)
"""What costs nothing of its own, such as merging the rankings of other models."""

UNKNOWN_COST: Final = replace(FREE, price_per_month=None, needs_price="its prices in an arena.toml")
"""A model of which only battles are known."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars a month of one model; None is unknown, never 0."""

    model: str
    indexing: float | None  #: all documents, embedded again this many times a year
    queries: float | None  #: embedding or reranking of the queries
    storage: float | None  #: of the vectors
    fixed: float | None
    per_month: float | None  #: the sum
    once: float | None  #: US dollars to embed all documents once
    needs: tuple[str, ...] = ()  #: what makes a figure unknown, by the key to set
    machine_is_free: bool = False  #: the time of your own machine counts as 0


def monthly_costs(rates: Mapping[str, Rates], usage: UsageConfig) -> dict[str, Cost]:
    """Return model → what it costs a month.

    Args:
        rates: of each model.
        usage: the load, and the prices beside the models.
    """
    own = {model: _own_cost(model, own, usage) for model, own in rates.items()}
    return {model: _with_below(model, own, rates, usage) for model in rates}


class _Needs:
    """Products of figures that may be unknown, and the keys that would make them known."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}

    def product(self, factor: float, *factors: tuple[float | None, str]) -> float | None:
        """Return the product; 0 if any factor is 0, else None if any is unknown."""
        values = [value for value, _ in factors]
        if factor == 0 or 0 in values:
            return 0.0
        unknown = [key for value, key in factors if value is None]
        self.keys.update(dict.fromkeys(unknown))
        if unknown:
            return None
        for value in values:
            factor *= value or 0.0
        return factor


def _own_cost(model: str, rates: Rates, usage: UsageConfig) -> Cost:
    """Return the cost of a model without that of the runs that it is made of."""
    if rates.price_per_month is None:
        return Cost(model, None, None, None, None, None, None, (rates.needs_price,))
    # The order of these calls is the order in which a person reads what is still to be set.
    needs = _Needs()
    passages = (usage.passages_per_document or 1.0) * rates.vectors_per_passage
    once = _index_cost(rates, usage, passages, needs)
    queries = _queries_cost(rates, usage, needs)
    storage = needs.product(
        usage.documents * passages / GB * usage.price_per_gb_month,
        (rates.bytes_per_passage, "measurements of `arena retrieve`"),
    )
    again = usage.reindex_per_year / MONTHS
    indexing = 0.0 if again == 0 else None if once is None else once * again
    return Cost(
        model,
        indexing=indexing,
        queries=queries,
        storage=storage,
        fixed=rates.price_per_month,
        per_month=_sum(indexing, queries, storage, rates.price_per_month),
        once=once,
        needs=tuple(needs.keys),
        machine_is_free=rates.machine == "local" and _unpriced(rates, usage),
    )


def _index_cost(rates: Rates, usage: UsageConfig, passages: float, needs: _Needs) -> float | None:
    """Return the cost of embedding all documents once; ``passages`` are the vectors of each."""
    tokens = usage.tokens_per_document
    if tokens is None and rates.tokens_per_passage is not None:
        tokens = rates.tokens_per_passage * passages
    return _sum(
        needs.product(
            usage.documents / 1e6,
            (tokens, "tokens_per_document"),
            (rates.price_per_1m_tokens, rates.needs_price),
        ),
        needs.product(
            usage.documents * passages / SECONDS_PER_HOUR,
            (rates.seconds_per_passage, "price_per_month"),
            _hour(rates, usage),
        ),
    )


def _queries_cost(rates: Rates, usage: UsageConfig, needs: _Needs) -> float | None:
    """Return the cost of a month's queries."""
    tokens = rates.tokens_per_query if usage.tokens_per_query is None else usage.tokens_per_query
    return _sum(
        needs.product(
            usage.queries_per_month / 1e6,
            (tokens, "tokens_per_query"),
            (rates.price_per_1m_tokens, rates.needs_price),
        ),
        needs.product(
            usage.queries_per_month / SECONDS_PER_HOUR,
            (rates.seconds_per_query, "price_per_month"),
            _hour(rates, usage),
        ),
        usage.queries_per_month / 1000 * rates.price_per_1k_queries,
    )


def _unpriced(rates: Rates, usage: UsageConfig) -> bool:
    return rates.price_per_hour is None and usage.price_per_hour is None


def _hour(rates: Rates, usage: UsageConfig) -> tuple[float | None, str]:
    """Return the price of an hour of the model's machine, and the key to set if it is unknown."""
    price = usage.price_per_hour if rates.price_per_hour is None else rates.price_per_hour
    if price is None and rates.machine != "server":
        price = 0.0
    return price, "price_per_hour"


def _with_below(
    model: str, own: Mapping[str, Cost], rates: Mapping[str, Rates], usage: UsageConfig
) -> Cost:
    """Return the cost of a model together with that of all models that it is made of, each once."""
    names = _all_below(model, rates)
    if len(names) == 1:
        return own[model]
    costs = [own[name] if name in own else _own_cost(name, UNKNOWN_COST, usage) for name in names]
    return Cost(
        model,
        indexing=_sum(*[cost.indexing for cost in costs]),
        queries=_sum(*[cost.queries for cost in costs]),
        storage=_sum(*[cost.storage for cost in costs]),
        fixed=_sum(*[cost.fixed for cost in costs]),
        per_month=_sum(*[cost.per_month for cost in costs]),
        once=_sum(*[cost.once for cost in costs]),
        needs=tuple(dict.fromkeys(key for cost in costs for key in cost.needs)),
        machine_is_free=any(cost.machine_is_free for cost in costs),
    )


def _all_below(model: str, rates: Mapping[str, Rates]) -> list[str]:
    """Return a model and those below it, at any depth: two that share a model pay for it once."""
    names = [model]
    for name in names:  # grows on the way
        below = rates[name].below if name in rates else ()
        names += [other for other in below if other not in names]
    return names


def _sum(*amounts: float | None) -> float | None:
    """Return the sum; None if any part is unknown."""
    known: Sequence[float] = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None
