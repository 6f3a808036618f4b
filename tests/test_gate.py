from __future__ import annotations

import json
import random
from typing import Any

import pytest
from chat_judges import asked, config, with_judge, word
from loopback import Answer, LoopbackServer, chat, error, verdict
from tables import each_row

from arena.errors import FatalApiError, GateError
from arena.judging.gate import GateReport, check_gate, control_inputs, run_gate
from arena.judging.reply_cache import VerdictCache
from arena.records import Dataset, Document, JudgeInput, Query, Run, ScoredDoc

N = 10


def dataset(*, qrels: bool = True) -> Dataset:
    """Each query has a good document, a poor one, and one that another query shares."""
    corpus = {
        f"{kind}{i}": Document(f"{kind}{i}", f"{kind} answer to topic-{i}.")
        for i in range(N)
        for kind in ("good", "poor")
    }
    queries = {f"q{i}": Query(f"q{i}", f"What is topic-{i}?") for i in range(N)}
    grades = {f"q{i}": {f"poor{i}": 0, f"good{i}": 2} for i in range(N)} if qrels else {}
    return Dataset("d", corpus, queries, grades)


def ranked(model: str, kinds: tuple[str, ...] = ("good", "poor")) -> Run:
    rankings = {
        f"q{i}": tuple(ScoredDoc(f"{kind}{i}", -rank) for rank, kind in enumerate(kinds))
        for i in range(N)
    }
    return Run("d", model, rankings)


RUNS = [ranked("one"), ranked("two"), ranked("three", ("poor",))]


def controls(data: Dataset, runs: list[Run] = RUNS, **options: Any) -> list[JudgeInput]:
    found = control_inputs({"d": data}, {"d": list(data.queries)}, runs, top_k=3, **options)
    assert all(control.first and len(control.first) == len(control.second) for control in found)
    return found


def ids(control: JudgeInput) -> tuple[list[str], list[str]]:
    return [d.doc_id for d in control.first], [d.doc_id for d in control.second]


def test_relevant_documents_stand_against_those_of_another_query():
    found = controls(dataset())

    assert len(found) == 8
    assert len({control.query.query_id for control in found}) == 8
    for control in found:
        topic = control.query.query_id[1:]
        (good,), (other,) = ids(control)
        assert good == f"good{topic}"
        assert other.startswith("good")
        assert other != good


def test_without_qrels_the_documents_that_most_models_agree_on_are_taken():
    found = controls(dataset(qrels=False))

    assert len(found) == 8
    for control in found:
        topic = control.query.query_id[1:]
        first, other = ids(control)
        assert first == [f"poor{topic}", f"good{topic}"]
        assert not set(first) & set(other)


def test_documents_that_half_of_the_models_show_are_not_what_most_agree_on():
    data = dataset(qrels=False)
    shared = {f"q{i}": (ScoredDoc(f"good{i}", 2.0), ScoredDoc(f"poor{i}", 1.0)) for i in range(N)}
    single = {f"q{i}": (ScoredDoc(f"good{i}", 2.0),) for i in range(N)}
    # good is shown by four of four models, poor by two, which is no more than half.
    runs = [Run("d", name, shared) for name in "ab"] + [Run("d", name, single) for name in "cd"]

    found = controls(data, runs)

    assert len(found) == 8
    for control in found:
        assert ids(control)[0] == [f"good{control.query.query_id[1:]}"]


def test_documents_that_models_agree_on_go_by_how_many_show_them_then_by_their_ranks():
    data = dataset(qrels=False)
    kinds = (("good", "poor"), ("good", "poor"), ("poor", "good"))

    found = controls(data, [ranked(str(i), kind) for i, kind in enumerate(kinds)])

    assert len(found) == 8
    for control in found:
        topic = control.query.query_id[1:]
        assert ids(control)[0] == [f"good{topic}", f"poor{topic}"]


def test_controls_are_drawn_by_the_seed_and_not_by_the_order_of_queries():
    data = dataset()
    shuffled = list(data.queries)
    random.Random(1).shuffle(shuffled)

    again = control_inputs({"d": data}, {"d": shuffled}, RUNS, top_k=3)
    assert again == controls(data) != controls(data, seed=7)


def test_a_document_that_any_model_shows_for_the_query_is_no_wrong_answer():
    data = dataset()
    # For each query it shows the good documents of all queries, but for that of the one before.
    shown = {
        f"q{i}": tuple(ScoredDoc(f"good{(i + step) % N}", -float(step)) for step in range(N - 1))
        for i in range(N)
    }

    found = control_inputs(
        {"d": data}, {"d": list(data.queries)}, [Run("d", "rival", shown)], top_k=N
    )

    assert len(found) == 8
    for control in found:
        topic = int(control.query.query_id[1:])
        assert ids(control) == ([f"good{topic}"], [f"good{(topic - 1) % N}"])


def test_a_document_that_is_graded_for_the_query_is_no_wrong_answer():
    data = dataset()
    # Of each query all good documents but one are graded, though most of them as irrelevant.
    grades = {
        f"q{i}": {f"good{(i + step) % N}": 2 if step == 0 else 0 for step in range(N - 1)}
        for i in range(N)
    }

    found = controls(Dataset("d", data.corpus, data.queries, grades), [])

    assert len(found) == 8
    for control in found:
        topic = int(control.query.query_id[1:])
        assert ids(control) == ([f"good{topic}"], [f"good{(topic - 1) % N}"])


def test_documents_with_the_same_text_are_not_set_against_each_other():
    data = dataset()
    same = {doc_id: Document(doc_id, "the same") for doc_id in data.corpus}

    assert controls(Dataset("d", same, data.queries, data.qrels)) == []


def test_data_sets_take_turns():
    data = dataset()
    both = {"d": data, "e": Dataset("e", data.corpus, data.queries, data.qrels)}

    found = control_inputs(both, {name: list(data.queries) for name in both}, [], top_k=3, n=5)
    assert [control.dataset for control in found] == ["d", "e", "d", "e", "d"]


@pytest.mark.parametrize("n_queries", [0, 1])
def test_too_few_queries_block_nothing_and_say_so(n_queries):
    data = dataset()
    found = control_inputs({"d": data}, {"d": list(data.queries)[:n_queries]}, RUNS, top_k=3)

    report = held(lambda body, attempt: verdict("first"), found)
    assert (report.n_controls, report.n_calls, report.accuracy) == (0, 0, None)
    assert report.passed
    assert "not tested" in " ".join(report.lines())
    check_gate(report, config())


def held(answer: Any, found: list[JudgeInput], **options: Any) -> GateReport:
    settings = config(price_per_1m_input_tokens=1, **options)
    with LoopbackServer(answer) as server:
        return with_judge(server, settings, lambda judge: run_gate(judge, found))


def able(body: dict[str, Any], attempt: int) -> Answer:
    """Prefers the list that names the query's topic."""
    text = asked(body)
    topic = "topic-" + text.split("topic-")[1][0]
    first, second = text.split("The second list")
    return verdict("first" if first.count(topic) > 1 else "second" if topic in second else "tie")


def refused(report: GateReport, **options: Any) -> str:
    with pytest.raises(GateError) as caught:
        check_gate(report, config(**options))
    assert caught.value.exit_status == 1
    return str(caught.value)


def test_a_judge_that_finds_the_answers_passes():
    report = held(able, controls(dataset()))

    assert report.passed
    assert (report.accuracy, report.flip_rate, report.first_rate) == (1.0, 0.0, 0.5)
    assert (report.n_controls, report.n_calls) == (8, 16)
    assert report.cost_usd == pytest.approx(16 * 100e-6)
    assert "100% of 16 verdicts were right on 8 controls" in report.lines()[0]
    check_gate(report, config())


def test_a_judge_that_always_prefers_the_first_list_is_refused_with_its_figures():
    report = held(lambda body, attempt: verdict("first"), controls(dataset()))

    assert (report.accuracy, report.flip_rate, report.first_rate) == (0.5, 1.0, 1.0)
    said = refused(report)
    assert "judge judge-1 failed its controls: 50% of 16 verdicts were right" in said
    assert "100% flipped when the lists were swapped" in said
    assert 'try kind = "pointwise"' in said
    assert "gate = false or --no-gate goes on regardless" in said
    assert "\n" not in said


def test_a_judge_that_calls_everything_a_tie_is_refused():
    report = held(lambda body, attempt: verdict("tie"), controls(dataset()))

    assert (report.accuracy, report.flip_rate, report.first_rate) == (0.0, 0.0, None)
    assert not report.passed


def test_a_judge_that_cannot_be_read_is_refused_and_its_reasons_are_told():
    report = held(lambda body, attempt: chat("Both!"), controls(dataset()))

    assert (report.n_unread, report.reasons, report.flip_rate) == (16, {"unreadable": 16}, None)
    assert "16 could not be read (16 unreadable)" in refused(report)
    assert report.cost_usd == pytest.approx(16 * 100e-6)


def test_a_judge_of_documents_is_tested_too_and_pays_each_document_once(tmp_path):
    def grader(body: dict[str, Any], attempt: int) -> Answer:
        topics = [part[0] for part in asked(body).split("topic-")[1:]]
        return word("3" if topics[0] == topics[1] else "0")

    found = controls(dataset())
    with LoopbackServer(grader) as server:
        for _ in range(2):
            with VerdictCache(tmp_path) as cache:
                report = with_judge(
                    server,
                    config(kind="pointwise"),
                    lambda judge: run_gate(judge, found),
                    cache=cache,
                )
            assert len(server.requests) == 16
            assert report.passed
            assert report.flip_rate == 0.0
    blind = held(lambda body, attempt: word("2"), found, kind="pointwise")
    assert 'try scale = "binary", or another model' in refused(blind, kind="pointwise")


@each_row(
    ("answer", "reason", "words"),
    [
        (error(400, "Der Kontext ist voll"), "bad_request", "HTTP 400: Der Kontext ist voll"),
        (chat("", finish_reason="length"), "truncated", "raise it"),
        (chat(None, refusal="I may not."), "refusal", "the judge refused: I may not."),
        (chat(""), "empty", "wrote nothing"),
    ],
)
def test_where_all_controls_fail_for_one_reason_that_reason_comes_first(answer, reason, words):
    def script(body: dict[str, Any], attempt: int) -> Answer:
        return answer if "topic-" in str(body) else chat("yes")

    report = held(script, controls(dataset()))
    said = refused(report)

    assert f"judge judge-1 gave no verdict on any control: {reason}: " in said
    assert words in said
    assert "pointwise" not in said
    assert report.reasons == {reason: 16}
    assert "all 16 for one reason" in report.lines()[0]


def test_where_controls_fail_for_several_reasons_the_figures_tell_them():
    def script(body: dict[str, Any], attempt: int) -> Answer:
        return chat("") if "topic-1" in asked(body) else chat(None, refusal="No.")

    said = refused(held(script, controls(dataset())))

    assert "failed its controls: 0% of 16 verdicts were right" in said
    assert "16 could not be read" in said


@each_row(
    "answer",
    [error(400, "Model Not Exist"), error(400, "no access"), error(500, "boom"), error(422, "x")],
)
def test_what_is_refused_whatever_is_asked_stops_the_gate_in_the_servers_words(answer):
    with LoopbackServer(lambda body, attempt: answer) as server:
        with pytest.raises(FatalApiError) as caught:
            with_judge(server, config(), lambda judge: run_gate(judge, controls(dataset())))

        assert json.loads(answer.body)["error"]["message"] in str(caught.value)
        assert len(server.requests) <= 60


def test_a_dead_endpoint_is_no_bad_judge():
    with pytest.raises(FatalApiError):
        held(lambda body, attempt: error(401, "bad key"), controls(dataset()))


def test_the_report_fits_into_a_manifest():
    report = held(able, controls(dataset()))

    assert json.loads(json.dumps(report.as_dict()))["passed"] is True
