"""How the figures came about, and how to have them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import arena
from arena.site.gather import Gathered
from arena.site.records import Method, PromptInfo
from arena.site.secrets import publishable

_HASHES = {"corpus_hash": "corpus", "queries_hash": "queries", "qrels_hash": "qrels"}


def method_of(found: Gathered) -> Method:
    """What the last page of the site says; a bare log has little to say of itself."""
    manifest = found.manifest
    return Method(
        manifest={key: value for key, value in manifest.items() if key != "config"},
        config=publishable(found.config_text) or None,
        prompts=list(_prompts(found)),
        commands=_commands(found),
        versions=_versions(manifest),
        hashes=dict(_hashes(manifest)),
        notes=list(manifest.get("notes", ())),
    )


def _prompts(found: Gathered) -> Iterator[PromptInfo]:
    for judge in found.judges:
        if prompt := judge.get("prompt"):
            text = f"# System\n\n{prompt['system']}\n\n# User\n\n{prompt['user']}\n"
            yield PromptInfo(judge["name"], prompt["hash"], text)


def _commands(found: Gathered) -> list[str]:
    if not found.manifest:
        return [f"arena rate {found.path.name}", f"arena report {found.path.name}"]
    folder = f"runs/{found.title}"
    version = found.manifest.get("arena", arena.__version__)
    return [
        f"arena --version            # these figures are of {version}",
        "arena battle arena.toml    # judges what is not in the log yet",
        f"arena rate {folder}",
        f"arena audit {folder}",
        f"arena report {folder}",
    ]


def _versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    own = {"arena": manifest.get("arena"), "python": manifest.get("python")}
    packages = manifest.get("packages", {})
    return {name: str(version) for name, version in (own | packages).items() if version}


def _hashes(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, dataset in manifest.get("datasets", {}).items():
        for key, label in _HASHES.items():
            if value := dataset.get(key):
                yield f"{name}: {label}", value
    for judge in manifest.get("judges", ()):
        yield f"judge {judge['name']}", judge["fingerprint"]
