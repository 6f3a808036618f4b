"""What tests of the site in a browser share: sites, and how a page is visited."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import chromium, faultless, watched
from experiments import play, write_experiment
from hostile import LONG_NAME, play_hostile, write_hostile_log
from sites import data_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 400, "height": 800}


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

    close_browser()
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


_open = ExitStack()


@functools.cache
def _shared_browser() -> Browser:
    return _open.enter_context(chromium())


@functools.cache
def _shared_page() -> tuple[Page, list[str]]:
    return _open.enter_context(watched(_shared_browser(), viewport=DESKTOP, color_scheme="light"))


def close_browser() -> None:
    """Close the browser that tests share, if it is open.

    Playwright's event loop runs in this thread until then: nothing else can start its own.
    """
    _open.close()
    _shared_browser.cache_clear()
    _shared_page.cache_clear()


@pytest.fixture
def browser() -> Browser:
    """A browser that is started once for all tests in a row that need one."""
    return _shared_browser()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that tests visit in turn: to open one takes longer than most of them."""
    page, problems = _shared_page()
    with faultless(page, problems):
        yield page
    if page.viewport_size != DESKTOP:
        page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")
    if page.url != "about:blank":
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.goto("about:blank")


@pytest.fixture
def phone(page: Page) -> Page:
    """That page, as narrow as a phone."""
    page.set_viewport_size(PHONE)
    return page


def until(page: Page, expression: str) -> None:
    """Wait for JavaScript to be true; Playwright's own way needs the eval that the site forbids."""
    limit = time.monotonic() + 10
    while not page.evaluate(expression):
        assert time.monotonic() < limit, expression
        time.sleep(0.02)


def visit(page: Page, url: str) -> None:
    """Open a page and wait until its scripts have drawn what they draw."""
    if page.url.partition("#")[0] == url.partition("#")[0]:
        page.evaluate("(url) => history.replaceState(null, '', url)", url)
        page.reload()  # so that another # is another visit
    else:
        page.goto(url)
    if "row=" in url:
        page.locator("#battle h1").wait_for()
    elif "battles.html" in url:
        until(page, "document.querySelector('#page').textContent !== ''")
    elif "#a=" in url:
        page.locator("#duels details").first.wait_for()
    elif url.endswith(("index.html", "models/strong.html")):
        until(page, "document.querySelector('.frame, .notice') !== null")


def follow(page: Page, place: str) -> None:
    """Go to another place on the page of the battles that is open, as a link in it does."""
    script = """(place) => {
        for (const part of document.querySelectorAll('#page, #battle')) part.replaceChildren();
        location.hash = place; // the page's listener runs at once, and drops what it was drawing
    }"""
    page.evaluate(script, place)
    if "row=" in place:
        page.locator("#battle h1").wait_for()
    else:
        until(page, "document.querySelector('#page').textContent !== ''")


def rows(page: Page, column: int) -> list[str]:
    """The texts of a column of the leaderboard, of the rows that are shown."""
    script = """(column) => [...document.querySelectorAll('#leaderboard tbody tr')]
        .filter((row) => !row.hidden).map((row) => row.cells[column].textContent.trim())"""
    found: list[str] = page.evaluate(script, column)
    return found
