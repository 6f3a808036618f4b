"""What a machine can hold of the project's English: no archaic words, and short help sentences."""

from __future__ import annotations

import re
from pathlib import Path

from click import Command, Group, Option

from arena.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md")]
ARCHAIC = re.compile(
    r"\b(lest|anew|seldom|nought|henceforth|hitherto|thereof|whereby|whence|heeded|dearer|dearest"
    r"|believable|condemns?|turned round|told so|all the same|for ever)\b",
    re.IGNORECASE,
)
LONGEST = 25


def test_the_pages_use_no_archaic_words() -> None:
    lines = [(page, line) for page in PAGES for line in page.read_text("utf-8").splitlines()]

    assert [f"{page.name}: {line}" for page, line in lines if ARCHAIC.search(line)] == []


def test_the_help_of_commands_has_short_sentences_without_archaic_words() -> None:
    sentences = [sentence for text in helps(main) for sentence in sentences_of(text)]

    assert [s for s in sentences if len(s.split()) > LONGEST or ARCHAIC.search(s)] == []


def helps(command: Command) -> list[str]:
    """Return the help texts of a command, its options and its commands."""
    texts = [(command.help or "").split("\b")[0]]
    texts += [p.help or "" for p in command.params if isinstance(p, Option)]
    inner = command.commands.values() if isinstance(command, Group) else []
    return texts + [text for each in inner for text in helps(each)]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text; paragraphs and semicolons end one, too."""
    return re.split(r"(?<=[.;:?!])\s+|\n\s*\n|\s{2}\[", text)
