"""Define a local model before and after it is loaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena import optional
from arena.config import ModelConfig
from arena.embedding.prompts import Prompts
from arena.errors import UsageError
from arena.records import Role


@dataclass(frozen=True, slots=True)
class Encoded:
    """The vectors of some texts."""

    vectors: NDArray[np.float32]  #: (n_texts, dim), not always of length 1
    n_cut: int = 0  #: texts that were too long, so that the model has not read their ends


Encode = Callable[[Sequence[str], Role], Encoded]
"""Texts of a role to vectors; what the model wants before them is put there."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that is known, and not loaded before there is something to embed."""

    settings: Mapping[str, object]  #: as `arena.embedding.embedder.Embedder.settings`
    load: Callable[[], Encode]  #: reads the weights; raises UsageError where they are unusable
    may_be_cut: bool = False  #: the first numbers of its vectors are vectors too, as it says itself


def with_prompts(prompts: Prompts, encode: Callable[[list[str]], Encoded]) -> Encode:
    """Put the prompt of its role before each text."""

    def encode_role(texts: Sequence[str], role: Role) -> Encoded:
        prompt = prompts.query if role == "query" else prompts.document
        return encode([prompt + text for text in texts])

    return encode_role


def prompt_settings(prompts: Prompts) -> dict[str, object]:
    """Return the prompt of each role as a setting of that role alone."""
    return {"query_prefix": prompts.query, "document_prefix": prompts.document}


def needed_package(model: ModelConfig, module: str, *, extra: str) -> Any:
    """Return a module of a package that an extra brings; see `arena.optional.needed`."""
    return optional.needed(module, _user(model), extra=extra)


def check_installed(model: ModelConfig, package: str, *, extra: str) -> None:
    """Check that a package is there, without loading it.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise missing_package(model, package, extra=extra)


def missing_package(model: ModelConfig, package: str, *, extra: str) -> UsageError:
    """Return the error of a missing package; see `arena.optional.missing`."""
    return optional.missing(package, _user(model), extra=extra)


def _user(model: ModelConfig) -> str:
    return f"{model.name}: {model.provider or model.rerank}"
