"""Define the command `arena init`, which writes a first arena.toml and its prompts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import click

from arena.commands.options import echo_path
from arena.errors import UsageError, WriteError


@dataclass(frozen=True, slots=True)
class Template:
    """An arena.toml for people to edit."""

    about: str  #: one line
    prompts: tuple[str, ...]  #: names of the prompts that arena writes beside it
    then: str  #: the next commands to run


TEMPLATES: Final[Mapping[str, Template]] = {
    "default": Template(
        "your own corpus and queries, with a comment on every setting",
        ("pairwise",),
        "arena check && arena battle --dry-run",
    ),
    "documents": Template(
        "a folder of documents without queries",
        ("pairwise", "queries"),
        "arena queries && arena check && arena battle --dry-run",
    ),
    "public-leaderboard": Template(
        "13 well-known models on the six public data sets of the published leaderboards",
        ("pairwise",),
        "arena check && arena battle --dry-run",
    ),
    "trec": Template(
        "TREC run files and qrels of other tools, judged by an LLM or by the qrels",
        ("pairwise",),
        "arena check && arena battle --dry-run",
    ),
}
"""Templates by name; each is a file of ``arena/templates``."""


def _list_templates(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001
    if asked:
        width = max(map(len, TEMPLATES))
        for name, template in TEMPLATES.items():
            click.echo(f"{name:<{width}}  {template.about}")
        ctx.exit()


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option(
    "--template",
    "name",
    type=click.Choice(list(TEMPLATES)),
    default="default",
    show_default=True,
    help="Write this template.",
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_templates,
    help="List the templates and write nothing.",
)
def init(folder: Path, name: str) -> None:
    """Write a commented arena.toml and the judge's prompt for you to edit.

    \b
    Example:
      arena init handbook && cd handbook && arena battle --dry-run
      arena init --template documents handbook
      arena init --list
    """
    files = dict(_files(name, folder))
    present = [path for path in files if path.exists()]
    if present:
        raise UsageError(
            f"{present[0]}: the file already exists, and arena wrote nothing; "
            "choose another folder or delete the file"
        )
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise WriteError(path, error) from None
        echo_path(path)
    where = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"next: {where}{TEMPLATES[name].then}", err=True)


def template_text(name: str) -> str:
    """Return the text of a file of ``arena/templates``."""
    return resources.files("arena").joinpath("templates", f"{name}.toml").read_text("utf-8")


def _files(name: str, folder: Path) -> Iterator[tuple[Path, str]]:
    from arena.judging.prompt import find_prompt  # noqa: PLC0415

    yield folder / "arena.toml", template_text("arena" if name == "default" else name)
    for prompt in TEMPLATES[name].prompts:
        path = folder / "prompts" / f"{prompt}.md"
        yield path, find_prompt(prompt, folder).read_text("utf-8")
