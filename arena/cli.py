"""Commands: arguments in, results on stdout, progress on stderr, one line per error.

Exit status: 0 done; 1 failed or incomplete; 2 usage, configuration or data that cannot be used.
Stages are imported inside commands, so that help is there at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from arena.commands import (
    audit,
    batch,
    battle,
    check,
    init,
    providers,
    queries,
    rate,
    report,
    retrieve,
)
from arena.errors import ArenaError
from arena.redaction import print_traceback
from arena.terminal import encodable, prepare_streams, printable
from arena.version import __version__


class _Group(click.Group):
    """Shows an `ArenaError` as one line, and its exit status."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        prepare_streams()
        # `arena --help` prints while the arguments are read, before anything is invoked.
        with _errors_in_one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        sys.excepthook = print_traceback
        with _errors_in_one_line():
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where an error can still be told, and not at exit
            return result


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """End the process where an error of ours, or of the output, is raised inside."""
    try:
        yield
    except ArenaError as error:
        for line in str(error).splitlines():
            _complain(line)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # The reader of our output (`arena rate | head`) has seen enough.
        _forget_stdout()
        sys.exit(0)
    except UnicodeEncodeError as error:
        if error.encoding.replace("-", "") == "utf8":
            raise
        # A file's name, for what is printed and what is written can always be encoded.
        _complain(f"{error.object!a} is no name of a file in {error.encoding}; set PYTHONUTF8=1")
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
            raise
        _forget_stdout()
        _complain(f"the output cannot be written: {error.strerror}")
        sys.exit(1)


def _complain(line: str) -> None:
    # click writes UTF-8 where a stream says ASCII, so it is made ASCII here.
    click.echo(f"error: {encodable(printable(line), sys.stderr.encoding or 'utf-8')}", err=True)


def _forget_stdout() -> None:
    """Let what is still buffered go nowhere, or Python would fail on it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="arena")
def main() -> None:
    """Find out which embedding model to use, and how sure you may be.

    Two models retrieve for the same query, a judge sees both lists without names and says which
    is better, and every battle counts towards a rating with an interval.

    \b
    arena demo            try it offline, on the built-in data set
    arena init            write an arena.toml to start from
    arena check           try every model and judge with one tiny call each
    arena battle          retrieve, judge and rate; run it again to resume
    arena report          write a site of it all
    """


for command in (
    audit.audit,
    batch.batch,
    battle.battle,
    battle.demo,
    check.check,
    init.init,
    providers.providers,
    queries.queries,
    rate.rate,
    report.report,
    retrieve.retrieve,
):
    main.add_command(command)
