"""`arena init`: every template is an experiment that loads, and what it says is true."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from loopback import Answer, LoopbackServer, chat, verdict
from tables import each_row

from arena.cli import main
from arena.commands.init import TEMPLATES, template_text
from arena.config import load_config, parse_config

TEMPLATE_FILES = Path(__file__).resolve().parents[1] / "arena" / "templates"


def init(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, words)])


@each_row("name", TEMPLATES)
def test_every_template_is_written_with_its_prompts_and_loads(name: str, tmp_path: Path) -> None:
    ended = init("--template", name, tmp_path / "new")

    written = {str(path.relative_to(tmp_path / "new")) for path in map(Path, ended.stdout.split())}
    assert ended.exit_code == 0
    assert written == {"arena.toml"} | {f"prompts/{p}.md" for p in TEMPLATES[name].prompts}
    assert load_config(tmp_path / "new" / "arena.toml").judges[0].model


def test_the_list_has_a_line_for_every_template_there_is() -> None:
    listed = init("--list")

    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert listed.exit_code == 0
    assert names == list(TEMPLATES)
    files = {path.stem for path in TEMPLATE_FILES.glob("*.toml")} - {"demo", "arena"}
    assert files | {"default"} == set(names)


def test_nothing_is_written_where_there_is_a_file_already(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "pairwise.md").write_text("mine")

    ended = init(tmp_path)

    assert ended.exit_code == 2
    assert "the file already exists, and arena wrote nothing" in ended.output
    assert not (tmp_path / "arena.toml").exists()
    assert (tmp_path / "prompts" / "pairwise.md").read_text() == "mine"


def test_an_unknown_template_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    ended = init("--template", "leaderboard", tmp_path)

    assert ended.exit_code == 2
    assert "public-leaderboard" in ended.output


@each_row("name", ["arena", "documents", "public-leaderboard", "trec"])
def test_what_a_template_shows_in_comments_would_load_too(name: str, tmp_path: Path) -> None:
    shown = [block for block in re.split(r"\n\n+", template_text(name)) if "# [[models]]" in block]

    for block in shown:
        lines = block[block.index("# [[models]]") :].splitlines()
        section = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines))
        others = [{"name": name, "provider": "bm25"} for name in ("bm25", "text-embedding-3-small")]
        tree = {
            "experiment": {"name": "x"},
            "datasets": [{"name": "d", "path": "d"}],
            "models": others + section["models"],
            "judge": {"kind": "qrels"},
        }
        assert parse_config(tree, tmp_path / "arena.toml")
    assert shown or name in ("documents", "public-leaderboard")


def test_the_public_leaderboard_has_its_thirteen_models_with_every_fact_about_them() -> None:
    config = parse_config(tomllib.loads(template_text("public-leaderboard")), Path("arena.toml"))

    assert len(config.models) == 13
    assert {dataset.public for dataset in config.datasets} == {
        "arcd", "dbpedia", "fiqa", "msmarco", "norquad", "scifact",
    }  # fmt: skip
    for model in config.models:
        facts = (model.price_per_1m_tokens, model.license, model.release_date, model.maker)
        assert None not in facts, model.name
        assert re.search(r"[\d,]+ dimensions", model.about or ""), model.name
    assert config.experiment.top_k == 5
    assert config.judges[0].max_usd


def test_documents_without_queries_lead_to_a_leaderboard_by_the_templates_own_commands(
    tmp_path: Path,
) -> None:
    pytest.importorskip("semantic_text_splitter")

    def writes_and_judges(request: dict[str, Any], _attempt: int) -> Answer:
        said = request["messages"][-1]["content"]
        if "Queries wanted" not in said:
            return verdict("first")
        fish = re.search(r"Where the (\w+) lives", said)
        assert fish
        return chat(json.dumps({"queries": [f"how to catch a {fish[1]} in winter"]}))

    def arena(*words: str) -> Result:
        return CliRunner().invoke(main, [*words, "-q"], catch_exceptions=False)

    init("--template", "documents", tmp_path)
    (tmp_path / "docs").mkdir()
    for fish in ("pike", "tench", "salmon", "herring"):
        text = f"Where the {fish} lives, the ice is thin, and fishermen go out early with a lamp."
        (tmp_path / "docs" / f"{fish}.txt").write_text(text)
    config = tmp_path / "arena.toml"
    with LoopbackServer(writes_and_judges) as server:
        text = config.read_text().replace(
            "[judge]", f'[judge]\ngate = false\nbase_url = "{server.base_url}"'
        )
        text = re.sub(r'(?s)name = "text-embedding-3-small".*?(?=\[judge\])', _LSA, text)
        config.write_text(text)
        ended = [arena(step, str(config)) for step in ("queries", "check", "battle")]

    assert [step.exit_code for step in ended] == [0, 0, 0], [step.output for step in ended]
    assert "4 queries for 4 documents" in ended[0].stdout
    assert "all work" in ended[1].stdout
    assert "bm25" in ended[2].stdout


_LSA = 'name = "lsa"\nprovider = "lsa"\n\n'
