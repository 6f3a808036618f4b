"""The site in a real browser: nothing fails, nothing attacks, everybody can read it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import WATCH, page_of, served, without_scripts
from site_browser import DESKTOP, PHONE, rows, until, visit

from arena.site import render

if TYPE_CHECKING:
    from playwright.sync_api import Page

STATIC = Path(render.__file__).parent / "static"
TEMPLATES = STATIC.parent / "templates"
DEPEND_ON_COLOUR_OR_WIDTH = [
    "color-contrast",
    "link-in-text-block",
    "scrollable-region-focusable",
    "target-size",
]
"""Rules of axe, from https://dequeuniversity.com/rules/axe/; the others see the same page twice."""


WAYS = {"disk": ("light", DESKTOP, DEPEND_ON_COLOUR_OR_WIDTH), "http": ("dark", PHONE, None)}


@pytest.mark.parametrize("way", WAYS)
def test_every_page_loads_can_be_read_and_runs_nothing_of_its_texts(sites, page, way):
    scheme, viewport, rules = WAYS[way]
    _, other_model = (path for path in sites.pages if path.startswith("models/"))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(viewport)
    with served(sites.whole) as address:
        for path in sites.pages:
            visit(page, f"{sites.url if way == 'disk' else address}/{path}")

            assert page.evaluate("window.canary") is None, path
            assert page.locator("script:not([src]), [onerror], [onmouseover], img").count() == 0
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width == viewport["width"], path
            if path not in ("compare.html", other_model):  # others of their kinds are looked at
                assert list(_barriers(page, rules)) == [], path


ALIKE = """() => {
    for (const one of document.querySelectorAll('details:first-of-type')) one.open = true;
    const counts = new Map();
    for (const line of document.querySelectorAll('li, tr')) {
        const shape = [line, ...line.querySelectorAll('*')].map((part) => [
            part.tagName, part.getAttribute('class'), part.getAttribute('style'), part.hidden,
        ]).join();
        counts.set(shape, (counts.get(shape) ?? 0) + 1);
        if (counts.get(shape) > 2) line.remove();
    }
}"""
"""Opens what is closed, and keeps two of the lines that are built alike in all their parts."""


def _barriers(page: Page, rules: list[str] | None) -> Iterator[tuple[str, str]]:
    """What axe holds against a page by some or all of its rules: the rule, and what breaks it."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"resultTypes": ["violations"], "preload": False}  # preloading fetches: not from disk
    if rules:
        options["runOnly"] = rules
    page.evaluate(ALIKE)
    for found in Axe().run(page, options=options).response["violations"]:
        yield found["id"], found["nodes"][0]["html"][:200]


def test_names_that_are_attacks_are_shown_as_names(sites, phone):
    files = sorted((sites.foreign / "models").iterdir())
    for url in [
        *(f"models/{file.name}" for file in files),
        "battles.html",
        "judge.html",
        "index.html",
    ]:
        visit(phone, f"{sites.foreign.as_uri()}/{url}")

        assert phone.evaluate("window.canary") is None
        assert phone.locator("img, [onerror]").count() == 0
        assert phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"], url
    assert any(name.startswith("<script>window.canary=1</script>") for name in rows(phone, 1))
    hrefs = phone.eval_on_selector_all("a", "(all) => all.map((a) => a.getAttribute('href'))")
    assert all(re.match(r"models/|https://|#|\w+\.(html|json|csv)\b", href) for href in hrefs)


def test_the_leaderboard_says_its_figures_without_scripts(sites, page):
    with without_scripts(page):
        page.goto(f"{sites.url}/index.html")

        table = page.locator("#leaderboard").inner_text()
        assert "strong" in table
        assert "±" in table
        assert "None of the 5 models can be told apart" in page.locator(".finding").inner_text()
        assert page.locator("#controls").is_hidden()


def test_the_theme_is_toggled_and_remembered(sites, page):
    with served(sites.whole) as address:
        visit(page, f"{address}/index.html")
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(background)
        page.get_by_role("button", name="Switch to the dark theme").click()
        dark = page.evaluate(background)
        visit(page, f"{address}/judge.html")

        assert light == "rgb(255, 255, 255)"
        assert dark != light
        assert page.evaluate(background) == dark


def test_a_script_that_slips_into_a_page_is_refused(sites, browser, tmp_path):
    shutil.copytree(sites.whole, tmp_path / "copy")
    slipped = (
        "<main><script>window.canary = 1</script><img src=x: onerror='window.canary = 1'>"
        "<style>main { color: red }</style><a id=go href='javascript:window.canary = 1'>go</a>"
        "<script src='data:text/javascript,window.canary=1'></script>"
    )
    index = tmp_path / "copy" / "index.html"
    index.write_text(re.sub("<main", lambda _: slipped + "<main", index.read_text(), count=1))
    with served(index.parent) as address, browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(WATCH)
        for url in (index.parent.as_uri(), address):
            page.goto(f"{url}/index.html")
            page.locator("#go").click()

            until(page, "window.violations.length >= 6")  # an address is refused after the click
            refused = set(page.evaluate("window.violations.map((one) => one.split(':')[0])"))
            assert page.evaluate("window.canary") is None, url
            expected = {"script-src-attr", "script-src-elem", "style-src-elem", "img-src"}
            assert refused == expected, url


def test_an_address_may_hold_anything(sites, page):
    for path in (
        "index.html#sort=constructor&dataset=__proto__&order=%E0%A4%A",
        "battles.html#winner=constructor&source=toString&page=99999999999999999999",
        "battles.html#row=__proto__",
        "battles.html#row=0&row=1e3",
        "compare.html#a=<img src=x onerror=canary=1>&b=__proto__",
        "compare.html#a=strong&b=strong&__proto__=1",
    ):
        visit(page, f"{sites.url}/{path.replace('#a=', '#x=&a=')}")

        assert page.evaluate("window.canary") is None
        assert page.locator("main h1:visible").count() == 1, path


def test_the_first_key_leads_past_the_menu(sites, page):
    visit(page, f"{sites.url}/index.html")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "main"


def test_half_an_experiment_says_that_it_is_half(sites, page):
    visit(page, f"{sites.half.as_uri()}/index.html")

    assert "30 of 240 battles judged" in page.locator(".notice").first.inner_text()
    assert page.locator("progress").get_attribute("value") == "30"


def test_a_leaderboard_on_the_screen_is_shown_anew_when_the_log_grows(sites, browser):
    with page_of(browser) as page:
        page.clock.install()
        visit(page, f"{sites.half.as_uri()}/index.html")
        version = sites.half / "data" / "version.js"
        before = version.read_text()
        version.write_text(re.sub('"version":"[^"]*"', '"version":"another"', before))
        with page.expect_navigation() as shown_anew:
            page.clock.run_for(20_000)
        version.write_text(before)

        assert shown_anew.value is not None


def test_scripts_set_no_markup_and_templates_hold_no_script():
    for script in STATIC.glob("*.js"):
        text = script.read_text()
        forbidden = (
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
        )

        assert not re.search(forbidden, text), script
        assert text.startswith("'use strict';"), script
    for template in TEMPLATES.glob("*.html"):
        text = template.read_text()

        assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style|\|\s*safe\b", text), (
            template
        )


def test_nothing_in_the_sites_own_files_names_another_host():
    for file in [*STATIC.glob("*.*"), *TEMPLATES.glob("*.html")]:
        hosts = set(re.findall(r"https?://([\w.-]+)", file.read_text()))

        assert hosts <= {"www.w3.org", "ir-measur.es"}, file


def test_the_overview_data_are_json_in_a_call(sites):
    text = (sites.whole / "data" / "site.js").read_text()

    found = re.fullmatch(r'arena\.put\("site", (.*)\);\n', text, re.DOTALL)
    assert found is not None
    assert json.loads(found[1])["title"] == "x"
