"""Write the data that judges are shown into one file, which all workers read.

No worker loads a corpus for its judges: the file holds the documents of the shown lists, the
queries, the grades and the lists themselves. Its hash travels with each task, so that no worker
judges what the driver has not written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from arena.data.corpus_part import CorpusFacts, facts_of, part_of
from arena.errors import ClusterError, DataError
from arena.experiment.experiment import ExperimentData, PreparedExperiment
from arena.files import write_atomically
from arena.records import Dataset, Document, Query, Run, ScoredDoc


def write_shared(path: Path, prepared: PreparedExperiment) -> str:
    """Write what judges are shown of an experiment; return the hash of the file.

    Args:
        path: of the file, in the folder that all workers see.
        prepared: of `arena.experiment.experiment.only_shown`.

    Raises:
        WriteError: the folder cannot be written.
    """
    hashed = hashlib.blake2b(digest_size=16)

    def chunks() -> Iterator[bytes]:
        for row in _rows(prepared):
            line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            hashed.update(line)
            yield line

    write_atomically(path, chunks())
    return hashed.hexdigest()


def read_shared(path: Path, content: str) -> tuple[ExperimentData, list[Run]]:
    """Read what `write_shared` has written.

    Args:
        path: of the file.
        content: the hash of the file.

    Raises:
        ClusterError: it is not the file that the driver has written.
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
            if found.hexdigest() != content:
                what = "is not what this run has written"
                raise ClusterError(f"{path}: {what}; start the run again")
            file.seek(0)
            return _read(map(orjson.loads, file))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        remedy = "all workers need the experiment's folder"
        raise DataError(path, None, what, remedy) from None


def _rows(prepared: PreparedExperiment) -> Iterator[dict[str, Any]]:
    """Yield a header; each data set, followed by its documents; and all runs."""
    data = prepared.data
    yield {"notes": data.notes, "n_datasets": len(data.datasets)}
    for name, dataset in data.datasets.items():
        queries = {query_id: dataset.queries[query_id].text for query_id in data.queries[name]}
        yield {
            "name": name,
            "queries": queries,
            "qrels": dataset.qrels,
            "from_clicks": dataset.from_clicks,
            "facts": asdict(facts_of(dataset.corpus)),
            "n_shown": len(dataset.corpus),
        }
        yield from map(asdict, dataset.corpus.values())
    for run in prepared.runs:
        rankings = {
            query_id: [(place.doc_id, place.score) for place in places]
            for query_id, places in run.rankings.items()
        }
        yield {"dataset": run.dataset, "model": run.model, "rankings": rankings}


def _read(rows: Iterator[Mapping[str, Any]]) -> tuple[ExperimentData, list[Run]]:
    header = next(rows)
    datasets = [_dataset(next(rows), rows) for _ in range(header["n_datasets"])]
    runs = [_run(row) for row in rows]
    data = ExperimentData(
        {dataset.name: dataset for dataset in datasets},
        {dataset.name: tuple(dataset.queries) for dataset in datasets},
        tuple(header["notes"]),
    )
    return data, runs


def _dataset(row: Mapping[str, Any], rows: Iterator[Mapping[str, Any]]) -> Dataset:
    shown = (Document(**document) for document in islice(rows, row["n_shown"]))
    return Dataset(
        row["name"],
        part_of(shown, CorpusFacts(**row["facts"])),
        {query_id: Query(query_id, text) for query_id, text in row["queries"].items()},
        row["qrels"],
        from_clicks=row["from_clicks"],
    )


def _run(row: Mapping[str, Any]) -> Run:
    rankings = {
        query_id: tuple(ScoredDoc(doc_id, score) for doc_id, score in places)
        for query_id, places in row["rankings"].items()
    }
    return Run(row["dataset"], row["model"], rankings)
