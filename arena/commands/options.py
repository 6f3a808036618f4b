"""Define arguments and options that several commands share."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from arena.terminal import printable


class Amount(click.FloatRange):
    """A number in a range, without infinity and NaN, which pass every comparison."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail as `click.FloatRange` does."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Quantity(click.ParamType[float]):
    """A number of 0 or more, as people write it: ``1M``, ``200k``, ``1e6``, ``1,000,000``."""

    name = "number"
    _UNITS: Final = {"k": 1e3, "m": 1e6, "b": 1e9}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail with what was expected."""
        text = str(value).strip().replace(",", "").replace("_", "").lower()
        unit = self._UNITS.get(text[-1:], 1.0)
        try:
            number = float(text.rstrip("kmb") if unit > 1 else text) * unit
        except ValueError:
            number = math.nan
        if not 0 <= number <= LARGEST_AMOUNT:
            self.fail(f"{value!r}; expected 0 or more, such as 200k or 1M.", param, ctx)
        return number


LARGEST_AMOUNT: Final = 1e15
"""A greater quantity is a mistake, and its products would not stay finite."""

CONFIG = click.argument(
    "config",
    type=click.Path(path_type=Path),
    default=Path("arena.toml"),
    metavar="[CONFIG]",
)
ALIASES = click.option(
    "--aliases",
    type=click.Path(path_type=Path, dir_okay=False),
    help='Read other spellings of models: a TOML file of lines "Spelling" = "model".',
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
MAX_USD = click.option(
    "--max-usd",
    type=Amount(min=0, min_open=True),
    help="Limit the cost of judges in US dollars, including earlier runs of the experiment.",
)
NO_GATE = click.option(
    "--no-gate", is_flag=True, help="Run judges that skipped or failed the gate."
)
POLL = click.option(
    "--poll",
    "poll_s",
    type=Amount(min=0.01),
    help="With --wait: initial polling interval in seconds; grows to ten times this.  "
    "[default: 30]",
)
REPORT = click.option(
    "--report",
    is_flag=True,
    help="Update the experiment's site during the run, as `arena report` writes it.",
)
QUIET = click.option("--quiet", "-q", is_flag=True, help="Show no progress on stderr.")


def echo_lines(lines: Iterable[str]) -> None:
    """Print lines to stdout, wrapped to the width of a terminal."""
    from arena.terminal import stdout_console, wrapped  # noqa: PLC0415

    on = stdout_console()
    for line in lines:
        click.echo(wrapped(printable(line), on))


def echo_path(path: Path) -> None:
    """Print a path to stdout: unchanged for a program, printable on a terminal."""
    from arena.terminal import is_terminal  # noqa: PLC0415

    click.echo(printable(str(path)) if is_terminal(sys.stdout) else path)
