"""The leaderboard in a real browser: order, filters, figures and charts."""

from __future__ import annotations

import re
import shutil

import pytest
from browser import page_of
from hostile import LONG_NAME
from site_browser import rows, until, visit

from arena.site.build import build_site
from arena.site.render import FILTERS


def test_a_header_sorts_and_the_address_keeps_the_order(sites, page):
    visit(page, f"{sites.url}/index.html")
    by_rank = rows(page, 1)
    head = page.locator("#leaderboard thead th").nth(6)

    head.get_by_role("button").click()

    shown = [float(text) for text in rows(page, 6)]
    assert shown == sorted(shown, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    assert page.locator("th[aria-sort]").count() == 1
    assert page.locator("#shown").inner_text().endswith(", by nDCG@10 downwards")
    head.get_by_role("button").press("Enter")  # the keyboard does as the mouse
    assert [float(text) for text in rows(page, 6)] == sorted(shown)
    address = page.url
    visit(page, address)
    assert [float(text) for text in rows(page, 6)] == sorted(shown)
    page.get_by_role("button", name="Reset").click()
    until(page, "location.hash === ''")
    assert rows(page, 1) == by_rank


def test_what_is_not_known_is_sorted_last_in_both_directions(sites, page):
    visit(page, f"{sites.url}/index.html#sort=price&order=up")
    cheapest_first = rows(page, 9)
    visit(page, f"{sites.url}/index.html#sort=price&order=down")

    assert cheapest_first == ["$0.00", "$0.02", "$0.13", "–", "–"]
    assert rows(page, 9) == ["$0.13", "$0.02", "$0.00", "–", "–"]


def test_filters_leave_the_models_that_match_and_say_how_many(sites, page):
    visit(page, f"{sites.url}/index.html")
    page.get_by_label("Find").fill("MULTILINGUAL")
    by_text = rows(page, 1)
    said = page.locator("#shown").inner_text()
    page.get_by_label("Find").fill("")
    page.get_by_label("Licence").select_option("MIT")
    by_license = rows(page, 1)
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Price at most").fill("0.1")

    assert [text.removesuffix("may be best") for text in by_text] == [LONG_NAME]
    assert said == "1 of 5 models on all data sets together"
    assert len(by_license) == 1
    cheap = [text.removesuffix("may be best") for text in rows(page, 1)]
    assert sorted(cheap) == sorted([LONG_NAME, "bm25"])


def test_scripts_write_every_figure_as_the_page_had_it(sites, page):
    visit(page, f"{sites.url}/index.html")
    text = """[...document.querySelectorAll('#leaderboard tbody :is(td, th)')]
        .map((cell) => cell.textContent.replace(/\\s+/g, ' ').trim())"""
    places = """[...document.querySelectorAll('#leaderboard svg *')].map((part) =>
        ['x', 'x1', 'x2', 'cx', 'width'].map((name) => part.getAttribute(name)).join(' '))"""
    before = page.evaluate(text), page.evaluate(places)
    page.get_by_label("Data set").select_option("handbook")
    other = page.evaluate(text)
    page.get_by_label("Data set").select_option("")

    assert other != before[0]
    assert page.evaluate(text) == before[0]
    assert sorted(page.evaluate(places)) == sorted(before[1])


def test_scripts_and_templates_have_the_same_words_for_figures(sites, page):
    values = [
        None,
        0,
        0.5,
        1.5,
        2.5,
        -0.4,
        -7.5,
        0.0004,
        0.001,
        0.125,
        0.3125,
        0.9991,
        0.9999,
        12.345,
        99.95,
        999.5,
        1234567.891,
        80021,
    ]
    pairs = {
        "fixed": "fixed",
        "without_decimals": "withoutDecimals",
        "percent": "percent",
        "sure": "sure",
        "milliseconds": "milliseconds",
        "price": "price",
    }
    rated = [
        {"rating": 1512.4, "lower": 1480.0, "upper": 1545.0, "rank_lower": 1, "rank_upper": 3},
        {"rating": 1512.5, "lower": None, "upper": None, "rank_lower": None, "rank_upper": None},
    ]
    visit(page, f"{sites.url}/index.html")

    for python, script in pairs.items():
        said = page.evaluate(
            f"(values) => values.map((value) => arena.format.{script}(value))", values
        )
        assert said == [FILTERS[python](value) for value in values], python
    ranks = [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111]
    assert page.evaluate("(ranks) => ranks.map(arena.format.ordinal)", ranks) == [
        FILTERS["ordinal"](rank) for rank in ranks
    ]
    assert page.evaluate("(rows) => rows.map(arena.format.rating)", rated) == [
        FILTERS["rating"](row) for row in rated
    ]
    assert page.evaluate("(rows) => rows.map(arena.format.possibleRanks)", rated) == [
        FILTERS["possible_ranks"](row) for row in rated
    ]


def test_no_number_of_battles_makes_anything_certain():
    shown = [FILTERS["sure"](share) for share in (None, 0.0, 0.0004, 0.5, 0.998, 0.9995, 1.0)]

    assert shown == ["–", "<0.1%", "<0.1%", "50.0%", "99.8%", ">99.9%", ">99.9%"]


def test_a_page_that_is_older_than_its_data_shows_the_data(sites, page, tmp_path):
    shutil.copytree(sites.whole, tmp_path / "copy")
    index = tmp_path / "copy" / "index.html"
    index.write_text(
        re.sub(r'<tr data-model="weak".*?</tr>', "", index.read_text(), flags=re.DOTALL)
    )

    visit(page, index.as_uri())

    assert len(rows(page, 1)) == 5
    assert "undefined" not in page.locator("#leaderboard").inner_text()


def test_charts_are_drawn_and_say_the_same_in_words(sites, page):
    visit(page, f"{sites.url}/index.html")

    labels = page.evaluate(
        "Chart.getChart(document.querySelector('#intervals canvas')).data.labels"
    )
    assert labels[0] == "strong"
    assert len(labels) == 5
    assert "strong leads" in page.locator("#intervals-words").inner_text()
    words = page.locator("#price-words").inner_text()
    assert "Of the 3 models whose price is known, from the cheapest to the best rated: " in words
    assert re.search(r"bm25 \(\d+, \$0\.00\), .* and strong \(\d+, \$0\.13\)", words)
    assert "Left out, as their price is not known: middling and weak" in words
    assert page.locator("#matrix tbody tr").count() == 5


INKED = """[...document.querySelectorAll('.chart canvas')]
    .filter((canvas) => canvas.checkVisibility())
    .map((canvas) => canvas.width && canvas.getContext('2d')
        .getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0))"""


def test_charts_are_drawn_once_a_page_is_loaded_and_wait_for_no_frame(sites, browser):
    fits = """[...document.querySelectorAll('.frame canvas')].every(
        (canvas) => canvas.clientWidth === canvas.parentElement.clientWidth)"""
    with page_of(browser) as page:
        page.add_init_script("window.requestAnimationFrame = window.setTimeout = () => 0")
        for file, drawn in (("index.html", [True, True]), ("models/strong.html", [True])):
            page.goto(f"{sites.url}/{file}")

            assert page.evaluate(INKED) == drawn, file
            assert page.evaluate(fits), file


def test_what_scripts_have_nothing_to_draw_in_stays_hidden(page, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("model_a,model_b,winner\na,b,tie\nb,a,model_a\n")

    page.goto(build_site(log).as_uri())

    assert page.locator("#intervals").is_visible()
    assert page.locator("#price-chart, #latency-chart").evaluate_all(
        "(all) => all.map((figure) => figure.checkVisibility())"
    ) == [False, False]


def test_a_print_of_a_dark_page_has_its_charts_in_light_colours(sites, page, tmp_path):
    page.emulate_media(color_scheme="dark")
    page.goto(f"{sites.url}/index.html")
    chart = "Chart.getChart(document.querySelector('#intervals canvas'))"
    ink = f"{chart}.options.scales.y.ticks.color"
    dark = page.evaluate(ink)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    printed = page.evaluate(INKED), page.evaluate(ink)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    (tmp_path / "page.pdf").write_bytes(page.pdf())
    after = page.evaluate(ink)

    assert printed[0] == [True, True]
    assert printed[1] != dark == after
    assert "US dollars per million tokens" in _text(tmp_path / "page.pdf")  # of an axis alone


def _text(path):
    """The words of a PDF, those that are drawn in its charts among them."""
    pypdfium2 = pytest.importorskip("pypdfium2")
    with pypdfium2.PdfDocument(path) as document:
        return " ".join(sheet.get_textpage().get_text_range() for sheet in document)


def test_nobody_is_the_cheapest_of_all_where_a_price_is_not_known(sites, page):
    visit(page, f"{sites.url}/index.html")
    words = """(prices) => {
        const rows = prices.map((x, at) => ({ name: 'abc'[at], rating: 1600 - at, x }));
        const figure = document.querySelector('#price-chart');
        arena.drawFront(figure, rows, {
            cheaper: { most: 'cheapest' }, unit: String, tick: String, title: '',
            has: 'with a price', lacks: 'they have none',
        });
        return figure.closest('section').hidden ? '' : figure.innerText.trim();
    }"""

    assert page.evaluate(words, [1, 2, 3]) == "a (1600, 1) is both the best rated and the cheapest."
    assert page.evaluate(words, [1, 2, None]) == (
        "Of the 2 models with a price, a (1600, 1) is both the best rated and the cheapest. "
        "Left out, as they have none: c."
    )
    assert page.evaluate(words, [0, 0, None]) == ""


def test_the_front_is_the_models_that_no_other_beats_in_both(sites, page):
    visit(page, f"{sites.url}/index.html")
    points = [(1, 10), (2, 9), (2, 12), (2, 11), (3, 12), (5, 15), (0.5, 10)]

    front = page.evaluate(
        "(points) => arena.front(points.map(([x, y]) => ({ x, y }))).map(({ x, y }) => [x, y])",
        points,
    )

    assert front == [[0.5, 10], [2, 12], [5, 15]]
