"""Define the command `arena queries`: queries from a language model, or from a log of searches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from arena.commands.options import CONFIG, QUIET, Amount, echo_lines
from arena.errors import UsageError
from arena.progress import reporter

if TYPE_CHECKING:
    from arena.querying.from_log import LogOptions

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_PRICE: Final = Amount(min=0)
_WITH_LOG: Final = (
    *("text_column", "count_column", "time_column", "clicks_column", "min_clicks", "since"),
)
_WITHOUT_LOG: Final = (
    *("model", "base_url", "api_key_env", "price_in", "price_out", "prompt", "max_usd"),
    "per_document",
)
"""Options that need a log, and options that need a model."""


@click.command()
@CONFIG
@click.option("--dataset", metavar="NAME", help="Use this data set of CONFIG, if it has several.")
@click.option(
    "--documents", type=_FOLDER, help="Read this folder of documents instead of CONFIG's data set."
)
@click.option(
    "--path",
    "beir",
    type=_FOLDER,
    help="Read this folder with corpus.jsonl instead of CONFIG's data set.",
)
@click.option(
    "--n",
    "n_documents",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Write queries for this many documents, or draw this many queries from the log.",
)
@click.option(
    "--per-document",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    help="Write this many queries for each document.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=42,
    show_default=True,
    help="Sample the documents, or the queries of the log, with this seed.",
)
@click.option(
    "--out",
    type=_FOLDER,
    help="Write into this folder.  [default: the folder of CONFIG's queries.jsonl, or queries]",
)
@click.option(
    "--from-log",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw queries from this log of searches (.csv, .tsv or .jsonl) instead of asking a model.",
)
@click.option(
    "--text-column", metavar="NAME", help="Read queries of the log from it.  [default: query, ...]"
)
@click.option(
    "--count-column",
    metavar="NAME",
    help="Read the number of searches from it.  [default: count, ..., or 1 a row]",
)
@click.option(
    "--time-column", metavar="NAME", help="Read the time from it.  [default: time, date, ...]"
)
@click.option(
    "--clicks-column",
    metavar="NAME",
    help="Read clicked document ids from it.  [default: clicked_ids, doc_id, ...]",
)
@click.option(
    "--min-clicks",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Make a document relevant to a query after this many clicks.",
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="Leave out searches of the log before this day (2026-01-31).",
)
@click.option("--model", metavar="NAME", help="Ask this model.  [default: the judge of CONFIG]")
@click.option("--base-url", metavar="URL", help="Use this endpoint.  [default: the judge's]")
@click.option("--api-key-env", metavar="VARIABLE", help="Read the key from this variable.")
@click.option("--price-in", type=_PRICE, help="Price of a million prompt tokens in US dollars.")
@click.option("--price-out", type=_PRICE, help="Price of a million reply tokens in US dollars.")
@click.option(
    "--prompt",
    default="queries",
    show_default=True,
    help="Use prompts/NAME.md beside CONFIG, or this path.",
)
@click.option(
    "--max-usd",
    type=Amount(min=0, min_open=True),
    help="Limit the cost of all runs into one folder.  [default: max_usd of the judge]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the estimated calls, tokens and cost, or what the log holds; write nothing.",
)
@QUIET
def queries(  # noqa: PLR0913  one parameter per option
    model: str | None,
    base_url: str | None,
    api_key_env: str | None,
    price_in: float | None,
    price_out: float | None,
    *,
    dry_run: bool,
    quiet: bool,
    **order: Any,
) -> None:
    """Write queries for a corpus with a language model, or draw them from a log of searches.

    Real queries are better. With --from-log arena merges spellings and masks e-mail addresses,
    phone, card and bank account numbers. It draws as many queries from the head as from the tail.
    Each keeps its count and its weight. Clicked documents become weak grades.

    If you have no log, a model writes queries. arena drops and counts queries that repeat another
    query, copy their document or mention "the passage". qrels.tsv marks the source document of each
    query as relevant. All other documents are unjudged, which does not mean irrelevant.

    arena stores every reply as it arrives. The same command resumes after a stop and repeats no
    request.

    \b
    Example:
      arena queries --dry-run
      arena queries handbook/arena.toml --n 300 --max-usd 1
      arena queries --documents docs --model gpt-4.1-mini --out queries
      arena queries --from-log searches.csv --n 300
    """
    log = _log_options(order)
    from arena.querying.generate import estimate_queries, write_queries_for  # noqa: PLC0415
    from arena.querying.settings import GenerationOptions  # noqa: PLC0415

    settings = {
        "model": model,
        "base_url": base_url,
        "api_key_env": api_key_env,
        "price_per_1m_input_tokens": price_in,
        "price_per_1m_output_tokens": price_out,
    }
    generation = GenerationOptions(
        **order, model={key: v for key, v in settings.items() if v not in (None, "")}
    )
    progress = reporter(quiet=quiet)
    if log is not None:
        from arena.querying.from_log import queries_from_log  # noqa: PLC0415

        drawn = queries_from_log(generation, log, progress, dry_run=dry_run)
        echo_lines(drawn.lines(written=not dry_run))
        return
    if dry_run:
        echo_lines(estimate_queries(generation, progress).lines())
        return
    result = write_queries_for(generation, progress)
    echo_lines(result.lines())
    result.check()


def _log_options(order: dict[str, Any]) -> LogOptions | None:
    """Take the options about a log out of the others; None without --from-log.

    Raises:
        UsageError: an option has no meaning with a log, or without one.
    """
    from arena.querying.from_log import LogOptions  # noqa: PLC0415

    path, since = order.pop("from_log"), order.pop("since")
    columns = {kind: order.pop(f"{kind}_column") for kind in ("text", "count", "time", "clicks")}
    min_clicks = order.pop("min_clicks")
    context = click.get_current_context()
    for option in _WITHOUT_LOG if path else _WITH_LOG:
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            name = f"--{option.replace('_', '-')}"
            what = "no model is asked" if path else "there is no log"
            raise UsageError(f"{name} has no effect here: {what}; leave it out")
    if path is None:
        return None
    given = {kind: name for kind, name in columns.items() if name}
    return LogOptions(path, given, min_clicks, since.date().isoformat() if since else "")
