"""Define the command `arena queries`, which lets a language model write queries for a corpus."""

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
    help="Write queries for this many documents, sampled with the seed.",
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
    help="Sample the documents with this seed.",
)
@click.option(
    "--out",
    type=_FOLDER,
    help="Write into this folder.  [default: the folder of CONFIG's queries.jsonl, or queries]",
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
    "--dry-run", is_flag=True, help="Print the estimated calls, tokens and cost; make no requests."
)
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

    Use this command if you have documents and no queries. Real queries are better: use them if you
    have some. arena drops and counts queries that repeat another query, copy their document or
    mention "the passage". qrels.tsv marks the source document of each query as relevant. All other
    documents are unjudged, which does not mean irrelevant.

    arena stores every reply as it arrives. The same command resumes after a stop and repeats no
    request.

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
