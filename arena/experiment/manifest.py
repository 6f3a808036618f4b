"""manifest.json: what was run, with what, so that anyone can run it again."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

import arena
from arena.data import cut
from arena.data.beir import corpus_hash, qrels_hash, queries_hash
from arena.data.kept import read_kept
from arena.files import parse_toml, write_atomically

if TYPE_CHECKING:  # to read a manifest, as `arena rate` does, takes nothing of what made it
    from arena.experiment.panel import Seat
    from arena.experiment.prepare import Prepared

Gate = Mapping[str, Any]
"""A JSON object: how a judge did in its controls, or why it was not asked."""

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


@dataclass(frozen=True, slots=True)
class _Named:
    name: str


@dataclass(frozen=True, slots=True)
class _Configured:
    datasets: list[_Named]
    models: list[_Named]
    experiment: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Judged:
    name: str
    fingerprint: str
    prompt: dict[str, str] | None = None
    gate: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What readers rely on; a manifest holds more."""

    config: _Configured
    experiment: str = ""
    planned: int = 0
    packages: dict[str, str] = field(default_factory=dict)
    judges: list[_Judged] = field(default_factory=list)
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write_manifest(prepared: Prepared, seats: Sequence[Seat], gates: Mapping[str, Gate]) -> None:
    """Record what an experiment is made of, and keep a copy of its arena.toml.

    Args:
        prepared: the experiment.
        seats: its judges.
        gates: judge → how it did in its controls, or why it was not asked.
    """
    experiment, material = prepared.experiment, prepared.material
    source = experiment.source.read_bytes()
    path = experiment.folder / "manifest.json"
    before = read_manifest(experiment.folder) if path.exists() else {}
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    manifest = {
        "experiment": experiment.config.experiment.name,
        "arena": arena.__version__,
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "begun_at": before.get("begun_at", now),
        "resumed_at": now,
        "planned": prepared.n_matchups * len(seats),
        "config": parse_toml(source),
        "judges": [_judge(seat, gates[seat.judge.name]) for seat in seats],
        "datasets": {
            name: {
                "documents": len(dataset.corpus),
                "queries": len(material.queries[name]),
                "corpus_hash": corpus_hash(dataset.corpus),
                "queries_hash": queries_hash(dataset, material.queries[name]),
                "qrels_hash": qrels_hash(dataset.qrels),
            }
            for name, dataset in material.datasets.items()
        },
        "notes": list(material.notes),
    }
    write_atomically(experiment.folder / "arena.toml", [source])
    write_atomically(path, [orjson.dumps(manifest, option=orjson.OPT_INDENT_2), b"\n"])


def known_gates(folder: Path) -> Mapping[str, Gate]:
    """How judges did in their controls in earlier runs, by fingerprint; none without a manifest."""
    if not (folder / "manifest.json").exists():
        return {}
    judges = read_manifest(folder).get("judges", [])
    return {judge["fingerprint"]: judge["gate"] for judge in judges if judge.get("gate")}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read an experiment's manifest.

    Raises:
        DataError: it is missing, or not what `write_manifest` writes.
    """
    path = folder / "manifest.json"
    read_kept(_Manifest, path, "manifest", "delete it, and `arena battle` writes it again")
    manifest: dict[str, Any] = orjson.loads(path.read_bytes())
    return manifest


def _judge(seat: Seat, gate: Gate) -> dict[str, Any]:
    judge, prompt = seat.judge, seat.prompt
    return {
        "name": judge.name,
        "kind": seat.config.kind,
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


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
