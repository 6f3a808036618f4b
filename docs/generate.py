"""Write docs/commands.md: every command's help, as the command prints it."""

from __future__ import annotations

from pathlib import Path

from click import Command, Group
from click.testing import CliRunner

from arena.cli import main

INTRODUCTION = """# Commands

Results go to stdout, progress to stderr. Exit status: 0 done; 1 failed or incomplete; 2 usage,
configuration or data that cannot be used. This page is written by `make docs`.
"""


def commands_page() -> str:
    """The page, with the help of every command."""
    sections = [_section()]
    for name, command in sorted(main.commands.items()):
        sections.append(_section(name))
        sections += [_section(name, sub) for sub in _visible(command)]
    return INTRODUCTION + "".join(sections)


def _visible(command: Command) -> list[str]:
    """Return the names of a group's commands that its help shows."""
    commands = command.commands if isinstance(command, Group) else {}
    return sorted(name for name, inner in commands.items() if not inner.hidden)


def _section(*words: str) -> str:
    shown = CliRunner().invoke(main, [*words, "--help"], prog_name="arena", terminal_width=88)
    return f"\n## {' '.join(['arena', *words])}\n\n```text\n{shown.output}```\n"


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(commands_page(), encoding="utf-8")
