"""Read manifest.json: what was run, with what, and how the judges did in their controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from arena.data.json_files import read_kept
from arena.store.folder import Folder

Gate = Mapping[str, Any]
"""A JSON object: how a judge did in its controls, or why it was not asked."""


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


def known_gates(folder: Path) -> Mapping[str, Gate]:
    """Return the judges' results on controls in earlier runs, by fingerprint."""
    if not Folder(folder).is_experiment:
        return {}
    judges = read_manifest(folder).get("judges", [])
    return {judge["fingerprint"]: judge["gate"] for judge in judges if judge.get("gate")}


def clicked_datasets(manifest: Mapping[str, Any]) -> set[str]:
    """Return the data sets of an experiment whose grades are clicks of users."""
    datasets = manifest.get("datasets", {})
    return {name for name, dataset in datasets.items() if dataset.get("from_clicks")}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read an experiment's manifest.

    Raises:
        DataError: it is missing, or not what `write_manifest` writes.
    """
    path = Folder(folder).manifest
    read_kept(_Manifest, path, "manifest", "delete it, and `arena battle` writes it again")
    manifest: dict[str, Any] = orjson.loads(path.read_bytes())
    return manifest
