"""Import packages that only some data sources need, with a hint if one is missing."""

from __future__ import annotations

import importlib
from typing import Any, Final

from arena.errors import UsageError

_EXTRAS: Final = {
    "datasets": "datasets",
    "huggingface_hub": "hf",
    "huggingface_hub.constants": "hf",
    "huggingface_hub.errors": "hf",
    "huggingface_hub.utils": "hf",
    "pyarrow": "hf",
    "pyarrow.parquet": "hf",
    "yaml": "hf",
    "anydoc": "documents",
    "bs4": "documents",
    "docutils.core": "documents",
    "docutils.nodes": "documents",
    "docutils.parsers.rst": "documents",
    "docutils.parsers.rst.directives": "documents",
    "docutils.parsers.rst.roles": "documents",
    "markdown_it": "documents",
    "markdownify": "documents",
    "pypdfium2": "documents",
    "python_calamine": "documents",
    "selectolax.lexbor": "documents",
    "semantic_text_splitter": "documents",
}


def needed(module: str, reason: str, *, extra: str | None = None) -> Any:
    """Return a module of an optional package.

    Args:
        module: its dotted name.
        reason: what needs it, for the message.
        extra: the extra of arena that brings it; the one of data sources if absent.

    Raises:
        UsageError: the package is not installed; the message says how to get it.
    """
    try:
        importlib.import_module(module.partition(".")[0])  # one of its modules may be loaded
        return importlib.import_module(module)
    except ImportError as error:
        package = error.name or module.partition(".")[0]
        raise missing(package, reason, extra=extra or _EXTRAS[module]) from None


def missing(package: str, reason: str, *, extra: str) -> UsageError:
    """Return the error that names a missing package and the command that installs it."""
    return UsageError(
        f'{reason} needs {package}, which is not installed; pip install "retrieval-arena[{extra}]"'
    )
