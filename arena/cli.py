"""Assemble the commands: arguments in, results on stdout, progress on stderr, one line per error.

Exit status: 0 success; 1 failure or incomplete; 2 unusable usage, configuration or data.
Commands import stages when they run, so that ``arena --help`` is fast.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from arena.commands import (
    audit,
    batch,
    battle,
    check,
    compare,
    init,
    label,
    providers,
    queries,
    rate,
    report,
    retrieve,
)
from arena.errors import ArenaError, ConfigError
from arena.redaction import print_traceback
from arena.terminal import encodable, prepare_streams, printable, shortened
from arena.version import __version__


class _Group(click.Group):
    """Print an `ArenaError` as one line and exit with its status."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        prepare_streams()
        # `arena --help` prints during the parsing of arguments, before any command runs.
        with _errors_in_one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        sys.excepthook = print_traceback
        with _errors_in_one_line():
            result = super().invoke(ctx)
            sys.stdout.flush()  # an error at exit could not be reported
            return result


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Exit with one line if arena or the output raises an error inside."""
    try:
        yield
    except ArenaError as error:
        for line in _lines(error):
            _complain(line)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        _complain("stopped; arena keeps what it has written; run the same command again to go on")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of the output (`arena rate | head`) closed the pipe.
        _forget_stdout()
        sys.exit(0)
    except UnicodeEncodeError as error:
        if error.encoding.replace("-", "") == "utf8":
            raise
        # Only a file's name: everything else that arena prints can be encoded.
        _complain(f"{error.object!a} is not a file name in {error.encoding}; set PYTHONUTF8=1")
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
            raise
        _forget_stdout()
        _complain(f"cannot write the output: {error.strerror}")
        sys.exit(1)


_LONGEST: Final = 4000
"""Maximum characters of an error: a name in a file may have a million."""


def _lines(error: ArenaError) -> Iterator[str]:
    """Yield each mistake of an arena.toml, or the only line of another error."""
    lines = str(error).splitlines()  # other errors break only in foreign names
    for line in lines if isinstance(error, ConfigError) else [" ".join(lines)]:
        yield shortened(line, _LONGEST)


def _complain(line: str) -> None:
    # click writes UTF-8 even if the stream's encoding is ASCII.
    click.echo(f"error: {encodable(printable(line), sys.stderr.encoding or 'utf-8')}", err=True)


def _forget_stdout() -> None:
    """Drop buffered output, because Python would fail on it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="arena")
def main() -> None:
    """Compare embedding models on your documents, and see how sure you can be.

    Two models retrieve for the same query. A judge sees both lists without names and picks the
    better one. Every battle counts towards a rating with an interval.

    \b
    arena demo            try arena offline, on the built-in data set
    arena init            write a first arena.toml
    arena check           try every model and judge with one small request each
    arena battle          retrieve, judge and rate; run it again to resume
    arena report          write a site of the results
    """


for command in (
    audit.audit,
    compare.compare,
    batch.batch,
    battle.battle,
    battle.demo,
    check.check,
    init.init,
    label.label,
    providers.providers,
    queries.queries,
    rate.rate,
    report.report,
    retrieve.retrieve,
):
    main.add_command(command)
