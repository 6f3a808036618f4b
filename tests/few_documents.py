"""A part of a reference corpus: some queries, what is graded for them, and some other documents."""

from __future__ import annotations

import json
from pathlib import Path


def few_of(source: Path, folder: Path, *, n_queries: int = 50, n_others: int) -> None:
    """Write a BEIR folder of some queries, what is relevant to them, and some other documents."""
    queries = (source / "queries.jsonl").read_text("utf-8").rstrip("\n").split("\n")[:n_queries]
    chosen = {json.loads(line)["_id"] for line in queries}
    header, *grades = (source / "qrels/test.tsv").read_text("utf-8").rstrip("\n").split("\n")
    grades = [line for line in grades if line.split("\t")[0] in chosen]
    relevant = {line.split("\t")[1] for line in grades}
    corpus = (source / "corpus.jsonl").read_text("utf-8").rstrip("\n").split("\n")
    kept = [
        line
        for number, line in enumerate(corpus)
        if number < n_others or json.loads(line)["_id"] in relevant
    ]
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(kept), "utf-8")
    (folder / "queries.jsonl").write_text("\n".join(queries), "utf-8")
    (folder / "qrels/test.tsv").write_text("\n".join([header, *grades]), "utf-8")
