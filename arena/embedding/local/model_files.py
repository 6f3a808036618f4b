"""Find and read the files of a model, in a folder or on the Hugging Face hub.

This module neither fetches nor loads weights, so a model whose vectors are all cached never loads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from arena.config import ModelConfig
from arena.embedding.local.base import needed_package
from arena.embedding.prompts import Prompts, role_prefixes
from arena.errors import DataError, UsageError
from arena.terminal import one_line

_WEIGHTS: Final = {".json", ".txt", ".model", ".safetensors", ".bin", ".pt", ".py"}
_OTHER_RUNTIMES: Final = {"onnx", "openvino"}
Tree = Mapping[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model that is found."""

    name: str  #: what its library loads it by: a folder, or its name on the hub
    commit: str | None  #: of the hub; None for a folder
    identity: str  #: changes whenever a file of it does
    config: Tree  #: its config.json
    sentence_config: Tree  #: its config_sentence_transformers.json; empty if it has none

    @property
    def short_name(self) -> str:
        """Return the folder's own name, or the name on the hub."""
        return self.name if self.commit else folder_name(Path(self.name))


def find_model(model: ModelConfig, *, extra: str) -> ModelFiles:
    """Find a model by what the config calls it.

    The hub's own settings hold: ``HF_TOKEN``, ``HF_HOME``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``.

    Args:
        model: its ``model``, or else its name, is a folder or a name on the hub.
        extra: what installs the packages that it needs.

    Raises:
        DataError: a file of the folder is not what it should be.
        UsageError: there is no such folder, and the hub has no such model or is out of reach.
    """
    name = model.model or model.name
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelFiles(
            str(folder),
            None,
            digest_files(folder, _parts(folder)),
            read_json_object(folder / "config.json"),
            read_json_object(folder / "config_sentence_transformers.json"),
        )
    config = _fetch(model, name, "config.json", extra=extra)
    if config is None:
        raise UsageError(f"{model.name}: {name} on the hub has no config.json, so it is no model")
    commit = config.parent.name
    sentence = _fetch(model, name, "config_sentence_transformers.json", extra=extra, commit=commit)
    return ModelFiles(
        name,
        commit,
        commit,
        read_json_object(config),
        read_json_object(sentence) if sentence else {},
    )


def find_part(model: ModelConfig, files: ModelFiles, file: str, *, extra: str) -> Path | None:
    """Return a further file of a model; None if the model has no such file.

    Raises:
        UsageError: the hub is out of reach.
    """
    if files.commit is None:
        path = Path(files.name) / file
        return path if path.is_file() else None
    return _fetch(model, files.name, file, extra=extra, commit=files.commit)


def own_prompts(model: ModelConfig, sentence_config: Tree) -> Prompts:
    """Return the prompts of queries and documents.

    The arena.toml decides, also with an empty text. Otherwise the model's own files decide, by the
    names that Sentence Transformers looks for. Otherwise the known prompts of such models apply.
    """
    given = sentence_config.get("prompts")
    prompts: Tree = given if isinstance(given, dict) else {}
    query = str(prompts.get("query") or "")
    names = ("document", "passage", "corpus")
    document = next((str(prompts[name]) for name in names if prompts.get(name)), "")
    if not query and not document:
        query, document = role_prefixes(model)
    return Prompts(
        query if model.query_prefix is None else model.query_prefix,
        document if model.document_prefix is None else model.document_prefix,
    )


def trained_short(config: Tree) -> bool:
    """Return whether a config.json allows cut vectors (arXiv:2205.13147), as vLLM reads it."""
    return bool(config.get("is_matryoshka") or config.get("matryoshka_dimensions"))


def digest_files(folder: Path, files: Iterable[Path]) -> str:
    """Return a hash of files: their places in the folder and all of their bytes."""
    state = hashlib.blake2b(digest_size=16)
    for path in sorted(files):
        state.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        with path.open("rb") as file:
            state.update(hashlib.file_digest(file, hashlib.blake2b).digest())
    return state.hexdigest()


def folder_name(folder: Path) -> str:
    """Return the last part of a path, also of ``.`` and the like."""
    return folder.name or folder.resolve().name


def read_json_object(path: Path) -> Tree:
    """Read a JSON object; return an empty one if there is no such file.

    Raises:
        DataError: the file holds something else.
    """
    if not path.is_file():
        return {}
    try:
        tree = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(path, None, f"not valid JSON: {error}") from None
    if not isinstance(tree, dict):
        raise DataError(path, None, f"holds a {type(tree).__name__}", "expected a JSON object")
    return tree


def unloadable(model: ModelConfig, name: str, error: BaseException) -> UsageError:
    """Return the error for files that their library refuses."""
    return UsageError(f"{model.name}: {name} cannot be loaded: {one_line(str(error))}")


def _parts(folder: Path) -> Sequence[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.suffix in _WEIGHTS
        and path.is_file()
        and not _OTHER_RUNTIMES.intersection(path.relative_to(folder).parts)
    ]


def _fetch(
    model: ModelConfig, name: str, file: str, *, extra: str, commit: str | None = None
) -> Path | None:
    """Fetch a small file from the hub or its cache; return None if the model has no such file."""
    library = needed_package(model, "huggingface_hub", extra=extra)
    errors = needed_package(model, "huggingface_hub.errors", extra=extra)
    own_cache = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    cache = own_cache if model.provider == "sentence-transformers" else None
    try:
        return Path(library.hf_hub_download(name, file, revision=commit, cache_dir=cache))
    except errors.LocalEntryNotFoundError as error:
        if commit and library.constants.HF_HUB_OFFLINE:
            return None  # its library will not find it either
        reason: BaseException = error.__cause__ or error
    except errors.EntryNotFoundError:
        return None
    except (errors.HTTPError, OSError, ValueError) as error:
        reason = error
    remedy = "give model = a folder, or a name that can be downloaded"
    what = f"no folder {name}, and the hub does not give it"
    raise UsageError(f"{model.name}: {what} ({one_line(str(reason))}); {remedy}")
