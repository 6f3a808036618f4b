"""Import packages that only some data sources need, with a hint if one is missing."""

from __future__ import annotations

import importlib
from typing import Any, Final

from arena.errors import UsageError

_EXTRAS: Final = {
    "huggingface_hub": "hf",
    "huggingface_hub.errors": "hf",
    "huggingface_hub.utils": "hf",
    "pyarrow": "hf",
    "pyarrow.parquet": "hf",
    "yaml": "hf",
    "bs4": "documents",
    "markdown_it": "documents",
    "markdownify": "documents",
    "pypdfium2": "documents",
    "selectolax.lexbor": "documents",
    "semantic_text_splitter": "documents",
}


def needed(module: str, reason: str) -> Any:
    """Return a module of an optional package.

    Args:
        module: its dotted name.
        reason: what needs it, for the message.

    Raises:
        UsageError: the package is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        extra = _EXTRAS[module]
        raise UsageError(
            f"{reason} needs the package {error.name}, which is not installed; "
            f'pip install "retrieval-arena[{extra}]"'
        ) from None
