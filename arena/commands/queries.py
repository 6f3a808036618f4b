"""The command `arena queries`: queries for a corpus, written by a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from arena.commands.options import Amount, echo_lines
from arena.progress import reporter

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_PRICE: Final = Amount(min=0)


@click.command()
@click.argument(
    "config", type=click.Path(path_type=Path), default=Path("arena.toml"), metavar="[CONFIG]"
)
@click.option("--dataset", metavar="NAME", help="Of several data sets in CONFIG, this one.")
@click.option(
    "--documents", type=_FOLDER, help="A folder of documents, in place of CONFIG's data set."
)
@click.option(
    "--path",
    "beir",
    type=_FOLDER,
    help="A folder with corpus.jsonl, in place of CONFIG's data set.",
)
@click.option(
    "--n",
    "n_documents",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Documents to write queries for, drawn by the seed.",
)
@click.option(
    "--per-document",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    help="Queries for each of them.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=42, show_default=True, help="Of the draw."
)
@click.option(
    "--out",
    type=_FOLDER,
    help="Where the files go.  [default: where CONFIG looks for queries.jsonl, or queries]",
)
@click.option("--model", metavar="NAME", help="Who writes.  [default: the judge of CONFIG]")
@click.option("--base-url", metavar="URL", help="The model's endpoint, if it is not the judge's.")
@click.option("--api-key-env", metavar="VARIABLE", help="The variable that holds its key.")
@click.option("--price-in", type=_PRICE, help="US dollars for a million tokens of its prompts.")
@click.option("--price-out", type=_PRICE, help="US dollars for a million tokens of its replies.")
@click.option(
    "--prompt",
    default="queries",
    show_default=True,
    help="prompts/NAME.md beside CONFIG, or a path.",
)
@click.option(
    "--max-usd",
    type=Amount(min=0, min_open=True),
    help="The most that all runs into one folder may cost.  [default: max_usd of the judge]",
)
@click.option("--dry-run", is_flag=True, help="Say what it would take, and ask nothing.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress on stderr.")
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
    """Write queries for a corpus with a language model.

    For people who have documents and no queries. Queries that repeat another one, copy their
    document or speak of "the passage" are dropped and counted. The document that a query was
    written for is noted as relevant in qrels.tsv; all others are unjudged, which is not irrelevant.
    Queries that people really asked are better: use these where there are none.

    Every reply is kept as it arrives. The same command goes on after a stop and asks nothing twice.

    \b
    Example:
      arena queries --dry-run
      arena queries handbook/arena.toml --n 300 --max-usd 1
      arena queries --documents docs --model gpt-4.1-mini --out queries
    """
    from arena.querying.generate import estimate_queries, write_queries_for  # noqa: PLC0415
    from arena.querying.settings import GenerationOptions  # noqa: PLC0415

    settings = {
        "model": model,
        "base_url": base_url,
        "api_key_env": api_key_env,
        "price_per_1m_input_tokens": price_in,
        "price_per_1m_output_tokens": price_out,
    }
    asked = GenerationOptions(
        **order, model={key: v for key, v in settings.items() if v not in (None, "")}
    )
    progress = reporter(quiet=quiet)
    if dry_run:
        echo_lines(estimate_queries(asked, progress).lines())
        return
    result = write_queries_for(asked, progress)
    echo_lines(result.lines())
    result.check()
