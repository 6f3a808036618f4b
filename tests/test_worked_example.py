"""The worked example of docs/method.md is what its commands print."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from arena.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLE = (REPOSITORY / "docs" / "method.md").read_text("utf-8").split("## A worked example")[1]
CONSOLE = re.findall(r"```console\n\$ arena ([^\n]*)\n(.*?)```", EXAMPLE, re.DOTALL)
PROGRAM = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", EXAMPLE, re.DOTALL)


def without_spreads(text: str) -> list[str]:
    """The lines, blanks apart; a spread over random orders may move by a point."""
    return [re.sub(r"~\d+", "~", " ".join(line.split())) for line in text.splitlines()]


@pytest.mark.shared
@pytest.mark.parametrize(("command", "shown"), CONSOLE, ids=[command for command, _ in CONSOLE])
def test_the_commands_of_the_worked_example_print_what_it_shows(
    shared_data, monkeypatch, command, shown
):
    monkeypatch.chdir(REPOSITORY)
    words = shlex.split(command.replace("published.jsonl", str(published(shared_data))))

    printed = CliRunner().invoke(main, words).stdout

    expected = [line for line in without_spreads(shown) if line not in ("", "...")]
    lines = iter(without_spreads(printed))
    missing = [line for line in expected if line not in lines]  # in this order
    assert expected
    assert missing == []


@pytest.mark.shared
def test_the_program_of_the_worked_example_prints_what_it_shows(shared_data, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    program, shown = re.search(
        r"```python\n(.*?)```\n\n```text\n(.*?)```", EXAMPLE, re.DOTALL
    ).groups()
    out = io.StringIO()

    with contextlib.redirect_stdout(out):
        exec(program.replace("published.jsonl", str(published(shared_data))), {})

    assert out.getvalue() == shown


def published(shared_data: Path) -> Path:
    return shared_data / "judgments" / "published.jsonl"
