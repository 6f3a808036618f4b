"""What is installed works without the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_prompts_templates_and_the_built_in_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {
        "arena/prompts/pairwise.md",
        "arena/templates/arena.toml",
        "arena/data/builtin/queries.jsonl",
        "arena/py.typed",
    } <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "docs/", "runs/"))]


def test_the_wheel_runs_without_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-m", "arena", "init", "here"]

    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    where = subprocess.run(
        [sys.executable, "-c", "import arena; print(arena.__file__)"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )

    assert where.stdout.startswith(str(tmp_path / "site"))
    assert "pairwise.md" in ended.stdout
    assert (tmp_path / "here" / "prompts" / "pairwise.md").read_text("utf-8")
