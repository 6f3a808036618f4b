"""A headless Chromium, and pages in it that keep a list of everything that went wrong."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from http_server import PromptServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--renderer-process-limit=1",  # one page is open at a time: each visit would start another
)

WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""
"""Runs before any script of a page."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none, and fails on CI."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on CI; install the package chromium")
        pytest.skip("no Chromium here; install the package chromium to run these tests")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_QUIET))
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, **context: Any) -> Iterator[Page]:
    """A page in a context of its own, say with ``color_scheme`` or ``viewport``.

    When the block ends, it fails on what `watched` has counted.
    """
    with watched(browser, **context) as (page, problems), faultless(page, problems):
        yield page


@contextmanager
def watched(browser: Browser, **context: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page in a context of its own, and what went wrong in it.

    That is any error on the console, failed request, or request that left this machine's disk or
    loopback.
    """
    problems: list[str] = []
    with browser.new_context(**context) as own:
        own.add_init_script(WATCH)
        page = own.new_page()
        page.set_default_timeout(10_000)
        page.on(
            "console", lambda line: line.type in ("error", "warning") and problems.append(line.text)
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.on("request", lambda request: problems.extend(_left(request.url)))
        yield page, problems


@contextmanager
def without_scripts(page: Page) -> Iterator[None]:
    """Visit pages as a reader does who has forbidden scripts."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setScriptExecutionDisabled", {"value": True})
    yield
    session.detach()


@contextmanager
def faultless(page: Page, problems: list[str]) -> Iterator[None]:
    """Fail on any problem since the start, or breach of the Content-Security-Policy."""
    problems.clear()
    yield
    problems += page.evaluate("window.violations ?? []")
    assert not problems, problems


def _left(url: str) -> Iterator[str]:
    """The address, unless it is the disk's or a loopback server's."""
    if not url.startswith(("file:", "data:", "http://127.0.0.1:")):
        yield f"asked for {url}"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on a loopback HTTP server."""
    handler = functools.partial(_Silent, directory=str(folder))
    with PromptServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Silent(http.server.SimpleHTTPRequestHandler):
    """Keeps the requests out of the tests' output."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""
