"""docs/data.md says what is so: its examples are valid, and its table is the one in the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tables import each_row

from arena.config.datasets import DatasetConfig
from arena.data.documents.files import READERS
from arena.data.public import PUBLIC_SETS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "data.md").read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@each_row("example", [each for each in EXAMPLES if "[[datasets]]" in each])
def test_an_example_is_a_valid_data_set(example: str) -> None:
    (dataset,) = tomllib.loads(example)["datasets"]

    assert DatasetConfig(**dataset).name == dataset["name"]


@each_row("name", sorted(PUBLIC_SETS))
def test_the_table_of_public_sets_says_what_the_code_knows(name: str) -> None:
    known = PUBLIC_SETS[name]  # type: ignore[index]
    documents = f"{known.n_documents:,}" if known.n_documents else "its distinct contexts"

    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))

    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert f"`{known.repo}`, {known.split}" in cells[1]
    assert cells[2:] == [known.language, documents, f"{known.n_queries:,}", known.license]


def test_every_kind_of_file_is_named() -> None:
    assert all(suffix in PAGE for suffix in READERS)
