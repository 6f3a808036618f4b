"""Write manifest.json: what was run, with what, so that anyone can run it again."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import orjson

from arena.config import DatasetConfig, swept
from arena.config.toml_text import toml_text
from arena.data.corpus_part import facts_of
from arena.data.dataset_hashes import qrels_hash, queries_hash
from arena.data.documents import file_passages as cut
from arena.files import parse_toml, write_atomically
from arena.records import Dataset, now
from arena.store.folder import Folder
from arena.store.manifest import Gate, read_manifest
from arena.version import __version__

if TYPE_CHECKING:
    from arena.experiment.experiment import PreparedExperiment
    from arena.experiment.judges import ConfiguredJudge

PACKAGES: Final = (
    "openai",
    "numpy",
    "pandas",
    "bm25s",
    "ir_measures",
    "onnxruntime",
    *cut.PACKAGES,  # these decide what passages of documents are
)
"""Those whose version could show in a result."""


def write_manifest(
    prepared: PreparedExperiment, judges: Sequence[ConfiguredJudge], gates: Mapping[str, Gate]
) -> None:
    """Record what an experiment is made of, and keep a copy of its arena.toml.

    Args:
        prepared: the experiment.
        judges: its judges.
        gates: judge → how it did in its controls, or why it was not asked.
    """
    experiment, data = prepared.experiment, prepared.data
    source, origin = experiment.source.read_bytes(), experiment.origin
    if origin is not None:
        source = toml_text(origin.tree).encode()
    files = Folder(experiment.folder)
    before = read_manifest(files.path) if files.is_experiment else {}
    began_at = now("seconds")
    configured = {dataset.name: dataset for dataset in experiment.config.datasets}
    manifest = {
        "experiment": experiment.config.experiment.name,
        "arena": __version__,
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "begun_at": before.get("begun_at", began_at),
        "resumed_at": began_at,
        "planned": prepared.n_matchups * len(judges),
        "config": swept(parse_toml(source)),
        "judges": [_judge(judge, gates[judge.judge.name]) for judge in judges],
        "datasets": {
            name: {
                **_corpus(configured.get(name), dataset),
                "queries": len(data.queries[name]),
                "corpus_hash": facts_of(dataset.corpus).content,
                "queries_hash": queries_hash(dataset, data.queries[name]),
                "qrels_hash": qrels_hash(dataset.qrels),
                **({"from_clicks": True} if dataset.from_clicks else {}),
            }
            for name, dataset in data.datasets.items()
        },
        "notes": list(data.notes),
    }
    write_atomically(files.config, [source])
    write_atomically(files.manifest, [orjson.dumps(manifest, option=orjson.OPT_INDENT_2), b"\n"])


def _corpus(config: DatasetConfig | None, dataset: Dataset) -> dict[str, int]:
    """Return the number of documents, and before they were cut, if they come from files."""
    of_files = config is not None and config.documents is not None
    facts = facts_of(dataset.corpus, of_files=of_files)
    whole = {"whole_documents": facts.n_files} if of_files else {}
    return {"documents": facts.n_documents, **whole}


def _judge(configured: ConfiguredJudge, gate: Gate) -> dict[str, Any]:
    judge, prompt = configured.judge, configured.prompt
    return {
        "name": judge.name,
        "kind": configured.config.kind,
        "is_llm": judge.is_llm,
        "fingerprint": judge.fingerprint,
        "prompt": prompt
        and {
            "name": prompt.name,
            "hash": prompt.hash,
            "system": prompt.system,
            "user": prompt.user,
        },
        "gate": gate,
    }


@functools.cache  # reads and parses a file
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
