"""The documents are true: what they show is what there is."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from arena.config import ModelConfig, parse_config
from arena.records import Dataset, Document, Query
from arena.retrieval.retrieve import retrieve

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *REPOSITORY.glob("docs/*.md")]


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    written = (REPOSITORY / "docs" / "commands.md").read_text("utf-8")

    generated = runpy.run_path(str(REPOSITORY / "docs" / "generate.py"))["commands_page"]()

    assert written == generated, "run `make docs`"


def test_links_between_pages_lead_somewhere() -> None:
    links = {
        (page.name, link)
        for page in PAGES
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text("utf-8"))
        if not (page.parent / link).exists()
    }

    assert links == set()


def test_every_part_of_an_arena_toml_that_is_shown_may_stand_in_one() -> None:
    rest = {
        "datasets": [{"name": "docs", "path": "data"}],
        "models": [{"name": "other", "provider": "bm25"}, {"name": "third", "provider": "lsa"}],
        "judge": {"kind": "qrels"},
    }
    blocks = [
        (page, tomllib.loads(block))
        for page in PAGES
        for block in re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ]

    assert blocks
    for page, part in blocks:
        models = [*part.get("models", []), *rest["models"]]
        config = parse_config(
            {"experiment": {"name": "x"}} | rest | part | {"models": models}, page
        )
        assert len(config.models) >= len(models), page  # a sweep is several


def test_the_readmes_first_steps_on_own_documents_run_as_written(tmp_path: Path) -> None:
    blocks = re.findall(
        r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text("utf-8"), re.DOTALL
    )
    steps = [block for block in blocks if "mkdir -p handbook" in block or "--dry-run" in block]
    arena = f'arena() {{ {shlex.quote(sys.executable)} -m arena "$@"; }}\n'

    ended = subprocess.run(
        ["bash", "-euc", arena + "\n".join(steps)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert len(steps) == 2
    assert ended.returncode == 0, ended.stderr
    assert "judge calls" in ended.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_bm25_finds_something_for_every_query_that_a_page_shows(page: str) -> None:
    text = (REPOSITORY / page).read_text("utf-8")
    rows = [json.loads(line) for line in re.findall(r'\{"_id": .*\}', text)]
    corpus = {r["_id"]: Document(r["_id"], r["text"], r["title"]) for r in rows if "title" in r}
    queries = {r["_id"]: Query(r["_id"], r["text"]) for r in rows if "title" not in r}
    dataset = Dataset("docs", corpus, queries, {})

    run, _ = retrieve(
        ModelConfig(name="bm25", provider="bm25"), dataset, list(queries), depth=10, cache=Path()
    )

    assert queries
    assert [query for query in queries if not run.rankings[query]] == []
