"""Count the tokens of a text: by the model's own tokenizer if it is on disk, else estimated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

CHARACTERS_PER_TOKEN: Final = 4.0
"""OpenAI's rule of thumb for English; other scripts need more tokens."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Counts tokens, and says how."""

    name: str  #: for people
    count: Callable[[str], int]


ESTIMATED: Final = Tokenizer(
    f"at {CHARACTERS_PER_TOKEN:g} characters each", lambda text: -(-len(text) // 4)
)
"""Good to about a fifth for English prose; too low for scripts that tokenizers know less well."""


def find_tokenizer(model: str | None) -> Tokenizer:
    """Return a model's tokenizer, if tiktoken is installed and has its vocabulary on disk.

    Nothing is downloaded, for an estimate asks nobody anything: tiktoken's own way to fetch a
    vocabulary is closed while it looks for one.
    """
    try:
        tiktoken: Any = import_module("tiktoken")
        files: Any = import_module("tiktoken.load")
    except ImportError:
        return ESTIMATED
    download = files.read_file
    files.read_file = _refuse
    try:
        encoding = tiktoken.encoding_for_model(model or "")
    except (KeyError, OSError, ValueError):
        return ESTIMATED
    finally:
        files.read_file = download

    def count(text: str) -> int:
        return len(encoding.encode(text, disallowed_special=()))

    return Tokenizer(f"by the tokenizer {encoding.name}", count)


def tokens_per_character(texts: Sequence[str], tokenizer: Tokenizer) -> float:
    """Return the tokens per character of a sample, which applies to similar texts."""
    n_characters = sum(map(len, texts))
    return sum(map(tokenizer.count, texts)) / n_characters if n_characters else 0.0


def _refuse(path: str) -> bytes:
    raise OSError(f"{path} is not on disk")


TOKENS_PER_MESSAGE: Final = 4
"""What an endpoint adds to a chat message: who speaks, and where it ends."""
