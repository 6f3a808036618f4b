"""What a machine can check of the project's English: archaic words, long sentences, verbs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from click import Command, Group, Option
from source import modules, statements
from together import SOURCE

from arena.cli import main

pytestmark = SOURCE

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md")]
ARCHAIC = re.compile(
    r"\b(lest|anew|seldom|whatever|mend(?:s|ed|ing)?|nought|henceforth|hitherto|thereof|whereby|whence|heeded|dearer|dearest"
    r"|believable|condemns?|turned round|told so|all the same|for ever)\b",
    re.IGNORECASE,
)
LONGEST = 25
VERB = re.compile(
    r"(Add|Append|Ask|Build|Call|Check|Close|Collect|Compare|Compute|Convert|Copy|Correct|Count"
    r"|Cut|Decode|Delay|Describe|Do|Download|Draw|Drop|Embed|Estimate|Exit|Fetch|Find|Finish"
    r"|Fit|Flush|Forget|Format|Group|Hash|Hold|Join|Judge|Keep|List|Load|Lock|Make|Map|Mark"
    r"|Match|Maximise|Measure|Merge|Move|Name|Number|Open|Order|Parse|Play|Plot|Print|Put|Raise"
    r"|Rank|Rate|Read|Record|Redact|Reduce|Refuse|Register|Release|Remember|Remove|Render"
    r"|Replace|Replay|Report|Reserve|Retrieve|Return|Round|Run|Scale|Score|Send|Serve|Set|Show|Solve"
    r"|Split|Start|Stop|Store|Submit|Sum|Take|Test|Tokenize|Try|Turn|Update|Upload|Use|Wait"
    r"|Watch|Write|Yield)\b"
)


def test_the_pages_use_no_archaic_words() -> None:
    lines = [(page, line) for page in PAGES for line in page.read_text("utf-8").splitlines()]

    assert [f"{page.name}: {line}" for page, line in lines if ARCHAIC.search(line)] == []


def test_the_help_of_commands_has_short_sentences_without_archaic_words() -> None:
    sentences = [sentence for text in helps(main) for sentence in sentences_of(text)]

    assert [s for s in sentences if len(s.split()) > LONGEST or ARCHAIC.search(s)] == []


def test_the_docstring_of_a_function_begins_with_a_verb() -> None:
    texts = list(docstrings())

    assert len(texts) > 1000
    assert [f"{place}: {text.split()[0]}" for place, text in texts if not VERB.match(text)] == []


def test_docstrings_and_comments_have_short_sentences_without_archaic_words() -> None:
    texts = [*strings(), *comments()]

    assert len(texts) > 4000
    sentences = [(place, each) for place, text in texts for each in sentences_of(prose_of(text))]
    assert [
        each for each in sentences if n_words(each[1]) > LONGEST or ARCHAIC.search(each[1])
    ] == []


def strings() -> Iterator[tuple[str, str]]:
    """Yield where each docstring is and its text: of modules, classes, functions and fields."""
    for path in modules():
        for node in statements(path):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", node.value.value


def comments() -> Iterator[tuple[str, str]]:
    """Yield where each comment is and its text: of fields, and of lines that follow each other."""
    for path in modules():
        lines = path.read_text("utf-8").splitlines()
        place = path.relative_to(REPOSITORY)
        for number, line in enumerate(lines, 1):
            if field := re.search(r"\S  #: (.*)", line):
                yield f"{place}:{number}", field[1]
        marked = [re.fullmatch(r" *#:? (?!noqa)(.*)", line) for line in lines]
        for alike, block in groupby(enumerate(marked, 1), lambda each: each[1] is not None):
            if alike:
                texts = [(number, found[1]) for number, found in block if found]
                yield f"{place}:{texts[0][0]}", " ".join(line for _, line in texts)


def prose_of(docstring: str) -> str:
    """Return a docstring with code as one word, and without blocks, examples and brackets.

    Brackets hold sources and formulas.
    """
    text = re.sub(r"::\n\n(?: {4,}.*\n|\n)+", "\n\n", docstring.partition("\b")[0])
    return re.sub(r"``[^`]*``|`[^`]*`", "code", re.sub(r"\([^()]*\)", "", text))


def n_words(sentence: str) -> int:
    """Return how many words a sentence has; signs and numbers of a formula are none."""
    return sum(any(c.isascii() and c.isalpha() for c in word) for word in sentence.split())


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield where each function and method with a docstring is, and the docstring."""
    for path in modules():
        for node in statements(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}", text


def helps(command: Command) -> list[str]:
    """Return the help texts of a command, its options and its commands."""
    texts = [(command.help or "").split("\b")[0]]
    texts += [p.help or "" for p in command.params if isinstance(p, Option)]
    inner = command.commands.values() if isinstance(command, Group) else []
    return texts + [text for each in inner for text in helps(each)]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text; paragraphs and semicolons end one, too."""
    return re.split(r"(?<=[.;:?!])\s+|\n\s*\n|\n\s*[-|]\s|\s{2}\[", text)
