"""What experiments leave on disk is what it was when `tests/frozen/` was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from frozen import EXPERIMENTS, RECORDS, written


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_leaves_the_same_files_as_when_it_was_recorded(
    name: str, tmp_path: Path
) -> None:
    record = json.loads((RECORDS / f"{name}.json").read_text("utf-8"))

    found = json.loads(json.dumps(written(EXPERIMENTS[name], tmp_path)))

    assert found.keys() == record.keys()
    for file, content in record.items():
        assert found[file] == content, file
