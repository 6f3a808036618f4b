"""The command ``arena label``."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from arena.commands.options import Amount, echo_path
from arena.errors import UsageError
from arena.terminal import count, printable, stdout_console

if TYPE_CHECKING:
    from arena.labelling.session import LabellingSession
    from arena.store.labels import Unit


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--unit",
    type=click.Choice(["document", "battle"]),
    default="document",
    show_default=True,
    help="Ask for a grade of one document, or for the better one of two lists.",
)
@click.option(
    "--n",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="How many items to ask about, earlier labels included.",
)
@click.option("--who", help="Name of the person who labels.  [default: your login name]")
@click.option(
    "--overlap",
    type=Amount(min=0, max=1),
    default=0.1,
    show_default=True,
    help="Share of the items that two people are asked about.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of the draw.  [default: that of earlier labels, or of the experiment]",
)
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    default=0,
    help="Port of the page on 127.0.0.1.  [default: a free one]",
)
@click.option("--no-open", is_flag=True, help="Print the address, and open no browser.")
@click.option("--terminal", is_flag=True, help="Ask in this terminal, without a browser.")
@click.option(
    "--export",
    type=click.Choice(["qrels", "csv"]),
    help="Write the labels as TREC qrels or as CSV, and ask nothing.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that --export writes.  [default: stdout]",
)
@click.option("--dataset", help="Data set to export, and of imported rows that name none.")
@click.option(
    "--import",
    "import_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take labels from a file: TREC qrels, CSV, or JSONL.",
)
@click.option(
    "--probability",
    help="Probability with which the items of --import were drawn, or unknown: then `arena audit` "
    "uses the labels, and `arena rate` does not.  [default: that in the file, or unknown]",
)
def label(  # noqa: PLR0913 - click's arguments are the options
    folder: Path,
    *,
    export: Literal["qrels", "csv"] | None,
    out: Path | None,
    dataset: str | None,
    import_file: Path | None,
    probability: str | None,
    who: str | None,
    **asking: Any,
) -> None:
    """Ask people about documents or battles, to check and correct the judge.

    FOLDER is an experiment under runs/. arena opens a page in the browser, on this machine alone.
    It shows one item at a time, without the models' names and the judge's verdicts. Items are
    drawn at random, with written probabilities. Every label is in FOLDER/labels.jsonl before the
    next item shows; stop at any time, and run the same command again to go on.

    \b
    Example:
      arena label runs/handbook
      arena label runs/handbook --who ann --n 100
      arena label runs/handbook --unit battle --terminal
      arena label runs/handbook --export qrels --out people.qrels
      arena label runs/handbook --import old.qrels --probability unknown
    """
    if export and import_file:
        raise UsageError("--export or --import, not both")
    for name, value, needs in (("--out", out, export), ("--probability", probability, import_file)):
        if value is not None and not needs:
            raise UsageError(f"{name} belongs to {'--export' if name == '--out' else '--import'}")
    if who is not None and not printable(who).strip():
        raise UsageError("--who: expected a name")
    if export:
        _export(folder, export, out, dataset)
    elif import_file:
        _import(folder, import_file, who, dataset, probability)
    else:
        _ask(folder, printable(who or _login_name()).strip(), **asking)


def _ask(  # noqa: PLR0913 - as above
    folder: Path,
    who: str,
    *,
    unit: Unit,
    n: int,
    overlap: float,
    seed: int | None,
    port: int,
    no_open: bool,
    terminal: bool,
) -> None:
    from arena.labelling.questions import read_questions  # noqa: PLC0415
    from arena.labelling.session import LabellingSession, SessionSettings  # noqa: PLC0415
    from arena.store.folder import Folder  # noqa: PLC0415
    from arena.store.labels import read_label_lines, standing_lines  # noqa: PLC0415

    known = read_label_lines(folder)
    questions = read_questions(folder, unit, seed=seed, known=known)
    session = LabellingSession(questions, SessionSettings(who, n, overlap))
    n_items = len(questions.draw.order)
    _note(f"{count(min(n, n_items), unit)} of {n_items:,} to label, as {who}")
    if terminal:
        _ask_in_terminal(session)
    else:
        from arena.labelling.server import serve  # noqa: PLC0415

        serve(session, port=port, started=lambda address: _open(address, show=not no_open))
    n_mine = sum(line.who == who for line in standing_lines(read_label_lines(folder)))
    _note(
        f"{count(n_mine, 'label')} of {who} in {Folder(folder).labels}; "
        f"`arena rate {folder}` uses them"
    )


def _ask_in_terminal(session: LabellingSession) -> None:
    from arena.labelling.terminal_form import TerminalForm  # noqa: PLC0415

    form = TerminalForm(session, sys.stdin, click.echo, stdout_console())
    with contextlib.suppress(KeyboardInterrupt):
        form.run()


def _open(address: str, *, show: bool) -> None:
    """Print the page's address, and open it in a browser where one may be."""
    click.echo(address)
    sys.stdout.flush()
    _note("Ctrl-C ends it; every label is saved at once")
    if not show:
        return
    if not _has_desktop():
        _note("no browser opens here: open the address in one, or use --terminal")
        return
    # A browser that is slow to start keeps no page waiting.
    threading.Thread(target=click.launch, args=(address,), daemon=True).start()


def _has_desktop() -> bool:
    """Return whether a browser has a screen; without one, xdg-open starts one in this terminal."""
    desktop = any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
    )
    return sys.platform in ("darwin", "win32") or desktop


def _export(
    folder: Path, kind: Literal["qrels", "csv"], out: Path | None, dataset: str | None
) -> None:
    from arena.files import write_atomically  # noqa: PLC0415
    from arena.labelling.import_export import csv_text, qrels_text  # noqa: PLC0415

    text, notes = qrels_text(folder, dataset) if kind == "qrels" else (csv_text(folder), ())
    if out is None:
        click.echo(text.encode(), nl=False)
    else:
        write_atomically(out, [text.encode()])
        echo_path(out)
    for note in notes:
        _note(f"note: {note}")


def _import(
    folder: Path, file: Path, who: str | None, dataset: str | None, probability: str | None
) -> None:
    from arena.labelling.import_export import (  # noqa: PLC0415
        ImportOptions,
        import_labels,
        probability_of,
    )
    from arena.store.folder import Folder  # noqa: PLC0415

    stated = None if probability is None else probability_of(probability, "--probability")
    options = ImportOptions(who, dataset, stated, states_probability=probability is not None)
    imported = import_labels(folder, file, options)
    _note(f"{count(imported.added, 'label')} added to {Folder(folder).labels}")
    if imported.known:
        _note(f"{count(imported.known, 'label')} there already, the same")
    if imported.foreign:
        _note(f"{count(imported.foreign, 'label')} left out: not of what this experiment shows")


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without users
        return "me"


def _note(line: str) -> None:
    click.echo(printable(line), err=True)
