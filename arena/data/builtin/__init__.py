"""Load the built-in data set: questions about Python, answered by its own docstrings.

The corpus is the standard library of the Python that runs. The hundred questions and their grades
are in ``queries.jsonl`` and ``qrels.tsv`` in this folder, in BEIR's form. Grades: 3 answers the
question, 2 also answers it or most of it, 1 is related and helps.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from arena.data.builtin.stdlib import documented_names
from arena.data.qrels_file import read_qrels
from arena.data.rows import numbered_lines
from arena.records import Dataset, Query

__all__ = ["python_docs"]

_FOLDER = Path(__file__).parent


def python_docs() -> Dataset:
    """Return the data set ``python``: some 4,000 docstrings, 100 queries, graded qrels.

    Raises:
        UsageError: Python runs without docstrings (``-OO``).
    """
    corpus = {document.doc_id: document for document in documented_names()}
    rows = [orjson.loads(text) for _, text in numbered_lines(_FOLDER / "queries.jsonl")]
    queries = {row["_id"]: Query(row["_id"], row["text"]) for row in rows}
    qrels, _ = read_qrels(_FOLDER / "qrels.tsv", corpus, queries)
    return Dataset(name="python", corpus=corpus, queries=queries, qrels=qrels)
