"""Pages out of templates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Final

from arena.cost import recommend

if TYPE_CHECKING:
    from jinja2 import Environment

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; form-action 'none'"
)
"""What a page may load: its own scripts, styles and pictures; nothing from elsewhere or inline."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the template, where it goes, and what only it is told."""

    template: str
    file: str  #: from the root of the site
    current: str  #: the name of this kind of page
    own: Mapping[str, Any]  #: plain, as `arena.site.data_files.shown_tree` gives it


def render_pages(site: Mapping[str, Any], pages: Iterator[Page]) -> Iterator[tuple[str, bytes]]:
    """Yield file and content of each page; ``site`` is common to all of them."""
    environment = page_environment("arena.site")
    for page in pages:
        root = "../" * page.file.count("/")
        template = environment.get_template(page.template)
        text = template.render(site=site, root=root, current=page.current, **page.own)
        yield page.file, text.encode()


def assets() -> Iterator[tuple[str, bytes]]:
    """Yield file and content of all styles and scripts, with vendored ones."""
    for path, file in _files(resources.files("arena.site").joinpath("static"), "assets"):
        yield path, file.read_bytes()


def sources() -> Iterator[bytes]:
    """Return all that a page's looks depend on; a change in them makes a site stale."""
    for folder in ("static", "templates"):
        for _, file in _files(resources.files("arena.site").joinpath(folder), folder):
            yield file.read_bytes()


@cache
def page_environment(package: str) -> Environment:
    """Return what renders the templates of a package; every text in them is escaped.

    It is made once a process: to compile the templates takes most of the time of a small site.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    from markupsafe import Markup  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    environment.globals["content_policy"] = Markup(CONTENT_POLICY)  # noqa: S704 - a constant
    return environment


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, f"{path}/{entry.name}")
        else:
            yield f"{path}/{entry.name}", entry


ABSENT = "–"
TableRow = Mapping[str, Any]
"""A row of the leaderboard, as the site's data has it."""


def fixed(value: float | None, digits: int = 0) -> str:
    """Return a number with this many decimals and commas between thousands."""
    if value is None:
        return ABSENT
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{abs(rounded) if rounded == 0 else rounded:,}".replace("-", "−")


def percent(share: float | None) -> str:
    """Return a share of one as a percentage, such as 63.5%."""
    return ABSENT if share is None else f"{fixed(share * 100, 1)}%"


def sure(probability: float | None) -> str:
    """Return a probability; never 100%, because no number of battles makes it certain."""
    if probability is None:
        return ABSENT
    if probability < 0.001:
        return "<0.1%"
    return ">99.9%" if probability > 0.999 else percent(probability)


def milliseconds(value: float | None) -> str:
    """Return a time with about three figures: 0.18 ms, 11.0 ms, 113 ms, 80.02 s."""
    if value is None:
        return ABSENT
    if value >= 1000:
        return f"{fixed(value / 1000, 2)} s"
    return f"{fixed(value, 2 if value < 10 else 1 if value < 100 else 0)} ms"


def size(n_bytes: float) -> str:
    """Return a size on a disk or in memory: 384 bytes, 98.3 kB, 1.2 GB."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if n_bytes >= 1000**power:
            return f"{fixed(n_bytes / 1000**power, 1)} {unit}"
    return f"{fixed(n_bytes)} bytes"


def price(value: float | None) -> str:
    """Return a price with two to six decimals: $0.02, $0.125, $0.000061."""
    if value is None:
        return ABSENT
    whole, _, cents = fixed(value, 6).partition(".")
    return f"${whole}.{cents.rstrip('0').ljust(2, '0')}"


def usd(value: float | None) -> str:
    """Return dollars of a bill: $0.31, $24.18, $1,235."""
    return ABSENT if value is None else recommend.rounded_dollars(value)


def ordinal(rank: int | None) -> str:
    """Return an ordinal: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    if rank is None:
        return ABSENT
    ending = {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{'th' if rank % 100 in (11, 12, 13) else ending}"


def rating(row: TableRow) -> str:
    """Return a rating and half of its interval: 1512 ± 32; and what people's labels make of it."""
    if row["rating"] is None:
        return ABSENT
    people = ""
    if row.get("corrected") is not None:
        half = without_decimals((row["corrected_upper"] - row["corrected_lower"]) / 2)
        people = f"; by people {without_decimals(row['corrected'])} ± {half}"
    if row["lower"] is None or row["upper"] is None:
        return without_decimals(row["rating"]) + people
    half = without_decimals((row["upper"] - row["lower"]) / 2)
    return f"{without_decimals(row['rating'])} ± {half}{people}"


def without_decimals(value: float | None) -> str:
    """Return a rating or a year: no decimals, no commas."""
    return fixed(value).replace(",", "")


def possible_ranks(row: TableRow) -> str:
    """Return the possible ranks of a model in words; empty if its rank is certain or unknown."""
    lower, upper = row["rank_lower"], row["rank_upper"]
    if lower is None or lower == upper:
        return ""
    return f"may be {ordinal(lower)} to {ordinal(upper)}"


def record(row: TableRow) -> str:
    """Return wins, losses and ties: 508–104–188."""
    return "–".join(fixed(row[key]) for key in ("wins", "losses", "ties"))


def outcome_percentages(row: TableRow) -> tuple[float, float, float]:
    """Return wins, ties and losses in per cent of the battles, in the order of the drawing."""
    total = row["wins"] + row["losses"] + row["ties"]
    return tuple(100 * row[key] / total if total else 0 for key in ("wins", "ties", "losses"))  # type: ignore[return-value]


def scale(rows: Iterable[TableRow]) -> tuple[float, float]:
    """Return the lowest and the highest end of the intervals, for a common axis."""
    ends = [row[key] for row in rows for key in ("lower", "upper", "rating")]
    known = [end for end in ends if end is not None]
    return (min(known), max(known)) if known else (0, 1)


def place(value: float, ends: Sequence[float], width: float = 100) -> str:
    """Return the position of a value between two ends, on a line of this width."""
    low, high = ends
    return fixed(4 + (width - 8) * (value - low) / ((high - low) or 1), 1)


def indented_json(value: object) -> str:
    """Return indented JSON; the template escapes it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def by_name(models: Iterable[TableRow]) -> dict[str, TableRow]:
    """Return models by their names."""
    return {model["name"]: model for model in models}


def by_rank(models: Iterable[TableRow], rows: Iterable[TableRow]) -> list[TableRow]:
    """Return models in the order of a table's rows, then those without a row."""
    place = {row["model"]: number for number, row in enumerate(rows)}
    return sorted(models, key=lambda model: place.get(model["name"], len(place)))


FILTERS: dict[str, Callable[..., object]] = {
    function.__name__: function
    for function in (
        fixed,
        percent,
        sure,
        milliseconds,
        size,
        price,
        usd,
        ordinal,
        rating,
        without_decimals,
        possible_ranks,
        record,
        outcome_percentages,
        scale,
        place,
        by_name,
        by_rank,
        indented_json,
    )
}
"""For Jinja's environment."""
