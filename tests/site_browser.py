"""What tests of the site in a browser share: sites, and how a page is visited."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import chromium, faultless, watched
from experiments import play, write_experiment
from hostile import LONG_NAME, play_hostile, write_hostile_log
from sites import data_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@dataclass(frozen=True)
class Sites:
    whole: Path  #: of an experiment that is done
    half: Path  #: of one that has just begun
    foreign: Path  #: of a log of another make, whose models' names are attacks
    alike: Path  #: of one where two of three models retrieve the same
    log: Path  #: the first experiment's battles

    @property
    def url(self) -> str:
        return self.whole.as_uri()

    @property
    def pages(self) -> list[str]:
        """Every kind of page, and some in a state that their address asks for."""
        files = {model["name"]: model["file"] for model in data_of(self.whole, "site")["models"]}
        return [
            "index.html",
            files["strong"],
            files[LONG_NAME],
            "compare.html",
            f"compare.html#a=strong&b={LONG_NAME}",
            "battles.html",
            "battles.html#row=0",
            "judge.html",
            "method.html",
        ]


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    # Tests without a site, which load this file too, need not wait for it.
    from arena.site import data_files as chunks
    from arena.site.build import build_site

    folder = tmp_path_factory.mktemp("sites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARENA_CACHE", str(folder / "cache"))  # playing sets it: undone here
        patch.setattr(chunks, "BATTLE_ROWS", 80)  # so that 240 battles are three files
        runs = {}
        for name, limit in (("whole", None), ("half", 30)):
            (folder / name).mkdir()
            runs[name] = play_hostile(folder / name, limit=limit)
            build_site(runs[name])
        log = write_hostile_log(folder / "log.jsonl")
        build_site(log, folder / "foreign")
        rankings = {"strong": ["good"], "twin": ["good"], "weak": ["poor"]}
        play(write_experiment(folder / "alike", rankings=rankings))
        build_site(folder / "alike" / "runs" / "x")
    yield Sites(
        runs["whole"] / "report",
        runs["half"] / "report",
        folder / "foreign",
        folder / "alike" / "runs" / "x" / "report",
        runs["whole"] / "battles.jsonl",
    )
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def browser(sites: Sites) -> Iterator[Browser]:
    # Playwright's event loop runs in this thread until then: no other module could start its own.
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def visited(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    with watched(browser) as both:
        yield both


@pytest.fixture
def page(visited: tuple[Page, list[str]]) -> Iterator[Page]:
    """A page that the tests of a file visit in turn: to open one takes longer than most of them."""
    page, problems = visited
    with faultless(page, problems):
        yield page
    if page.url != "about:blank":
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.goto("about:blank")


def until(page: Page, expression: str) -> None:
    """Wait for JavaScript to be true; Playwright's own way needs the eval that the site forbids."""
    limit = time.monotonic() + 10
    while not page.evaluate(expression):
        assert time.monotonic() < limit, expression
        time.sleep(0.02)


def visit(page: Page, url: str) -> None:
    """Open a page and wait until its scripts have drawn what they draw."""
    page.goto("about:blank")  # so that another # is another visit
    page.goto(url)
    until(page, "document.readyState === 'complete'")
    if "row=" in url:
        page.locator("#battle h1").wait_for()
    elif "battles.html" in url:
        until(page, "document.querySelector('#page').textContent !== ''")
    elif "#a=" in url:
        page.locator("#duels details").first.wait_for()
    elif url.endswith(("index.html", "models/strong.html")):
        until(page, "document.querySelector('.frame, .notice') !== null")


def rows(page: Page, column: int) -> list[str]:
    """The texts of a column of the leaderboard, of the rows that are shown."""
    script = """(column) => [...document.querySelectorAll('#leaderboard tbody tr')]
        .filter((row) => !row.hidden).map((row) => row.cells[column].textContent.trim())"""
    found: list[str] = page.evaluate(script, column)
    return found
