"""Run a network in an ONNX file with its tokenizer, and pool its token states to one vector."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.config import ModelConfig
from arena.embedding.local.base import (
    Encode,
    Encoded,
    LocalModel,
    check_installed,
    prompt_settings,
    with_prompts,
)
from arena.embedding.local.model_files import (
    Tree,
    digest_files,
    folder_name,
    own_prompts,
    read_json_object,
    trained_short,
    unloadable,
)
from arena.errors import DataError, UsageError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_BATCH_TOKENS = 512
"""Padded tokens in one run of the network: more falls out of the processor's caches."""

_LETTERS_PER_TOKEN = 32
"""Far more than any language has on average, so that this many letters are enough."""

_UP_TO_A_SPACE = re.compile(r".*\s", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How a model reads a text."""

    pooling: str = "mean"  #: of `POOLINGS`; not used where the network pools by itself
    normalized: bool = True  #: vectors are scaled to length 1
    max_tokens: int | None = None  #: what is longer is cut at its end; None if nothing is
    lower_case: bool = False  #: texts are put in small letters first


def open_network(
    network: Path, tokenizer: Path, reading: TextSettings
) -> Callable[[list[str]], Encoded]:
    """Load a network; return the function from texts to vectors.

    A text without a single token becomes the zero vector. Small batches of like length run side by
    side. States stay float32, so that a vector does not depend on its batch.

    Raises:
        ValueError: the network asks for something else than a text.
    """
    import onnxruntime  # noqa: PLC0415
    import tokenizers  # noqa: PLC0415

    words = tokenizers.Tokenizer.from_file(str(tokenizer))
    words.no_padding()
    words.no_truncation()
    if reading.max_tokens is not None:
        words.enable_truncation(reading.max_tokens)
    # Small batches side by side keep more cores busy than one batch spread over them.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(network), options, providers=["CPUExecutionProvider"]
    )
    run = _runner(session, reading)

    def encode(texts: list[str]) -> Encoded:
        given = [text.lower() for text in texts] if reading.lower_case else texts
        encodings = _first_tokens(words, given, reading.max_tokens)
        ids = [encoding.ids for encoding in encodings]
        vector_of: dict[int, Floats] = {}

        def fill(rows: list[int]) -> None:
            vector_of.update(zip(rows, run([ids[row] for row in rows]), strict=True))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, _batches([len(tokens) for tokens in ids])))
        # Where no text has a token, any token tells the length of a vector.
        size = len(next(iter(vector_of.values())) if vector_of else run([[0]])[0])
        vectors = np.zeros((len(texts), size), np.float32)
        for row, vector in vector_of.items():
            vectors[row] = vector
        return Encoded(vectors, sum(bool(encoding.overflowing) for encoding in encodings))

    return encode


def _first_tokens(words: Any, texts: list[str], max_tokens: int | None) -> list[Any]:
    """Tokenize texts; of a long text only the beginning, because a tokenizer reads all first.

    A beginning ends between two words. It counts if it has twice the wanted tokens, so that the
    rest of the text cannot change the first ones. Otherwise the whole text is read.
    """
    if max_tokens is None:
        return list(words.encode_batch(texts))
    begins = [_beginning(text, max_tokens * _LETTERS_PER_TOKEN) for text in texts]
    encodings = list(words.encode_batch(begins))
    for row, (text, begin) in enumerate(zip(texts, begins, strict=True)):
        n_more = sum(len(rest.ids) for rest in encodings[row].overflowing)
        if len(begin) < len(text) and n_more < max_tokens:
            encodings[row] = words.encode(text)
    return encodings


def _beginning(text: str, most: int) -> str:
    """Return the first ``most`` letters up to the last white space; all of short texts."""
    if len(text) <= most:
        return text
    found = _UP_TO_A_SPACE.match(text, 0, most)
    return found[0] if found else ""


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield rows of like length together, shortest first, within the budget of padded tokens."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not lengths[row]:
            continue
        if rows and (len(rows) + 1) * lengths[row] > _BATCH_TOKENS:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def _runner(session: Any, reading: TextSettings) -> Callable[[Sequence[Sequence[int]]], Floats]:
    """Return the function from token ids to vectors, by the file's inputs and outputs."""
    kinds = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
    inputs = {node.name: kinds.get(node.type) for node in session.get_inputs()}
    if unknown := [name for name, kind in inputs.items() if name not in _INPUTS or kind is None]:
        raise ValueError(
            f"the network asks for {', '.join(unknown)}; known are {', '.join(_INPUTS)}"
        )
    output, pooled = _output({node.name: len(node.shape or ()) for node in session.get_outputs()})
    pool = POOLINGS[reading.pooling]

    def run(batch: Sequence[Sequence[int]]) -> Floats:
        ids, mask = _padded(batch)
        feed = {name: _INPUTS[name](ids, mask).astype(kind) for name, kind in inputs.items()}
        (found,) = session.run([output], feed)
        vectors: Floats = np.asarray(found, np.float32)
        if not pooled:
            vectors = pool(vectors, mask)
        if reading.normalized:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
        return vectors

    return run


def _output(ranks: Mapping[str, int]) -> tuple[str, bool]:
    """Return which output is read, and whether it is already one vector for each text."""
    vectors = [name for name, rank in ranks.items() if rank == 2]
    states = [name for name, rank in ranks.items() if rank == 3]
    if "sentence_embedding" in vectors:
        return "sentence_embedding", True
    # Beside token states, a vector is a pooler's, which was trained for another task.
    if states:
        return states[0], False
    if vectors:
        return vectors[0], True
    raise ValueError(f"the network gives {', '.join(ranks)}, and none of it is a vector")


def _padded(batch: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


_INPUTS: Final[Mapping[str, Callable[[Ints, Ints], Ints]]] = {
    "input_ids": lambda ids, _: ids,
    "attention_mask": lambda _, mask: mask,
    "token_type_ids": lambda ids, _: np.zeros_like(ids),
    "position_ids": lambda ids, _: np.broadcast_to(np.arange(ids.shape[1]), ids.shape),
}
"""What a network may ask for: made of token ids and of the mask, both ``(n_texts, n_tokens)``."""


def _mean(states: Floats, mask: Ints) -> Floats:
    total: Floats = (states * mask[:, :, None].astype(np.float32)).sum(axis=1)
    total /= mask.sum(axis=1, keepdims=True)
    return total


def _last(states: Floats, mask: Ints) -> Floats:
    last: Floats = states[np.arange(len(states)), mask.sum(axis=1) - 1]
    return last


POOLINGS: Final[Mapping[str, Callable[[Floats, Ints], Floats]]] = {
    "mean": _mean,
    "cls": lambda states, _: states[:, 0],
    "lasttoken": _last,
    "max": lambda states, mask: np.where(mask[:, :, None] > 0, states, -np.inf).max(axis=1),
}
"""Token states ``(n_texts, n_tokens, dim)`` and their mask to vectors ``(n_texts, dim)``."""

_log = logging.getLogger(__name__)
_EXTRA: Final = "onnx"

_OLD_POOLINGS: Final = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
"""One switch for each, as files had them before version 6 of the library."""


@dataclass(frozen=True, slots=True)
class _OnnxFiles:
    network: Path
    root: Path  #: where the small files are

    def tree(self, name: str) -> Tree:
        return read_json_object(self.root / name)


def open_onnx(model: ModelConfig) -> LocalModel:
    """Open a model whose ``model`` is an ONNX file, or a folder with one.

    Raises:
        DataError: a small file of it is not what it should be.
        UsageError: onnxruntime is not installed, a file is missing, or its vectors are made in a
            way that is not known here.
    """
    for package in ("onnxruntime", "tokenizers"):
        check_installed(model, package, extra=_EXTRA)
    files = _find(model)
    reading = _reading(model, files)
    prompts = own_prompts(model, files.tree("config_sentence_transformers.json"))
    weights = files.network.parent.glob(f"{files.network.name}*")  # some lie in files of their own
    settings = {
        "model": folder_name(files.root),
        "files": digest_files(files.root, [*weights, files.root / "tokenizer.json"]),
        "pooling": reading.pooling,
        "normalized": reading.normalized,
        "max_tokens": reading.max_tokens,
        "lower_case": reading.lower_case,
        **prompt_settings(prompts),
    }

    def load() -> Encode:
        try:
            encode = open_network(files.network, files.root / "tokenizer.json", reading)
        except Exception as error:  # noqa: BLE001  tokenizers and onnxruntime raise no other class
            raise unloadable(model, str(files.network), error) from None
        return with_prompts(prompts, encode)

    return LocalModel(settings, load, may_be_cut=trained_short(files.tree("config.json")))


def _find(model: ModelConfig) -> _OnnxFiles:
    stated = Path(model.model or model.name).expanduser()
    tried = [stated, stated / "model.onnx", stated / "onnx" / "model.onnx"]
    network = next((path for path in tried if path.is_file()), None)
    if network is None:
        raise UsageError(
            f"{model.name}: {stated} is not an ONNX file and not a folder with model.onnx or "
            "onnx/model.onnx; give model = one of these"
        )
    roots = [network.parent, network.parent.parent]
    root = next((root for root in roots if (root / "tokenizer.json").is_file()), None)
    if root is None:
        raise UsageError(f"{model.name}: there is no tokenizer.json beside {network}")
    return _OnnxFiles(network, root)


def _reading(model: ModelConfig, files: _OnnxFiles) -> TextSettings:
    """Return how this model turns a text into one vector, as its files define it."""
    modules = _modules(files.root / "modules.json")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if other := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise UsageError(
            f"{model.name}: has a {min(other)} layer after its network, which only "
            'provider = "sentence-transformers" runs'
        )
    paths = [m.get("path", "") for m, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    pooling = _pooling(model, files.tree(f"{paths[0] if paths else '1_Pooling'}/config.json"))
    sentence = files.tree("sentence_bert_config.json")
    return TextSettings(
        pooling=pooling,
        normalized="Normalize" in kinds,
        max_tokens=_max_tokens(files, sentence),
        lower_case=bool(sentence.get("do_lower_case")),
    )


def _pooling(model: ModelConfig, config: Tree) -> str:
    if not config:
        _log.warning("%s: says nothing of its pooling; the mean of its token states", model.name)
        return "mean"
    named = config.get("pooling_mode")
    switched = [name for switch, name in _OLD_POOLINGS.items() if config.get(switch)]
    pooling = named if isinstance(named, str) else "+".join(named or switched)
    if pooling not in POOLINGS:
        raise UsageError(f'{model.name}: pooling "{pooling}" is not one of {", ".join(POOLINGS)}')
    if config.get("include_prompt") is False:
        raise UsageError(
            f"{model.name}: leaves its prompt out of the pooling, which only "
            'provider = "sentence-transformers" does'
        )
    return pooling


def _max_tokens(files: _OnnxFiles, sentence: Tree) -> int | None:
    """Return the longest text, with special tokens, by the rule of Sentence Transformers."""
    if sentence.get("max_seq_length"):
        return int(sentence["max_seq_length"])
    limits = (
        files.tree("tokenizer_config.json").get("model_max_length"),
        files.tree("config.json").get("max_position_embeddings"),
    )
    # A tokenizer without a limit says so by a number of thirty digits.
    return min((int(limit) for limit in limits if limit and limit < 10**9), default=None)


def _modules(path: Path) -> list[Tree]:
    if not path.is_file():
        return []
    try:
        modules = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(path, None, f"not valid JSON: {error}") from None
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise DataError(path, None, "is no list of modules")
    return modules
