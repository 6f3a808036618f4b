"""Prompt templates: load and check one, and put a query and what was found before a judge.

Retrieved text is data, not instruction. Each document is in a fence. Its code is a hash of the
query and of the document itself, so no text can hold its own closing tag. Text that looks like a
tag is defused on top of that.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from itertools import islice
from pathlib import Path

from arena.digest import digest
from arena.errors import ConfigError
from arena.records import Document, JudgeInput, Query

PLACEHOLDERS = ("query", "first", "second")
"""Of a template that shows two lists."""

POINTWISE_PLACEHOLDERS = ("query", "document")
"""Of a template that shows one document."""

QUERIES_PLACEHOLDERS = ("number", "document")
"""Of a template that asks for queries to one document."""

_RENDERING = "1"
"""Part of every prompt's hash: raise it when the same template would render otherwise."""

_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_HEADING = re.compile(r"^#[ \t]+(system|user)[ \t]*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A checked template."""

    name: str  #: as the config names it
    system: str  #: the same for every battle
    user: str  #: with each of its placeholders once

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Return the set of placeholders that the prompt uses."""
        return _expected(_PLACEHOLDER.findall(self.user))

    @property
    def hash(self) -> str:
        """Return 16 hexadecimal digits that change with every change that a judge could see."""
        return digest(_RENDERING, self.system, self.user, size=8).hex()


def load_prompt(name_or_path: str, *, folder: Path | None = None) -> Prompt:
    """Load a template by name (``pairwise``) or by path (``prompts/mine.md``).

    Args:
        name_or_path: a name means ``prompts/<name>.md``, first in ``folder``, then among
            arena's own; anything with a slash or ending in .md is a path.
        folder: of the experiment's config; relative paths start there.

    Raises:
        ConfigError: there is no such template, or its parts or placeholders are not as they
            should be; names the file.
    """
    source = find_prompt(name_or_path, folder or Path())
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(str(source), [f"cannot be read as a prompt: {reason}"]) from None
    return parse_prompt(text, name=name_or_path, source=str(source))


def parse_prompt(text: str, *, name: str, source: str) -> Prompt:
    """Check a template; ``source`` names its file in errors.

    Raises:
        ConfigError: with every mistake of the template.
    """
    _, *parts = _HEADING.split(text.replace("\r\n", "\n"))
    headings = [heading.lower() for heading in parts[::2]]
    if headings != ["system", "user"]:
        found = ", ".join(headings) or "none"
        raise ConfigError(
            source,
            [f'a prompt has the headings "# System" and "# User", in this order, not {found}'],
        )
    system, user = (part.strip() for part in parts[1::2])
    problems = [
        f"{{{{{word}}}}} under # System; placeholders belong under # User"
        for word in _PLACEHOLDER.findall(system)
    ]
    used = _PLACEHOLDER.findall(user)
    expected = _expected(used)
    problems += [
        f"unknown placeholder {{{{{word}}}}}; known: {', '.join(expected)}"
        for word in used
        if word not in expected
    ]
    problems += [
        f"{{{{{word}}}}} must stand under # User once, not {used.count(word)} times"
        for word in expected
        if used.count(word) != 1
    ]
    if problems:
        raise ConfigError(source, problems)
    return Prompt(name=name, system=system, user=user)


def render_lists(
    prompt: Prompt, judge_input: JudgeInput, *, document_words: int
) -> list[dict[str, str]]:
    """Put what a judge is shown into a prompt, as chat messages.

    No model's name, score or doc_id gets in. What two battles have in common comes first: the
    instructions, then the query, then the first list.

    Args:
        prompt: the template.
        judge_input: the query and the two lists.
        document_words: each title and text is cut to this many words, and the cut is marked.
    """
    asked = judge_input.query.text
    parts = {
        "query": _fenced("query", _code(asked), clean(asked)),
        "first": _list(asked, judge_input.first, document_words),
        "second": _list(asked, judge_input.second, document_words),
    }
    return _filled(prompt, parts)


class Renderer:
    """Puts what a judge is shown into a prompt; remembers the last, which is sent next."""

    def __init__(self, prompt: Prompt, *, document_words: int) -> None:
        self._prompt = prompt
        self._document_words = document_words
        self._judge_input: JudgeInput | None = None
        self._messages: list[dict[str, str]] = []

    def __call__(self, judge_input: JudgeInput) -> list[dict[str, str]]:
        """Return what the judge is shown as chat messages; see `render_lists`."""
        if judge_input is not self._judge_input:
            self._messages = render_lists(
                self._prompt, judge_input, document_words=self._document_words
            )
            self._judge_input = judge_input
        return self._messages


def render_document(
    prompt: Prompt, query: Query, document: Document, *, document_words: int
) -> list[dict[str, str]]:
    """Put one document into a prompt that shows no other, as chat messages; see `render_lists`."""
    query_text = query.text
    code, text = _document(query_text, document, document_words)
    return _filled(
        prompt,
        {
            "query": _fenced("query", _code(query_text), clean(query_text)),
            "document": _fenced("document", code, text),
        },
    )


def shown_parts(document: Document, words: int) -> tuple[str, str, bool]:
    """Return title and text of a document as a judge sees them, and whether any was cut."""
    title, text = clean(document.title), clean(document.text)
    shown = first_words(title, words), first_words(text, words)
    return " ".join(shown[0].split()), shown[1], shown != (title, text)


def shown_query(query: Query) -> str:
    """Return the text of a query as a judge sees it."""
    return clean(query.text)


def render_for_queries(
    prompt: Prompt, document: Document, *, number: int, document_words: int
) -> list[dict[str, str]]:
    """Put one document into a prompt that asks for this many queries, as chat messages."""
    code, shown = _document("", document, document_words)
    return _filled(prompt, {"number": str(number), "document": _fenced("document", code, shown)})


def _expected(used: Sequence[str]) -> tuple[str, ...]:
    lists = "first" in used or "second" in used
    if "number" in used and not lists:
        return QUERIES_PLACEHOLDERS
    return POINTWISE_PLACEHOLDERS if "document" in used and not lists else PLACEHOLDERS


def _filled(prompt: Prompt, parts: Mapping[str, str]) -> list[dict[str, str]]:
    # One pass: a placeholder inside a document stays text.
    user = _PLACEHOLDER.sub(lambda match: parts[match[1]], prompt.user)
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": user}]


@functools.lru_cache(maxsize=1024)  # a query's lists come back in battle after battle
def _list(query_text: str, documents: tuple[Document, ...], words: int) -> str:
    if not documents:
        return "(The list is empty: this system returned no document.)"
    blocks = (_document(query_text, document, words) for document in documents)
    return "\n\n".join(
        _fenced("document", code, text, number=number)
        for number, (code, text) in enumerate(blocks, start=1)
    )


@functools.lru_cache(maxsize=4096)  # a query's documents come back in battle after battle
def _document(query_text: str, document: Document, words: int) -> tuple[str, str]:
    """Return the code of a document's fence, and what is in it."""
    title, text, _ = shown_parts(document, words)
    text = text or "(no text)"
    shown = f"{title}\n\n{text}" if title else text
    # A hash of what is shown: texts that differ only beyond the cut make the same request.
    return _code(query_text, shown), shown


def _fenced(tag: str, code: str, text: str, *, number: int | None = None) -> str:
    opening = f"{tag} {code}" if number is None else f"{tag} {number} {code}"
    return f"<{opening}>\n{text}\n</{tag} {code}>"


def _code(*texts: str) -> str:
    return digest("fence", *texts, size=5).hex()


def find_prompt(name_or_path: str, folder: Path) -> Path | Traversable:
    """Return the place of a template: the experiment's own, arena's, or the path itself.

    Raises:
        ConfigError: no template has this name.
    """
    if "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith(".md"):
        return folder / Path(name_or_path).expanduser()
    package = importlib.resources.files("arena")
    # The wheel carries the prompts inside the package; a checkout keeps them beside it.
    roots: list[Path | Traversable] = [
        folder / "prompts",
        package / "prompts",
        Path(__file__).resolve().parents[2] / "prompts",
    ]
    for root in roots:
        if (root / f"{name_or_path}.md").is_file():
            return root / f"{name_or_path}.md"
    built_in = {
        file.name.removesuffix(".md")
        for root in roots
        if root.is_dir()
        for file in root.iterdir()
        if file.name.endswith(".md")
    }
    raise ConfigError(
        folder / "prompts" / f"{name_or_path}.md",
        [f"no such prompt; known: {', '.join(sorted(built_in)) or 'none'}, or give a path"],
    )


_TAG = re.compile(r"[<＜](?=\s*+(?:/\s*+)?(?:document|query)\b)", re.IGNORECASE)

# Controls of C0 and C1 except tab and newline, lone surrogates, and marks that reorder text on
# screen. Also the invisible tag characters, which can hide instructions.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)

# One word: two Han or kana characters, five of another script without spaces, or a run of other
# characters. A run of more than 60 characters counts as several words.
_WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{1,2}"
    "|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]{1,5}"
    "|[^\\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]{1,60}"
)

_CUT = " […]"


def words_up_to(text: str, *, most: int | None = None) -> int:
    """Return how many words a text has, counted up to ``most``.

    Scripts without spaces are counted in characters.
    """
    return sum(1 for _ in islice(_WORD.finditer(text), most))


def first_words(text: str, words: int) -> str:
    """Return the first words of a text, with the cut marked.

    Scripts without spaces are counted in characters, so that no text gets by uncut.
    """
    for count, word in enumerate(_WORD.finditer(text), start=1):
        if count > words:
            return text[: word.start()].rstrip() + _CUT
    return text


def clean(text: str) -> str:
    """Return text without control characters, runs of empty lines, or apparent tags."""
    text = _UNPRINTABLE.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(r"\n\s*\n", "\n\n", _TAG.sub("‹", text)).strip()
