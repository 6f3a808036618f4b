"""Define the command `arena providers`, which lists the providers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from arena.commands.options import AS_JSON
from arena.terminal import printable_json

if TYPE_CHECKING:
    from arena.embedding.providers import Preset

_WIDEST = 100
_PREFIX = (
    "arena puts a prefix before each text of a model that is known to need one. query_prefix and "
    "document_prefix in the arena.toml take precedence."
)


@dataclass(frozen=True, slots=True)
class _Provider:
    """The columns of a provider in the table."""

    name: str  #: its name in an arena.toml
    title: str
    base_url: str | None  #: None: local, or to be given
    key_env: str | None  #: the variable that holds its key
    key_set: bool | None  #: whether that variable is set; None if no key is needed
    roles: str | None  #: how the provider separates queries from documents; None for local models
    too_long: str | None  #: what the API does with a text that is too long
    max_batch: int | None  #: maximum number of texts in a request
    docs: str | None  #: address of the API's documentation
    note: str


@click.command()
@AS_JSON
def providers(*, as_json: bool) -> None:
    """List the providers that you can name in an arena.toml.

    For each provider the list shows the variable of its key and whether it is set. It also shows
    the address of the API, and how the provider distinguishes queries from documents.

    \b
    Example:
      arena providers
      arena providers --json
    """
    rows = list(_providers())
    if as_json:
        click.echo(printable_json([asdict(row) for row in rows]))
    else:
        width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 0)).columns)
        click.echo(_table(rows, width), nl=False)


def _providers() -> Iterator[_Provider]:
    from arena.embedding.providers import LOCAL, PRESETS  # noqa: PLC0415

    for name, preset in PRESETS.items():
        key_set = bool(os.environ.get(preset.key_env, "").strip()) if preset.key_env else None
        yield _Provider(
            name,
            preset.title,
            preset.base_url,
            preset.key_env,
            key_set,
            _roles(preset),
            preset.too_long,
            preset.max_batch,
            preset.docs,
            preset.note,
        )
    for local, title in LOCAL.items():
        yield _Provider(local, title, None, None, None, None, None, None, None, "")


def _roles(preset: Preset) -> str:
    """Return how the provider distinguishes queries from documents, in a few words."""
    told = [f"{name} = {query} or {preset.document[name]}" for name, query in preset.query.items()]
    return ", ".join(told) or "prefix in the text"


def _table(rows: Sequence[_Provider], width: int) -> str:
    from rich.text import Text  # noqa: PLC0415

    from arena.terminal import empty_table, plain_console  # noqa: PLC0415

    served, local = empty_table(), empty_table()
    local.show_header = False
    for head in ("Provider", "Key", "Where, and how queries differ from documents"):
        served.add_column(head, overflow="fold")
    for row in rows:
        if row.roles is None:
            local.add_row(Text(row.name), Text(row.title))
            continue
        key = f"{row.key_env}\n{'set' if row.key_set else 'not set'}" if row.key_env else "none"
        cut = "may cut long texts; no option prevents it" if row.too_long == "unknown" else ""
        lines = filter(None, (row.base_url, row.roles, cut, row.note))
        served.add_row(*map(Text, (f"{row.name}\n{row.title}", key, "\n".join(lines))))
        served.add_row()
    console = plain_console(width, colour=False)
    with console.capture() as capture:
        console.print(served)
        console.print("Local models, without a key or a price:\n")
        console.print(local)
        console.print(f"\n{_PREFIX}")
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
