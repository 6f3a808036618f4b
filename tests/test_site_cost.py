"""The costs on the site: a reader types a load, and reads the figures that Python computes."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import without_scripts
from site_browser import until, visit
from sites import data_of

from arena.config import UsageConfig
from arena.config.section import checked_section
from arena.cost.formula import Cost
from arena.cost.recommend import rounded_dollars
from arena.data.run_file import write_stats
from arena.files import safe_filename
from arena.rating.leaderboard_cost import Ownership, ownership
from arena.rating.leaderboard_records import Leaderboard
from arena.rating.rate_files import rate_files
from arena.records import RetrievalStats
from arena.site.build import build_site

if TYPE_CHECKING:
    from playwright.sync_api import Page

VECTORS = RetrievalStats(
    latency_ms=(8.0, 9.0),
    n_documents=1000,
    dimension=1024,
    tokens_per_document=187.3,
    tokens_per_query=11.0,
    documents_per_s=180.0,
    bytes_per_vector=4096.0,
)
WORDS = replace(VECTORS, dimension=None, bytes_per_vector=None, tokens_per_document=None)
MODELS: dict[str, tuple[dict[str, Any], RetrievalStats, float]] = {
    "large": ({"provider": "openai", "price_per_1m_tokens": 0.13}, VECTORS, 0.45),
    "<b>voyage</b>": ({"provider": "voyage", "price_per_1m_tokens": 0.06}, VECTORS, 0.40),
    "bge-m3": ({"provider": "vllm"}, VECTORS, 0.35),
    "minilm": ({"provider": "minilm"}, replace(VECTORS, bytes_per_vector=384.0), 0.0),
    "bm25": ({"provider": "bm25"}, WORDS, -0.5),
    "reranked": ({"rerank": "cohere", "base": "bm25", "price_per_1k_queries": 2.0}, WORDS, 0.42),
    "hybrid": ({"fuse": ["bm25", "minilm"]}, WORDS, 0.1),
    "old": ({"run": "old.trec"}, RetrievalStats(n_documents=1000), -0.4),
}
LOAD = {"documents": 1_000_000, "queries_per_month": 200_000}
LOADS: list[dict[str, str]] = [
    {},
    {"documents": "25M", "queries_per_month": "3k", "reindex_per_year": "0"},
    {"documents": "0", "queries_per_month": "7.5M", "price_per_hour": "0.85"},
    {
        "documents": "1,234,567",
        "queries_per_month": "1e3",
        "price_per_gb_month": "4.25",
        "reindex_per_year": "2.5",
        "price_per_hour": "0",
    },
    {"documents": "1e15", "queries_per_month": "1e15", "price_per_gb_month": "1e6"},
]
NUMBERS = {"25M": 25e6, "3k": 3e3, "7.5M": 7.5e6, "1,234,567": 1234567.0}


def write_folder(folder: Path, usage: dict[str, float] | None) -> Path:
    """Write what `arena battle` leaves of eight models, a hundred queries and a judge of chance."""
    folder.mkdir()
    sections = [{"name": name, **section} for name, (section, _, _) in MODELS.items()]
    for name, (_, stats, _) in MODELS.items():
        path = folder / "retrieval" / "docs" / f"{safe_filename(name)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stats(stats, path)
    config: dict[str, Any] = {
        "experiment": {"name": "x"},
        "datasets": [{"name": "docs", "path": "data"}],
        "models": sections,
    }
    if usage is not None:
        config["usage"] = usage
    (folder / "manifest.json").write_text(json.dumps({"experiment": "x", "config": config}))
    rng = random.Random(3)
    with (folder / "battles.jsonl").open("w") as log:
        for query in range(100):
            for a, b in permutations(MODELS, 2):
                edge = 2 * (MODELS[a][2] - MODELS[b][2])
                winner = "model_a" if rng.random() < 1 / (1 + math.exp(-edge)) else "model_b"
                row = {"model_a": a, "model_b": b, "winner": winner, "query_id": f"q{query}"}
                log.write(json.dumps(row | {"dataset": "docs"}) + "\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("costs") / "x", LOAD)


@pytest.fixture(scope="module")
def board(folder: Path) -> Leaderboard:
    return rate_files([folder])


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return build_site(folder).as_uri()


@pytest.fixture
def page(page: Page, url: str) -> Page:
    """The page of these costs, with its charts drawn."""
    show(page, url)
    return page


def show(page: Page, url: str) -> None:
    visit(page, url)
    until(page, "document.querySelector('#cost-chart .frame') !== null")


def owned(board: Leaderboard, typed: dict[str, str]) -> Ownership:
    given = {key: NUMBERS.get(text) or float(text) for key, text in typed.items()}
    return ownership(board, checked_section(UsageConfig, LOAD | given, "test"))


def cell(value: float | None) -> str:
    return "–" if value is None else rounded_dollars(value)


def table(page: Page) -> dict[str, list[str]]:
    script = """() => [...document.querySelectorAll('#costs tbody tr')].map((row) =>
        [row.dataset.model, [...row.cells].slice(1).map((cell) => cell.textContent.trim())])"""
    return dict(page.evaluate(script))


def advice(page: Page) -> list[str]:
    return [text.strip() for text in page.locator("#advice p").all_inner_texts()]


def type_load(page: Page, typed: dict[str, str]) -> None:
    for key, text in typed.items():
        page.locator(f"#load [name={key}]").fill(text)


def test_the_browser_computes_what_python_computes(page: Page, board: Leaderboard) -> None:
    for typed in LOADS:
        expected = owned(board, typed)

        page.locator("#load button").click()
        type_load(page, typed)

        assert table(page) == {
            model: [cell(part) for part in parts(cost)] for model, cost in expected.costs.items()
        }
        assert advice(page) == list(expected.recommendation.sentences)
        for model, per_month, needs in page.evaluate(COMPUTED):
            known = expected.costs[model].per_month
            assert per_month == (None if known is None else pytest.approx(known, rel=1e-12))
            assert tuple(needs) == expected.costs[model].needs


COMPUTED = "[...arena.cost.now.values()].map((c) => [c.model, c.per_month, c.needs])"


def parts(cost: Cost) -> tuple[float | None, ...]:
    return (
        *(cost.per_month, cost.indexing, cost.queries),
        *(cost.storage, cost.fixed, cost.once),
    )


def test_the_loads_of_these_tests_lead_to_different_models(board: Leaderboard) -> None:
    taken = {owned(board, typed).recommendation.take for typed in LOADS}

    assert len(taken - {None}) >= 2


def test_the_page_without_scripts_shows_the_load_of_the_experiment(
    page: Page, url: str, board: Leaderboard
) -> None:
    with without_scripts(page):
        page.goto(url)
        sentences = page.locator("#advice p").all_text_contents()
        shown = page.locator("#costs tbody tr").first.locator("td").first.text_content()

    expected = owned(board, {})
    assert [s.strip() for s in sentences] == list(expected.recommendation.sentences)
    assert shown == cell(next(iter(expected.costs.values())).per_month)


def test_the_leaderboard_follows_the_load_and_sorts_by_it(page: Page, board: Leaderboard) -> None:
    page.locator('#leaderboard th[data-key="cost"] button').click()
    type_load(page, {"documents": "90M", "queries_per_month": "0"})

    script = """() => [...document.querySelectorAll('#leaderboard tbody tr')]
        .map((row) => [row.dataset.model, row.lastElementChild.textContent])"""
    rows = page.evaluate(script)

    usage: UsageConfig = checked_section(
        UsageConfig, {"documents": 90e6, "queries_per_month": 0}, "test"
    )
    costs = ownership(board, usage).costs
    assert dict(rows) == {model: cell(cost.per_month) for model, cost in costs.items()}
    known = [costs[model].per_month for model, _ in rows if costs[model].per_month is not None]
    assert known == sorted(known)
    assert "sort=cost" in page.url
    assert "documents=90M" in page.url


def test_a_link_shows_the_same_load_to_others_and_reset_forgets_it(
    page: Page, url: str, board: Leaderboard
) -> None:
    show(page, f"{url}#documents=25M&queries_per_month=3k")
    linked = advice(page)

    page.locator("#load button").click()

    typed = {"documents": "25M", "queries_per_month": "3k"}
    assert linked == list(owned(board, typed).recommendation.sentences)
    assert advice(page) == list(owned(board, {}).recommendation.sentences)
    assert "=" not in page.url


def test_what_is_no_quantity_is_marked_and_keeps_the_last_figures(page: Page) -> None:
    before, field = table(page), page.locator("#load [name=documents]")

    for text in ("-5", "many", "NaN", "Infinity", "1e99", "", "0x10", "1M2"):
        field.fill(text)

        assert field.get_attribute("aria-invalid") == "true", text
        assert page.get_by_role("alert").inner_text() == (
            "Documents: expected 0 or more, such as 200k or 1M."
        )
        assert table(page) == before
    field.fill("1M")
    assert field.get_attribute("aria-invalid") is None
    assert page.locator("#load-problem").inner_text() == ""


def test_the_load_is_typed_by_keyboard_and_its_fields_and_answer_have_names(page: Page) -> None:
    page.get_by_label("Documents").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("5M")
    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.name") == "queries_per_month"
    assert page.get_by_role("form", name="Your load").count() == 1
    assert "5,000,000 documents" in page.get_by_role("status").last.inner_text()


def test_on_a_phone_the_costs_are_no_wider_than_the_screen(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.reload()
        until(page, "document.querySelector('#cost-chart .frame') !== null")

        assert page.evaluate("document.documentElement.scrollWidth") == 390, scheme


def test_a_site_without_a_usage_has_no_costs(tmp_path: Path) -> None:
    first = build_site(write_folder(tmp_path / "x", None))

    assert 'id="cost"' not in first.read_text("utf-8")
    assert not (first.parent / "data" / "cost.js").exists()


def test_the_sites_data_of_costs_are_exact(folder: Path, url: str, board: Leaderboard) -> None:
    found = data_of(folder / "report", "cost")

    assert url
    assert found["usage"]["documents"] == 1_000_000
    assert len(found["gaps"]) == len(board.gaps) == 28
    assert found["gaps"][0][2] == board.gaps[0].elo
