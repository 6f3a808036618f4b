"""Know the prompts that well-known open models were trained with, for queries and documents.

Without its prompt a model retrieves worse, and gives no error. Servers of open models do not add
it, so the client must. Each line is from the model's own card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from arena.config.models import ModelConfig
from arena.embedding.providers import PRESETS


@dataclass(frozen=True, slots=True)
class Prompts:
    """The words of one model, or of its whole family."""

    query: str = ""  #: put before each query
    document: str = ""  #: put before each document


_NONE: Final = Prompts()
_SEARCH_SENTENCE: Final = Prompts("Represent this sentence for searching relevant passages: ")
_WEB_SEARCH: Final = "Given a web search query, retrieve relevant passages that answer the query"
_TASK_AND_TITLE: Final = Prompts("task: search result | query: ", "title: none | text: ")
_INSTRUCT: Final = Prompts(f"Instruct: {_WEB_SEARCH}\nQuery: ")

# Looked for in this order in the model's name without its owner, in small letters.
_FAMILIES: Final = (
    (r"e5-mistral|e5-.*-instruct", _INSTRUCT),
    (r"(^|-)e5-(small|base|large)", Prompts("query: ", "passage: ")),
    (r"qwen3-(vl-)?embedding", Prompts(f"Instruct: {_WEB_SEARCH}\nQuery:")),
    (r"gte-qwen|sfr-embedding|linq-embed", _INSTRUCT),
    (r"bge-(small|base|large)-en", _SEARCH_SENTENCE),
    (r"bge-(small|base|large)-zh", Prompts("为这个句子生成表示以用于检索相关文章：")),
    (r"nomic-embed|modernbert-embed", Prompts("search_query: ", "search_document: ")),
    (r"mxbai-embed-(2d-)?large|uae-large", _SEARCH_SENTENCE),
    (r"mxbai-embed-de-large", Prompts("query: ", "passage: ")),
    (r"arctic-embed(2|.*v2)", Prompts("query: ")),
    (r"arctic-embed", _SEARCH_SENTENCE),
    (r"embeddinggemma|gemini-embedding-2", _TASK_AND_TITLE),
    (r"jina-embeddings-v5-text", Prompts("Query: ", "Document: ")),
    (r"stella-en-.*-v5", Prompts(f"Instruct: {_WEB_SEARCH}.\nQuery: ")),
    (r"bge-m3|(^|-)gte-|jina-embeddings-v2|minilm|mpnet|potion|granite-embedding", _NONE),
)


def known_prompts(name: str) -> Prompts | None:
    """Return the prompts of a model by any of its names; None if none are known.

    Args:
        name: ``intfloat/e5-base-v2``, a folder, ``nomic-embed-text:latest`` or the like.
    """
    own_name = re.split(r"[/\\]", name.rstrip("/\\"))[-1].lower().replace("_", "-")
    return next((prompts for words, prompts in _FAMILIES if re.search(words, own_name)), None)


def role_prefixes(model: ModelConfig) -> tuple[str, str]:
    """Return what arena puts before each query and before each document.

    The arena.toml decides, also with an empty text. Otherwise the known prompts of the model apply.
    If the request tells the provider which texts are queries, the provider adds them itself.
    """
    name = model.model or model.name
    preset = PRESETS.get(model.provider or "")
    told = preset is not None and preset.tells_roles(name)
    known = (None if told else known_prompts(name)) or _NONE
    return (
        known.query if model.query_prefix is None else model.query_prefix,
        known.document if model.document_prefix is None else model.document_prefix,
    )
