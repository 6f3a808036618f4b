"""The card on logs that can be counted by hand."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from experiments import play, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row
from test_battles import ALIASES
from together import STATISTICS

from arena.auditing.audit import audit
from arena.auditing.records import AuditMetric, Estimate
from arena.auditing.reliability import LIMITS, trust
from arena.auditing.report import render_audit, to_json
from arena.cli import main
from arena.errors import DataError, UsageError
from arena.store.per_query import ShownList, read_lists, write_lists

pytestmark = STATISTICS

WINNERS = {">": "model_a", "<": "model_b", "=": "tie"}


def log(text, **more):
    """Battles written ``q1 a>b``, comma between: query, the model shown first, winner, other."""
    rows = []
    for battle in text.split(","):
        query, models = battle.split()
        sign = next(s for s in WINNERS if s in models)
        first, second = models.split(sign)
        rows.append((query, first, second, WINNERS[sign]))
    frame = pd.DataFrame(rows, columns=["query_id", "model_a", "model_b", "winner"])
    return frame.assign(**more)


def value(card, key):
    estimate = card.figure(key).estimate
    return None if estimate is None else estimate.value


def size(card, key):
    return card.figure(key).estimate.n


MIXED = log("q1 a>b, q1 b>a, q1 a>c, q1 c<a, q2 a=b, q2 b<a, q2 a=c, q2 c=a, q3 a<b")
"""One flip, one change from a tie, two that stay; q3 was judged in one order only."""


def test_swapped_pairs_are_flipped_or_tied_or_consistent():
    card = audit(MIXED)

    assert value(card, "reversal") == 1 / 4
    assert value(card, "tie_change") == 1 / 4
    assert value(card, "consistency") == 2 / 4
    assert {size(card, key) for key in ("reversal", "tie_change", "consistency")} == {4}


def test_the_first_places_share_is_of_decided_battles():
    card = audit(MIXED)

    assert value(card, "first_preference") == 3 / 6
    assert value(card, "tie_rate") == 3 / 9
    assert size(card, "first_preference") == 6


def test_repeats_pair_up_in_log_order_and_one_that_is_left_over_is_not_counted():
    card = audit(log("q1 a>b, q1 a>b, q1 b>a, q1 a>b, q1 b<a"))

    assert size(card, "reversal") == 2
    assert value(card, "reversal") == 1 / 2


def test_pairs_of_different_judges_or_queries_or_datasets_are_no_pairs():
    by_judge = log("q1 a>b, q1 b>a", judge=["j1", "j2"])
    by_query = log("q1 a>b, q2 b>a")
    by_dataset = log("q1 a>b, q1 b>a", dataset=["d1", "d2"])

    for frame in (by_judge, by_query, by_dataset):
        assert value(audit(frame), "reversal") is None


def test_battles_without_a_query_id_are_no_pairs():
    card = audit(log("q1 a>b, q1 b>a").drop(columns="query_id"))

    assert card.figure("reversal").estimate is None
    assert "query_id" in card.figure("reversal").meaning


def test_self_consistency_counts_pairs_of_repeats():
    card = audit(log("q1 a>b, q1 a>b, q1 a<b, q2 a=b, q2 a=b, q3 a>b, q3 b>a"))

    # Three verdicts on q1 make three pairs, of which one agrees; q2 one that agrees; q3 none.
    assert value(card, "repeat_consistency") == 2 / 4
    assert size(card, "repeat_consistency") == 4


def test_cyclic_triads_are_counted_per_query():
    circle = "q1 a>b, q1 b>c, q1 c>a"
    straight = "q2 a>b, q2 b>c, q2 a>c"
    tied = "q3 a=b, q3 b>c, q3 a>c"
    across = "q4 a>b, q5 b>c, q6 c>a"

    card = audit(log(f"{circle}, {straight}, {tied}, {across}"))

    assert value(card, "cyclic_triads") == 1 / 2
    assert size(card, "cyclic_triads") == 2


def test_home_and_away_count_together_before_triads_are_formed():
    # a and b split their two battles: no winner between them, so no triad.
    card = audit(log("q1 a>b, q1 b>a, q1 b>c, q1 c>a"))

    assert card.figure("cyclic_triads").estimate is None


def test_random_tournaments_are_cyclic_in_a_quarter_of_triads():
    rng = np.random.default_rng(1)
    models = [f"m{i}" for i in range(8)]
    battles = [
        f"q{q} {a}{rng.choice(['>', '<'])}{b}"
        for q in range(60)
        for i, a in enumerate(models)
        for b in models[i + 1 :]
    ]

    card = audit(log(",".join(battles)))

    assert size(card, "cyclic_triads") == 60 * 56
    assert value(card, "cyclic_triads") == pytest.approx(0.25, abs=0.03)  # four standard deviations


def test_the_triads_of_five_models_that_beat_the_next_two_are_the_most_there_can_be():
    battles = [f"q1 m{i}>m{(i + step) % 5}" for i in range(5) for step in (1, 2)]

    card = audit(log(",".join(battles)))

    # (n³ − n) / 24 = 5 of the 10 triads (Kendall and Babington Smith 1940).
    assert value(card, "cyclic_triads") == 5 / 10


def test_a_panels_agreement_is_by_battle():
    verdicts = {"j1": "q1 a>b, q2 a>b, q3 a=b", "j2": "q1 a>b, q2 a<b, q3 a=b", "j3": "q1 a>b"}
    frame = pd.concat([log(text, judge=judge) for judge, text in verdicts.items()])

    card = audit(frame.reset_index(drop=True))

    # q1: three pairs agree; q2: one differs; q3: one agrees.
    assert value(card, "panel_agreement") == 4 / 5
    assert size(card, "panel_agreement") == 5
    # Counts 3·0·0, 1·1·0, 0·0·2 of 7: D_o = 2, D_e = (49 − 16 − 1 − 4) / 6.
    assert value(card, "panel_alpha") == pytest.approx(1 - 2 / (28 / 6))


def test_a_judge_who_is_alone_is_no_panel():
    assert audit(MIXED).figure("panel_alpha").meaning == "there is one judge"


def people(tmp_path, text, **more):
    path = tmp_path / "people.csv"
    log(text, **more).to_csv(path, index=False)
    return path


def test_peoples_labels_match_in_either_order(tmp_path):
    labels = people(tmp_path, "q1 b<a, q2 a>b, q3 b=a, q9 a>b")

    card = audit(log("q1 a>b, q1 b<a, q2 a<b, q3 a>b, q4 a>b"), labels=labels)

    assert value(card, "people_accuracy") == 2 / 3  # q1 twice right, q2 wrong, q3 a tie
    assert size(card, "people_kappa") == 4


def test_several_labels_of_one_matchup_count_as_their_majority(tmp_path):
    labels = people(tmp_path, "q1 a>b, q1 b<a, q1 a<b, q2 a>b, q2 b>a")

    card = audit(log("q1 a>b, q2 a=b, q3 a>b"), labels=labels)

    assert value(card, "people_accuracy") == 1.0
    assert value(card, "people_kappa") == pytest.approx(1.0)


@each_row(
    ("given", "verdict"),
    [
        ("q1 a>b, q1 a=b, q1 b=a", "="),
        ("q1 a>b, q1 b<a, q1 b=a", ">"),
        ("q1 a>b, q1 a=b", "="),
        ("q1 a>b, q1 a<b, q1 a=b", "="),
        ("q1 b>a, q1 a<b, q1 a>b", "<"),
    ],
)
def test_the_majority_of_labels_is_what_more_than_half_of_them_say(tmp_path, given, verdict):
    labels = people(tmp_path, f"{given}, q2 a>b, q3 b>a, q4 a=b")
    frame = log(f"q1 a{verdict}b, q2 a>b, q3 b>a, q4 a=b")

    assert value(audit(frame, labels=labels), "people_kappa") == pytest.approx(1.0)


@settings(max_examples=15)
@given(st.data())
def test_agreement_with_people_does_not_depend_on_how_models_are_spelt(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("spelt")
    frame, labels = data.draw(logs()), data.draw(logs())
    spelt = dict(zip("abc", data.draw(st.permutations(["x", "y", "z"])), strict=True))

    def figures(names):
        renamed = [
            each.assign(model_a=each["model_a"].map(names), model_b=each["model_b"].map(names))
            for each in (frame, labels)
        ]
        renamed[1].to_csv(folder / "people.csv", index=False)
        try:
            card = audit(renamed[0], labels=folder / "people.csv")
        except UsageError as error:
            return str(error)
        return [value(card, key) for key in ("people_accuracy", "people_kappa")]

    assert figures(spelt) == pytest.approx(figures({"a": "a", "b": "b", "c": "c"}))


def test_kappa_with_people_is_counted_by_the_place_shown(tmp_path):
    labels = people(tmp_path, "q1 a>b, q2 a>b, q3 b>a, q4 b>a")

    card = audit(log("q1 a>b, q2 a>b, q3 a>b, q4 b>a"), labels=labels)

    assert value(card, "people_kappa") == 0  # a judge who always says "first" knows nothing


def test_labels_with_a_dataset_match_that_dataset_alone(tmp_path):
    labels = people(tmp_path, "q1 a>b", dataset="d2")
    frame = log("q1 a<b, q1 a>b", dataset=["d1", "d2"])

    assert value(audit(frame, labels=labels), "people_accuracy") == 1.0


def test_labels_of_other_models_are_an_error_not_an_empty_figure(tmp_path):
    with pytest.raises(UsageError, match="none of the 1 labels is about a battle"):
        audit(MIXED, labels=people(tmp_path, "q1 x>y"))


def test_labels_that_could_mean_either_data_set_are_refused(tmp_path):
    frame = log("q1 a<b, q1 a>b", dataset=["d1", "d2"])

    with pytest.raises(UsageError, match=r"'q1' is in d1 and in d2.*add a column dataset"):
        audit(frame, labels=people(tmp_path, "q1 a>b"))


def test_labels_without_queries_are_refused(tmp_path):
    path = tmp_path / "people.csv"
    log("q1 a>b").drop(columns="query_id").to_csv(path, index=False)

    with pytest.raises(UsageError, match="without a query_id"):
        audit(MIXED, labels=path)


def own_row(number, query, first, second, winner, **more):
    return {
        "id": f"id{number}",
        "dataset": "d",
        "query_id": query,
        "model_a": first,
        "model_b": second,
        "winner": winner,
        "judge": "gpt",
        "prompt": "p",
        "source": "judge",
        **more,
    }


def failure_row(battle_id, query, reason):
    row = own_row(0, query, "a", "b", "")
    del row["winner"], row["source"]
    return row | {"id": battle_id, "reason": reason, "detail": "x", "cost_usd": 0.0, "at": ""}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def experiment(tmp_path):
    """A folder as `arena battle` leaves it: 3 models, 3 queries, q3 without grades."""
    folder = tmp_path / "x"
    (folder / "retrieval" / "d").mkdir(parents=True)
    rows = [
        own_row(1, "q1", "a", "b", "model_a"),  # a is better and longer
        own_row(2, "q1", "b", "a", "model_a"),  # wrong, and shorter
        own_row(3, "q1", "a", "c", "model_a"),  # right, and shorter
        own_row(4, "q2", "a", "b", "model_b"),  # grades say tie; b is longer
        own_row(5, "q2", "b", "c", "tie"),
        own_row(6, "q3", "a", "b", "tie", source="identical"),
        own_row(7, "q3", "b", "a", "tie", source="identical"),
    ]
    write_rows(folder / "battles.jsonl", rows)
    failures = [("id2", "q1", "timeout"), ("f1", "q3", "refusal"), ("f2", "q4", "refusal")]
    write_rows(folder / "failures.jsonl", [failure_row(*each) for each in failures])
    lists = {
        "a": {"q1": ShownList(0.9, 100), "q2": ShownList(0.5, 100), "q3": ShownList(None, 9)},
        "b": {"q1": ShownList(0.2, 60), "q2": ShownList(0.5, 300), "q3": ShownList(None, 9)},
        "c": {"q1": ShownList(0.1, 120), "q2": ShownList(0.0, 300), "q3": ShownList(None, 8)},
    }
    write_lists(lists, folder / "retrieval" / "d" / "per_query.json")
    ndcg = {"a": 0.7, "b": 0.35, "c": 0.05}
    metrics = {model: {"ndcg_at_10": each} for model, each in ndcg.items()}
    (folder / "retrieval" / "d" / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_identical_lists_are_no_verdicts_of_the_judge(experiment):
    card = audit(experiment)

    assert value(card, "identical_rate") == 2 / 7
    assert value(card, "tie_rate") == 1 / 5
    assert size(card, "consistency") == 1  # the pair on q3 was never judged
    assert card.battles == 7


def test_failures_are_those_that_still_have_no_battle(experiment):
    figure = audit(experiment).figure("failure_rate")

    assert figure.estimate.value == 2 / 7
    assert [(part.name, part.n) for part in figure.parts] == [("refusal", 2)]


def test_verdicts_are_held_against_the_grades_of_the_lists_shown(experiment):
    card = audit(experiment)

    assert value(card, "qrels_accuracy") == 2 / 3
    assert size(card, "qrels_kappa") == 5
    # judge: first, first, first, second, tie; grades: first, second, first, tie, first
    assert value(card, "qrels_kappa") == pytest.approx((2 / 5 - 11 / 25) / (1 - 11 / 25))


def test_ratings_are_held_against_the_mean_ndcg(experiment):
    card = audit(experiment)

    assert size(card, "rank_tau") == 3
    assert -1 <= value(card, "rank_tau") <= 1


def test_a_model_that_lacks_a_data_set_is_not_ranked_by_its_mean_of_the_others(experiment):
    other = experiment / "retrieval" / "e"
    other.mkdir()
    with (experiment / "battles.jsonl").open("a") as file:
        file.write(json.dumps(own_row(9, "q9", "a", "b", "model_a") | {"dataset": "e"}) + "\n")
    (other / "metrics.json").write_text('{"a": {"ndcg_at_10": 0.1}, "b": {"ndcg_at_10": 0.1}}')

    figure = audit(experiment).figure("rank_tau")

    assert figure.estimate is None
    assert "a ranking needs 3 models with an nDCG@10, not 2" in figure.meaning


def test_the_longer_lists_share_is_of_decided_battles_of_unlike_length(experiment):
    figure = audit(experiment).figure("longer_preference")

    assert figure.estimate.value == 2 / 4
    assert [(part.value, part.n) for part in figure.parts] == [(2 / 3, 3), (0.0, 1)]


def test_a_list_of_just_half_as_many_words_again_is_much_longer(experiment):
    path = experiment / "retrieval" / "d" / "per_query.json"
    lists = read_lists(path)
    lists["c"]["q1"] = ShownList(0.1, 150)  # beside the 100 of a
    write_lists(lists, path)

    parts = audit(experiment).figure("longer_preference").parts

    assert [(part.name, part.n) for part in parts] == [("at least 1.5 times as long", 4)]


def test_agreement_of_the_qrels_judge_is_called_by_construction(experiment):
    path = experiment / "battles.jsonl"
    path.write_text(path.read_text().replace('"gpt"', '"qrels"'))

    card = audit(experiment)

    assert "by construction" in card.figure("qrels_accuracy").meaning
    assert "not an LLM" in card.trust.reason


def test_only_the_llm_of_a_mixed_panel_is_held_against_the_grades(experiment):
    with (experiment / "battles.jsonl").open("a") as file:
        file.write(json.dumps(own_row(8, "q1", "b", "a", "model_b", judge="qrels")) + "\n")

    assert value(audit(experiment), "qrels_accuracy") == 2 / 3


def test_a_file_of_battles_alone_does_not_tell_what_lies_beside_it(experiment):
    card = audit(experiment / "battles.jsonl")

    assert value(card, "identical_rate") == 2 / 7
    for key in ("failure_rate", "qrels_accuracy", "rank_tau", "longer_preference"):
        assert card.figure(key).estimate is None


def test_a_damaged_file_beside_the_log_is_an_error_with_its_remedy(experiment):
    (experiment / "retrieval" / "d" / "metrics.json").write_text('{"a": 1}')

    with pytest.raises(DataError, match=r"metrics\.json: .*arena retrieve"):
        audit(experiment)


def test_without_any_judged_battle_there_is_nothing_to_audit(tmp_path):
    rows = [own_row(1, "q1", "a", "b", "tie", source="identical")]
    write_rows(tmp_path / "battles.jsonl", rows)

    with pytest.raises(UsageError, match="no judge decided"):
        audit(tmp_path)


SIGNS = st.sampled_from("<>=")


@st.composite
def logs(draw):
    n = draw(st.integers(1, 25))
    rows = []
    for _ in range(n):
        first, second = draw(st.permutations(["a", "b", "c"]))[:2]
        rows.append(f"q{draw(st.integers(1, 3))} {first}{draw(SIGNS)}{second}")
    return log(",".join(rows))


def swapped_sides(frame):
    turned = frame.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    other = {"model_a": "model_b", "model_b": "model_a", "tie": "tie"}
    return turned.assign(winner=frame["winner"].map(other))


@settings(max_examples=10)
@given(frame=logs())
def test_swapping_all_sides_turns_the_first_place_round_and_nothing_else(frame):
    before, after = audit(frame), audit(swapped_sides(frame))

    first, second = value(before, "first_preference"), value(after, "first_preference")
    assert (first is None) == (second is None)
    if first is not None:
        assert second == pytest.approx(1 - first)
    for key in ("reversal", "tie_change", "repeat_consistency", "cyclic_triads", "tie_rate"):
        assert value(after, key) == value(before, key)


@settings(max_examples=10)
@given(frame=logs())
def test_renaming_models_changes_no_figure(frame):
    names = {"a": "z", "b": "m", "c": "b"}
    renamed = frame.assign(model_a=frame["model_a"].map(names), model_b=frame["model_b"].map(names))

    before, after = audit(frame), audit(renamed)

    for one, other in zip(before.figures, after.figures, strict=True):
        assert (one.estimate is None) == (other.estimate is None)
        if one.estimate and other.estimate:
            assert other.estimate.value == pytest.approx(one.estimate.value, abs=1e-6)


@settings(max_examples=10)
@given(frame=logs())
def test_no_figure_is_ever_nan_and_shares_stay_within_their_intervals(frame):
    tree = json.loads(json.dumps(to_json(audit(frame)), allow_nan=False))

    for figure in tree["figures"].values():
        assert (figure["value"] is None) == (figure["because"] is not None)
        if figure["lower"] is not None:
            assert figure["lower"] <= figure["value"] <= figure["upper"]


def a_figure(key, value, *, lower=None, upper=None, n=100):
    unit = "coefficient" if key == "panel_alpha" else "share"
    return AuditMetric(key, key, unit, Estimate(value, lower, upper, n, 20), "x", "means")


@each_row(
    ("figures", "level", "decided_by"),
    [
        ([("reversal", 0.20)], "reliable", ("reversal",)),
        ([("reversal", 0.21)], "use with caution", ("reversal",)),
        ([("reversal", 0.41)], "unreliable", ("reversal",)),
        ([("reversal", 0.1), ("first_preference", 0.35)], "use with caution", None),
        ([("reversal", 0.1), ("first_preference", 0.2)], "unreliable", None),
        ([("people_accuracy", 0.59), ("reversal", 0.3)], "unreliable", ("people_accuracy",)),
        ([("qrels_accuracy", 0.9), ("longer_preference", 0.99)], "use with caution", None),
        ([("tie_rate", 0.5)], "use with caution", ()),
        ([], "use with caution", ()),
    ],
)
def test_the_worst_figure_decides(figures, level, decided_by):
    decided = trust([a_figure(*each) for each in figures], by_construction=False)

    assert decided.level == level
    assert decided.decided_by == ((figures[-1][0],) if decided_by is None else decided_by)


def test_a_figure_refuses_only_if_its_interval_excludes_what_is_reliable():
    unsure = trust([a_figure("reversal", 0.5, lower=0.15, upper=0.85)], by_construction=False)
    sure = trust([a_figure("reversal", 0.5, lower=0.3, upper=0.7)], by_construction=False)

    assert unsure.level == "use with caution"
    assert sure.level == "unreliable"


def test_a_judge_that_so_few_battles_test_that_it_may_be_a_coin_is_not_called_reliable():
    few = a_figure("reversal", 0.1, lower=0.01, upper=0.45)
    many = a_figure("reversal", 0.1, lower=0.06, upper=0.15)
    right = a_figure("people_accuracy", 0.9, lower=0.8, upper=0.95)

    assert trust([few], by_construction=False).level == "use with caution"
    assert trust([few], by_construction=False).reason == (
        "too few to tell: 10% of verdicts flip when the lists are swapped (95% interval 1% to 45%)"
    )
    assert trust([many], by_construction=False).level == "reliable"
    assert trust([few, right], by_construction=False).level == "reliable"


def test_a_better_model_that_always_comes_first_says_nothing_of_the_judges_taste():
    card = audit(log(",".join(f"q{i} a>b" for i in range(40))))

    assert value(card, "first_preference") == 1.0
    assert "the better may come first" in card.figure("first_preference").meaning
    assert card.trust.decided_by == ()


def test_few_observations_neither_condemn_nor_acquit():
    assert trust([a_figure("reversal", 1.0, n=19)], by_construction=False).decided_by == ()
    assert trust([a_figure("reversal", 0.0, n=19)], by_construction=False).decided_by == ()


def test_many_verdicts_on_few_queries_decide_nothing():
    both = audit(log(",".join(f"q{i % 4} a>b, q{i % 4} b>a" for i in range(40))))

    assert size(both, "reversal") == 40
    assert value(both, "reversal") == 1.0
    assert both.trust.decided_by == ()


def test_every_limit_is_of_a_figure_on_the_card(tmp_path):
    card = audit(MIXED, labels=people(tmp_path, "q1 a>b"))

    assert set(LIMITS) <= {figure.key for figure in card.figures}


def test_the_card_says_why_where_a_figure_cannot_be_had():
    text = render_audit(audit(MIXED), width=200)

    assert "– agrees with people" in " ".join(text.split())
    assert "because no labels of people were given (--labels)" in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_the_card_is_wider_than_the_terminal(experiment, width):
    lines = render_audit(audit(experiment), width=width).splitlines()

    assert max(map(len, lines)) <= width


def test_names_from_a_log_cannot_move_the_cursor_or_colour_the_card():
    evil = "\x1b[2J[bold red]evil[/]\u202e\x07"
    card = audit(log("q1 a>b, q1 b>a, q2 a>b, q2 b<a", judge=evil, dataset=[evil, evil, "d", "d"]))

    text = render_audit(card, width=100)

    assert "[bold red]evil[/]" in text
    assert not {"\x1b", "\u202e", "\x07"} & set(text)


def test_colour_is_only_for_terminals():
    assert "\x1b[" not in render_audit(audit(MIXED))
    assert "\x1b[" in render_audit(audit(MIXED), colour=True)


@pytest.mark.shared
def test_the_published_judge_is_to_be_used_with_caution(shared_data):
    card = audit(shared_data / "judgments" / "published.jsonl", aliases=ALIASES)

    assert size(card, "reversal") == 370
    counts = {k: round(370 * value(card, k)) for k in ("reversal", "tie_change", "consistency")}
    assert counts == {"reversal": 95, "tie_change": 38, "consistency": 237}
    assert card.trust.level == "use with caution"
    assert card.trust.decided_by == ("reversal",)


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "battles.csv"
    MIXED.to_csv(path, index=False)
    return path


def test_the_command_prints_a_plain_card_where_there_is_no_terminal(csv):
    shown = CliRunner().invoke(main, ["audit", str(csv)])

    assert shown.exit_code == 0
    assert shown.output.startswith("How far to trust the judge: not named in the log\n")
    assert "verdict flips when the lists are swapped (4 home-and-away pairs)" in shown.output
    assert "\x1b" not in shown.output


def test_the_commands_json_is_that_of_the_library(csv, tmp_path):
    labels = people(tmp_path, "q1 a>b")

    shown = CliRunner().invoke(main, ["audit", str(csv), "--labels", str(labels), "--json"])

    assert json.loads(shown.output) == to_json(audit(csv, labels=labels))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: No such file"),
        (["{csv}", "--labels", "nowhere.csv"], "nowhere.csv: No such file"),
        (["{csv}", "--aliases", "nowhere.toml"], "nowhere.toml: No such file"),
        (["{folder}"], "no battles*.jsonl in this folder"),
    ],
)
def test_what_cannot_be_audited_is_one_line_and_a_status(csv, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    given = [a.format(csv=csv, folder=tmp_path / "empty") for a in arguments]

    ended = CliRunner().invoke(main, ["audit", *given])

    assert ended.exit_code == 2
    assert message in ended.output
    assert ended.output.count("\n") == 1


def test_colours_end_where_their_words_end():
    text = render_audit(audit(MIXED), width=200, colour=True)

    assert re.search(r"\x1b\[[0-9;]*mUSE WITH CAUTION\x1b\[0m: nothing here tests it", text)


def test_an_experiment_can_be_audited_as_it_was_left(tmp_path):
    config = write_experiment(tmp_path)
    play(config)

    card = audit(config.parent / "runs" / "x")

    assert value(card, "qrels_accuracy") == 1.0
    assert value(card, "rank_tau") == pytest.approx(1.0)
    assert value(card, "failure_rate") == 0.0
    assert card.trust.reason.startswith("the judge is the relevance grades themselves")
