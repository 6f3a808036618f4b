"""Battles, and two models side by side, in a real browser."""

from __future__ import annotations

import json
import re
from typing import Any

from site_browser import Sites, follow, until, visit
from sites import data_of

from arena.site.build import build_site
from arena.store.log_lines import read_battles


def battles(sites: Sites) -> list[Any]:
    return list(read_battles(sites.log))


def test_two_models_are_compared_by_a_link(sites, page):
    visit(page, f"{sites.url}/compare.html#a=weak&b=strong")
    log = [b for b in battles(sites) if {b.model_a, b.model_b} == {"weak", "strong"}]
    wins = sum((b.winner == "model_a") == (b.model_a == "weak") for b in log if b.winner != "tie")

    cells = page.locator("#head-table tbody tr").first.locator("td").all_inner_texts()
    finding = page.locator("#finding").inner_text()
    assert finding.startswith("strong cannot be told apart from weak; it is 9")
    assert finding.endswith("% sure that strong is the better one.")
    assert cells[:3] == [str(wins), str(len(log) - wins), "0"]
    assert page.locator("#duels-words").inner_text().startswith("24 battles on 12 queries")
    page.get_by_label("Model A").select_option("middling")
    until(page, "document.querySelector('#finding').textContent.includes('middling')")
    assert "a=middling&b=strong" in page.url


def test_two_models_are_compared_before_anybody_has_picked_any(sites, page):
    first, second = (row["model"] for row in data_of(sites.whole, "site")["overall"][:2])
    visit(page, f"{sites.url}/compare.html")
    page.locator("#duels details").first.wait_for()

    assert page.get_by_label("Model A").input_value() == first
    assert page.get_by_label("Model B").input_value() == second
    assert first in page.locator("#finding").inner_text()
    page.get_by_label("Model B").select_option("weak")
    until(page, "document.querySelector('#finding').textContent.includes('weak')")


def test_a_clear_winner_is_called_the_better_one(page, tmp_path):
    rows = [
        {
            "model_a": a,
            "model_b": b,
            "query_id": str(query),
            "winner": "model_a" if won else "model_b",
        }
        for query in range(120)
        for a, b, won in (("x", "y", query % 4), ("y", "x", query % 4 == 0))
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    site = build_site(log).parent

    visit(page, f"{site.as_uri()}/index.html")
    best = page.locator(".finding").inner_text()
    visit(page, f"{site.as_uri()}/compare.html#a=y&b=x")

    assert best == "x is the best of 2 models, and can be told apart from all the others."
    assert page.locator("#finding").inner_text() == "x is better than y: more than 99.9% sure."


def test_battles_open_with_those_that_were_decided_or_flip(page, tmp_path):
    winners = ["tie"] * 30 + ["model_a", "model_b"] + ["tie"] * 10
    rows = [
        {"model_a": a, "model_b": b, "query_id": f"q{query:02}", "winner": winner}
        for query, winner in enumerate(winners)
        for a, b in (("x", "y"), ("y", "x"))
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    visit(page, f"{build_site(log).parent.as_uri()}/battles.html")

    def shown(place):
        follow(page, place)
        return page.locator("#list a").evaluate_all("(all) => all.map((a) => a.dataset.row)")

    telling = [row for start in ("page=1", "page=2", "page=3") for row in shown(start)]
    logged = shown("order=log")

    assert telling[:4] == ["60", "62", "0", "2"]  # both orders of a pair are one line
    assert len(telling) == len(set(telling)) == 42
    assert logged[:3] == ["0", "2", "4"]
    assert shown("a=x&b=y")[:3] == telling[:3]


def test_lists_that_are_the_same_come_last(sites, page):
    visit(page, f"{sites.alike.as_uri()}/battles.html")

    tagged = ["identical lists" in text for text in page.locator("#list ul > li").all_inner_texts()]
    assert tagged == [False] * 12 + [True] * 6


def test_an_opened_query_shows_both_lists_and_what_the_judge_said(sites, page):
    visit(page, f"{sites.url}/compare.html#a=strong&b=weak")
    page.locator("#duels summary", has_text="what is q0?").first.click()
    duel = page.locator("#duels details[open]").first
    duel.locator(".facts").first.wait_for()

    text = duel.inner_text()
    assert "a good document for q0 <script>window.canary=1</script>" in text
    assert "relevant, grade 2" in text
    assert "Of the first list" in text
    assert duel.locator(".list > li").count() == 4
    assert page.evaluate("window.canary") is None


def test_queries_of_two_models_say_how_they_were_decided_the_clearest_first(sites, page):
    visit(page, f"{sites.url}/compare.html#a=strong&b=middling")
    lines = page.locator("#duels section").first.locator("summary").all_inner_texts()
    values = [
        re.search(r"(\d)–(\d)–(\d).*nDCG ([\d.]+) to ([\d.]+)", text, re.DOTALL) for text in lines
    ]

    assert all(found and found.group(1, 2, 3) == ("2", "0", "0") for found in values)
    leads = [float(found[4]) - float(found[5]) for found in values if found]
    assert leads == sorted(leads, reverse=True)


def test_filters_of_battles_find_what_the_log_has(sites, page):
    log = battles(sites)
    weak = [b for b in log if "weak" in (b.model_a, b.model_b)]
    expected = {
        "dataset=handbook": sum(b.dataset == "handbook" for b in log),
        "a=weak&b=strong": sum("strong" in (b.model_a, b.model_b) for b in weak),
        "a=weak&winner=model": sum(getattr(b, b.winner, None) == "weak" for b in weak),
        "winner=first": sum(b.winner == "model_a" for b in log),
        "winner=tie": sum(b.winner == "tie" for b in log),
        "flipped=1": sum(b.query_id == "q1" for b in log),
        "text=Q3+what": sum(b.query_id == "q3" for b in log),
        "query=q3&dataset=docs": sum(b.query_id == "q3" and b.dataset == "docs" for b in log),
        "judge=nobody": 0,
    }
    visit(page, f"{sites.url}/battles.html")
    for filters, count in expected.items():
        follow(page, filters)
        if page.locator("#count").is_visible():
            page.locator("#count").click()
        until(page, "document.querySelector('#progress').textContent.includes('match')")
        until(page, "!document.querySelector('#progress').textContent.includes('so far')")

        said = page.locator("#progress").inner_text()
        assert said == f"{count} battle{'' if count == 1 else 's'} of 240 match", filters


def test_battles_are_paged_and_only_files_that_are_needed_are_loaded(sites, page):
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url.rsplit("/", 1)[1]))
    visit(page, f"{sites.url}/battles.html")
    first = page.locator("#list a").first.get_attribute("href")
    at_first = [name for name in loaded if name.startswith("battles-")]
    page.get_by_role("button", name="Next").click()
    until(page, "document.querySelector('#page').textContent.startsWith('Battles 41')")
    second = page.locator("#list a").first.get_attribute("href")
    page.get_by_role("button", name="Previous").click()
    until(page, "document.querySelector('#page').textContent.startsWith('Battles 1 ')")

    assert at_first == ["battles-0.js"]
    assert "row=0" in first
    assert "row=40" in second
    assert page.locator("#list a").first.get_attribute("href") == first


def test_battles_stand_under_their_query_with_both_orders_as_one_line(sites, page):
    visit(page, f"{sites.url}/battles.html#dataset=handbook&a=strong&b=weak")
    queries = page.locator("#list h2").all_inner_texts()
    lines = page.locator("#list ul > li").all_inner_texts()

    assert len(queries) == len(set(queries)) == 4
    assert len(lines) == 4
    assert "strong beat weak\nin both orders" in lines
    flipped = next(line for line in lines if "flips" in line)
    assert "won once each\neach when shown first" in flipped


def test_the_keyboard_goes_on_from_the_line_that_it_left(sites, page):
    visit(page, f"{sites.url}/battles.html#a=weak")
    line = page.locator("#list a").nth(5)
    address = line.get_attribute("href")
    line.press("Enter")
    page.locator("#battle h1").wait_for()
    until(page, "document.activeElement.id === 'battle-title'")
    title = page.title()
    page.go_back()
    page.locator("#list").wait_for()
    until(page, "document.activeElement.dataset.row !== undefined")

    assert page.evaluate("document.activeElement.getAttribute('href')") == address
    assert title.startswith("what is q")
    assert page.title().startswith("Battles: ")


def test_a_query_as_long_as_a_page_is_a_line_in_a_list_and_whole_in_its_battle(page, tmp_path):
    query = "does this claim about many things hold, and why " * 50
    log = tmp_path / "log.jsonl"
    battle = {"model_a": "x", "model_b": "y", "winner": "model_a", "query_id": query}
    log.write_text(json.dumps(battle) + "\n")
    site = build_site(log).parent

    visit(page, f"{site.as_uri()}/battles.html")
    listed = page.locator("#list h2").inner_text()
    visit(page, f"{site.as_uri()}/battles.html#row=0")

    assert len(listed) < 250
    assert listed.endswith("…")
    assert page.locator("#battle h1").inner_text() == query.strip()
    assert len(page.title()) < 120


def test_a_battle_has_its_own_link_and_leads_to_the_other_order(sites, page):
    row, battle = next((i, b) for i, b in enumerate(battles(sites)) if b.query_id == "q1")
    visit(page, f"{sites.url}/battles.html#row={row}")
    text = page.locator("#battle").inner_text()
    page.locator("#battle a", has_text=re.compile(r"^battle \d")).click()
    until(page, f"!document.querySelector('#battle').textContent.includes('Battle {row} ')")

    assert "what is q1?" in text
    assert f"{battle.model_a} beat {battle.model_b}" in text
    assert "verdict flips when swapped" in text
    assert "What it said in the other order" in text
    assert "100 read, 20 written" in text
    assert f"{battle.model_b} beat {battle.model_a}" in page.locator("#battle").inner_text()
    page.get_by_role("link", name="All their battles on this query").click()
    page.locator("#list li").first.wait_for()
    assert "2 battles of 240 match" in page.locator("#progress").inner_text()


def test_a_row_that_the_log_does_not_have_is_said(sites, page):
    visit(page, f"{sites.url}/battles.html")
    for row in ("240", "-1", "x", "1.5"):
        follow(page, f"row={row}")

        assert "No such battle" in page.locator("#battle").inner_text()


def test_the_judge_page_leads_to_the_battles_in_doubt(sites, page):
    visit(page, f"{sites.url}/judge.html")
    page.locator("#reversal a").click()
    page.locator("#list li").first.wait_for()

    assert page.get_by_label("Winner flips with the order").is_checked()
    flips = page.locator("#list .tag.warn", has_text="flips")
    assert flips.count() == page.locator("#list a").count() > 0
