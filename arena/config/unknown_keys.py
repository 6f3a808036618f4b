"""What to write instead of a key that an arena.toml does not have."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Final

SYNONYMS: Final = {
    "passage_words": "chunk_size chunk_words chunk_length chunk_tokens chunk max_chunk_size "
    "passage_size passage_length passage_tokens window",
    "overlap": "chunk_overlap passage_overlap overlap_words stride",
    "splitter": "chunker chunking text_splitter chunk_by split_by",
    "top_k": "k topk n_documents n_docs num_docs depth top_n cutoff",
    "rerank_depth": "top_n depth",
    "queries": "n_queries num_queries max_queries sample sample_size",
    "seed": "random_seed random_state",
    "metrics": "metric measures measure",
    "orders": "order swap both_orders",
    "hardware": "machine",
    "base_url": "url endpoint api_base host server address openai_base_url",
    "api_key_env": "api_key key apikey token api_token secret auth bearer",
    "model": "model_name model_id deployment engine",
    "provider": "type backend kind framework",
    "path": "folder dir directory file corpus data",
    "documents": "docs files",
    "hf": "huggingface hub hf_dataset",
    "qrels": "labels grades relevance judgments",
    "dimensions": "dimension dim dims embedding_size vector_size truncate_dim",
    "precision": "dtype quantization quantize data_type",
    "query_prefix": "instruction query_instruction query_prompt query_template",
    "document_prefix": "passage_prefix doc_prefix document_prompt document_template",
    "batch_size": "batch",
    "concurrency": "max_workers n_workers parallel parallelism threads max_concurrency "
    "max_concurrent_requests concurrent_requests",
    "workers": "n_workers processes",
    "timeout_s": "timeout timeout_seconds request_timeout timeout_sec",
    "rpm": "requests_per_minute rate_limit max_rpm",
    "tpm": "tokens_per_minute max_tpm",
    "max_usd": "budget max_cost cost_limit limit_usd budget_usd max_budget",
    "max_tokens": "max_completion_tokens max_output_tokens num_predict max_new_tokens",
    "prompt": "prompt_template template system_prompt prompt_file",
    "price_per_1m_input_tokens": "input_price price_in input_cost price_per_1m_input "
    "price_per_million_input_tokens input_cost_per_token",
    "price_per_1m_output_tokens": "output_price price_out output_cost price_per_1m_output "
    "price_per_million_output_tokens output_cost_per_token",
    "price_per_1m_tokens": "price cost price_per_token "
    "price_per_1k_tokens price_per_million_tokens",
    "fuse": "hybrid ensemble combine fusion",
    "rerank": "reranker",
    "base": "first_stage retriever base_model",
    "queries_per_month": "queries monthly_queries",
}
"""Key → what other tools call the same, in one text."""


def remedy(key: str, known_keys: Sequence[str], sections: Mapping[str, Sequence[str]]) -> str:
    """Return what to do about an unknown key, as the end of a sentence.

    Args:
        key: as it is written.
        known_keys: the keys that its section has.
        sections: the heading of each section → its keys.
    """
    word = _plain(key)
    same = [name for name in known_keys if _plain(name) == word]
    same += [name for name, words in SYNONYMS.items() if word in map(_plain, words.split())]
    if here := next((name for name in same if name in known_keys), None):
        return f"did you mean {here}?"
    if homes := [heading for heading, keys in sections.items() if key in keys]:
        return f"it belongs to {' or '.join(homes)}"
    if near := difflib.get_close_matches(key, known_keys, n=1):
        return f"did you mean {near[0]}?"
    for name in same:
        if homes := [heading for heading, keys in sections.items() if name in keys]:
            return f"did you mean {name} of {' or '.join(homes)}?"
    return f"known: {', '.join(known_keys)}"


def _plain(name: str) -> str:
    """Return the letters and digits of a name, so that ``top-k`` is ``topK``."""
    return re.sub(r"[\W_]", "", name.lower())
