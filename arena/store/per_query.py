"""per_query.json: beside a data set's runs, what is known of each list that the judge is shown.

`arena audit` holds the judge's verdicts against it, without loading the corpus again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from arena.data.metrics import per_query_ndcg
from arena.data.passage_corpus import qrels_by_parent, run_by_parent
from arena.errors import DataError
from arena.files import write_atomically
from arena.records import Dataset, Document, Run

_REMEDY = "delete it, and `arena retrieve` makes it again"


@dataclass(frozen=True, slots=True)
class ShownList:
    """One model's list for one query, as far as the judge sees it."""

    ndcg: float | None  #: of the documents shown; None if no document is known to be relevant
    words: int  #: of all titles and texts together, after the cut


def measure_lists(
    run: Run, dataset: Dataset, *, top_k: int, document_words: int
) -> dict[str, ShownList]:
    """Return query_id → the figures of the run's first ``top_k`` documents."""
    shown = replace(run, rankings={q: ranking[:top_k] for q, ranking in run.rankings.items()})
    corpus = dataset.corpus
    qrels = qrels_by_parent(dataset.qrels, corpus)
    ndcg = per_query_ndcg(run_by_parent(shown, corpus), qrels, top_k)

    def words(doc_id: str) -> int:
        return _words(corpus[doc_id], document_words)

    return {
        query_id: ShownList(
            ndcg.get(query_id), sum(words(scored.doc_id) for scored in ranking[:top_k])
        )
        for query_id, ranking in run.rankings.items()
    }


def write_lists(lists: Mapping[str, Mapping[str, ShownList]], path: Path) -> None:
    """Write model → query_id → list, whole or not at all; a model's figures as two columns."""
    query_ids = list(
        dict.fromkeys(query_id for by_query in lists.values() for query_id in by_query)
    )
    models = {
        model: {
            "ndcg": [
                None if (s := by_query.get(query_id)) is None else s.ndcg for query_id in query_ids
            ],
            "words": [
                None if (s := by_query.get(query_id)) is None else s.words for query_id in query_ids
            ],
        }
        for model, by_query in lists.items()
    }
    write_atomically(path, [orjson.dumps({"query_ids": query_ids, "models": models}), b"\n"])


def read_lists(path: Path) -> dict[str, dict[str, ShownList]]:
    """Read model → query_id → list; empty if there is no such file.

    Raises:
        DataError: the file is not what `write_lists` writes.
    """
    try:
        tree = orjson.loads(path.read_bytes())
        return {
            model: dict(_shown(tree["query_ids"], columns))
            for model, columns in tree["models"].items()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(path, None, error.strerror or str(error)) from None
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(path, None, f"no figures of lists: {error}", _REMEDY) from None


def _shown(
    query_ids: list[str], columns: Mapping[str, list[Any]]
) -> Iterable[tuple[str, ShownList]]:
    for query_id, ndcg, words in zip(query_ids, columns["ndcg"], columns["words"], strict=True):
        if words is not None:
            yield query_id, ShownList(None if ndcg is None else float(ndcg), int(words))


def _words(document: Document, limit: int) -> int:
    return sum(min(len(part.split()), limit) for part in (document.title, document.text))
