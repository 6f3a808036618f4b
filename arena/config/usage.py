"""``[usage]`` of an arena.toml: how much a search is used, which decides what a model costs."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from arena.config.section import Section, Usd

PRICE_PER_GB_MONTH: Final = 0.33
"""US dollars: the storage of a managed serverless vector database (Pinecone Standard, 2026).

https://www.pinecone.io/pricing/. Vectors in the memory of a rented server cost ten times as much,
and those in object storage a fifth.
"""

Amount = Annotated[float, Field(ge=0, le=1e15)]
"""A number of documents, queries or tokens, with a limit that keeps products finite."""


class UsageConfig(Section):
    """``[usage]``: the load and the prices from which arena computes dollars a month."""

    documents: Amount
    """Number of documents in the index."""
    queries_per_month: Amount
    reindex_per_year: Amount = 1.0
    """Number of times a year that all documents are embedded again."""
    passages_per_document: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Number of vectors of a document; default: as cut by arena, else 1."""
    tokens_per_document: Amount | None = None
    """Tokens of a whole document, for every model; default: as measured for each model."""
    tokens_per_query: Amount | None = None
    """Tokens of a query, for every model; default: as measured for each model."""
    price_per_gb_month: Usd = PRICE_PER_GB_MONTH
    """US dollars for a gigabyte (10⁹ bytes) of vectors in a month."""
    price_per_hour: Usd | None = None
    """US dollars for an hour of the machine of your own models; default: not counted."""
