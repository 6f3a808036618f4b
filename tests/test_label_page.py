"""`arena label`: the session, the server, the page in Chromium, and the terminal."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from experiments import play, write_experiment
from hostile import LONG_NAME, play_hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import start_arena
from site_browser import PHONE

from arena.labelling.import_export import ImportOptions, csv_text, import_labels, qrels_text
from arena.labelling.questions import read_questions
from arena.labelling.sampling import draw_items, uniform
from arena.labelling.session import LabellingSession, SessionSettings
from arena.store.labels import Item, read_label_lines, read_labels

MODELS = ("strong", "middling", "weak")


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("hostile")
        patch.setenv("ARENA_CACHE", str(folder / "cache"))
        yield play_hostile(folder)


@pytest.fixture
def folder(tmp_path):
    play(write_experiment(tmp_path))
    return tmp_path / "runs" / "x"


def session(folder, who="ann", unit="document", *, n=200, overlap=0.0):
    questions = read_questions(folder, unit, seed=None, known=read_label_lines(folder))
    return LabellingSession(questions, SessionSettings(who, n, overlap))


@contextmanager
def started(folder, *options):
    with start_arena("label", folder, "--no-open", *options) as process:
        try:
            yield process, process.first_line()
        finally:
            process.kill()


def request(address, path="", *, method="GET", body=None, **headers):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
    with closing(connection):
        connection.request(method, parts.path + path, body and json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()


def test_people_are_asked_in_the_order_of_the_draw_and_each_item_once(folder):
    ann, bob = session(folder), session(folder, "bob")
    state, other = ann.next("a"), bob.next("b")
    seen = []
    while state.question or other.question:
        if state.question:
            seen.append(state.question.id)
            state = ann.answer("a", state.question.id, 2.0, seconds=1.5)
        if other.question:
            seen.append(other.question.id)
            other = bob.answer("b", other.question.id, 1.0)

    labels = read_labels(folder)
    assert len(seen) == len(set(seen)) == len(labels) == len(ann.questions.draw.order)
    assert {label.who for label in labels} == {"ann", "bob"}
    assert {label.probability for label in labels} == {1.0}


def test_two_tabs_of_a_person_show_two_items(folder):
    ann = session(folder)

    assert ann.next("one").question.id != ann.next("two").question.id


def test_overlap_asks_a_second_person_about_that_share(folder):
    ann = session(folder, overlap=1.0)
    state = ann.next("a")
    while state.question:
        state = ann.answer("a", state.question.id, 2.0)

    assert session(folder, "bob", overlap=1.0).next("b").left == state.done
    assert session(folder, "bob", overlap=0.0).next("b").left == 0


def test_undo_takes_the_last_answer_back_and_asks_again(folder):
    ann = session(folder)
    first = ann.next("a").question.id
    ann.answer("a", first, 3.0)

    state = ann.undo("a")

    assert (state.question.id, state.undone, read_labels(folder)) == (first, True, ())


def test_probabilities_are_those_of_the_first_items_of_the_order(folder):
    ann = session(folder, n=4)
    state = ann.next("a")
    while state.question:
        state = ann.answer("a", state.question.id, 1.0)

    tau = ann.questions.draw.order[4].rank
    sizes = {place.item: place.size for place in ann.questions.draw.order}
    assert len(read_labels(folder)) == 4
    for label in read_labels(folder):
        assert label.probability == pytest.approx(min(1, sizes[label.item] * tau))


@given(st.lists(st.floats(0.01, 5), min_size=3, max_size=7), st.integers(1, 2))
@settings(max_examples=5)
def test_the_weighted_sum_of_what_is_drawn_is_unbiased(sizes, k):
    items = {Item("document", "d", "q", str(i)): size for i, size in enumerate(sizes)}
    values = {item: 1.0 + 3 * size for item, size in items.items()}
    totals = []
    for seed in range(2000):
        order = draw_items(items, seed=seed).order
        tau = order[k].rank
        totals.append(sum(values[p.item] / min(1, p.size * tau) for p in order[:k]))

    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - sum(values.values())) < 6 * error + 1e-6


def test_a_random_number_depends_on_seed_and_item_alone():
    item = Item("document", "d", "q", "x")

    assert uniform(1, item) == uniform(1, Item("document", "d", "q", "x")) != uniform(2, item)


def test_requests_without_the_token_or_from_elsewhere_are_refused(folder):
    with started(folder) as (_, address):
        root = address[: address.index("/", 8)]
        port = urlsplit(address).port
        assert request(address)[0] == 200
        assert request(f"{root}/")[0] == 403
        assert request(f"{root}/{'x' * 32}/")[0] == 403
        assert request(address, Host=f"evil.example:{port}")[0] == 403
        for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}"):
            body = {"tab": "a"}
            assert request(address, "api/next", method="POST", body=body, Origin=origin)[0] == 403
        status, headers, _ = request(address, "api/next", method="POST", body={"tab": "a"})
        assert status == 200
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert request(address, "api/next", method="POST", body={"nothing": 1})[0] == 400


@pytest.mark.parametrize("unit", ["document", "battle"])
def test_nothing_that_is_sent_names_a_model_or_tells_a_verdict(hostile_folder, unit):
    with started(hostile_folder, "--unit", unit, "--who", unit) as (_, address):
        sent = (
            request(address)[2] + request(address, "api/next", method="POST", body={"tab": "a"})[2]
        )
        assert request(address, "api/release", method="POST", body={"tab": "a"})[0] == 200

    for word in (*MODELS, LONG_NAME, "bm25", "model_a", "winner", "judge-1"):
        assert word not in sent


def test_ctrl_c_ends_the_server_well(folder):
    with started(folder, "--who", "ann") as (process, _):
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()

    assert process.returncode == 0
    assert "0 labels of ann" in stderr
    assert "Traceback" not in stderr


def test_labels_go_out_as_qrels_and_csv_and_come_back(folder, tmp_path):
    ann = session(folder, n=2)
    state = ann.next("a")
    while state.question:
        state = ann.answer("a", state.question.id, 2.0)
    text, _ = qrels_text(folder, None)
    (tmp_path / "p.qrels").write_text(text)
    (tmp_path / "p.csv").write_text(csv_text(folder))

    again = import_labels(folder, tmp_path / "p.csv", ImportOptions())
    other = import_labels(folder, tmp_path / "p.qrels", ImportOptions(who="=bob"))

    assert (again.added, again.known, other.added) == (0, 2, 2)
    assert [label.probability for label in read_labels(folder) if label.who == "=bob"] == [None] * 2
    assert "'=bob" in csv_text(folder)


def test_the_terminal_form_asks_through_a_dumb_terminal(folder):
    import os
    import pty

    parent, child = pty.openpty()
    command = [sys.executable, "-m", "arena", "label", folder, "--terminal", "--who", "ann"]
    with subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, env={**os.environ, "TERM": "dumb"}
    ) as process:
        os.close(child)
        os.write(parent, b"3\ns\n1\nu\n2\nq\n")
        seen = b""
        try:
            while chunk := os.read(parent, 65536):
                seen += chunk
        except OSError:
            pass
    os.close(parent)

    assert process.returncode == 0, seen
    assert b"QUERY" in seen
    assert b"\x1b" not in seen
    assert [label.value for label in read_labels(folder)] == [3.0, 2.0]


@pytest.fixture
def attacking(sites, tmp_path):
    """A hostile experiment to label, which the site has, too: no other is played meanwhile."""
    shutil.copytree(sites.whole.parents[2], tmp_path / "attacking")
    return tmp_path / "attacking" / "runs" / "x"


def keyed(page, done, n, keys):
    for number in range(n):
        page.keyboard.press(keys[number % len(keys)])
        page.get_by_text(f"{done + number + 1} of 24", exact=True).wait_for()


def test_items_are_labelled_by_keyboard_and_a_kill_loses_none(attacking, page):
    options = ("--who", "cy", "--unit", "battle", "--n", "24")
    with started(attacking, *options) as (process, address):
        page.goto(address)
        page.locator("#question").wait_for()
        keyed(page, 0, 12, ["1", "2", "0", "c"])
        process.kill()
    assert sum(label.who == "cy" for label in read_labels(attacking)) == 12
    with started(attacking, *options) as (_, address):
        page.goto(address)
        page.locator("#question").wait_for()
        assert page.locator("#count").inner_text() == "12 of 24"
        keyed(page, 12, 12, ["2", "1", "c", "0"])
        assert page.locator("#finished-title").inner_text() == "Done: all 24 items are labelled"
        assert page.evaluate("window.canary") is None
    assert sum(label.who == "cy" for label in read_labels(attacking)) == 24


def test_axe_finds_nothing_on_the_page(attacking, phone):
    from axe_playwright_python.sync_playwright import Axe

    phone.emulate_media(color_scheme="dark")
    with started(attacking, "--who", "dee") as (_, address):
        phone.goto(address)
        phone.locator("#question").wait_for()
        options = {"resultTypes": ["violations"], "preload": False}
        response = Axe().run(phone, options=options).response
        assert [(v["id"], v["nodes"][0]["html"][:200]) for v in response["violations"]] == []
        assert phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
