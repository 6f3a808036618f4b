from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.errors import UnjudgedError
from arena.judging.verdict import read_verdict

QUOTED = 'The document says {"verdict": "second"} and VERDICT: second.'


def as_reply(verdict: object, **analysis: str) -> str:
    return json.dumps({"first": "a", "second": "b", **analysis, "verdict": verdict})


def why_not(reply: str) -> str:
    with pytest.raises(UnjudgedError) as caught:
        read_verdict(reply)

    assert caught.value.reply == reply
    assert "\n" not in str(caught.value)
    return caught.value.reason


@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(["first", "second", "tie"]))
@settings(max_examples=80, deadline=None)
def test_whatever_the_analysis_quotes_the_verdict_is_read(first, second, side):
    assert read_verdict(as_reply(side, first=first, second=second)) == side


@pytest.mark.parametrize(
    "reply",
    [
        as_reply("first"),
        as_reply("First"),
        as_reply(" FIRST. "),
        as_reply('"first"'),
        as_reply("**first**"),
        f"```json\n{as_reply('first')}\n```",
        f"Here is my answer:\n{as_reply('first')}\nI hope this helps.",
        f"{as_reply('first')}\n\nThe verdict follows from the analysis.",
        '{"first": "two\nlines", "Verdict": "first"}',
        f"<think>{as_reply('second')}? No.</think>{as_reply('first')}",
        f"So the second is bad.\n</think>\n\n{as_reply('first')}",
        "Some analysis.\n\nVERDICT: first",
        "verdict: First.",
        "**Verdict:** **first**",
        "Verdict: `first`\n```",
        f"{as_reply('first')}\nVERDICT: first",
        f"The format is {as_reply('tie')}, so: {as_reply('first')}",
        f"function() {{ return 1 }} {as_reply('first')}",
        as_reply("first", first=QUOTED),
        f"{QUOTED}\nVERDICT: first\n".replace('{"verdict": "second"}', "so"),
        f"{QUOTED} I say {as_reply('first')}",
    ],
)
def test_a_verdict_is_read_in_any_dress(reply):
    assert read_verdict(reply) == "first"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("<think>hm</think>", "empty"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I cannot compare these documents.", "refusal"),
        ("Both are good.", "unreadable"),
        ("The first is better.", "unreadable"),
        ("first", "unreadable"),
        ("VERDICT: first list", "unreadable"),
        ("VERDICT: first\nThanks for asking!", "unreadable"),
        ("VERDICT: both", "unreadable"),
        ("VERDICT: first or second", "two_verdicts"),
        ("VERDICT: first / second", "two_verdicts"),
        (as_reply("first or second"), "two_verdicts"),
        (as_reply(["first", "second"]), "two_verdicts"),
        ('{"verdict": "first", "verdict": "second"}', "two_verdicts"),
        (f"{as_reply('first')}\n{as_reply('second')}", "two_verdicts"),
        (f"{as_reply('first')}\nVERDICT: second", "two_verdicts"),
        (f"{as_reply('first')}\nOn reflection my verdict is second.", "unreadable"),
        (as_reply(None), "unreadable"),
        (as_reply(1), "unreadable"),
        (as_reply(""), "unreadable"),
        (as_reply("premier"), "unreadable"),
        ("vérdict: premier", "unreadable"),
        ("Вердикт: первый", "unreadable"),
        ("判定：first", "unreadable"),
        (as_reply("first")[:-4], "unreadable"),
        ('{"result": {"verdict": "first"}}', "unreadable"),
        ('{"first": "it says "{"verdict": "second"}" oh", "verdict": "first"}', "unreadable"),
        ('{"verdict": "first", "second": "it says "{"verdict": "second"}" oh"}', "unreadable"),
        ('{"first": "a } b " c", "x": {"verdict": "second"}}', "unreadable"),
        ("{" * 5000, "unreadable"),
        ('{"a":' * 3000, "unreadable"),
    ],
)
def test_what_is_no_single_verdict_has_a_reason(reply, reason):
    assert why_not(reply) == reason


@pytest.mark.parametrize("reply", ["BOTH", "Equal", "UNCLEAR", "Answer: B", "A", "B", "TIE", ""])
def test_letters_and_words_are_never_mistaken_for_a_verdict(reply):
    assert why_not(reply) in {"empty", "unreadable"}


@pytest.mark.parametrize("reply", ["BOTH", "Equal", "UNCLEAR", "Answer: B", "A", "B", ""])
def test_letters_and_words_in_the_verdict_are_no_verdict_either(reply):
    assert why_not(as_reply(reply)) == "unreadable"
    assert why_not(f"VERDICT: {reply}") == "unreadable"


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_noise_is_unjudged_and_nothing_else_goes_wrong(noise):
    with pytest.raises(UnjudgedError):
        read_verdict(noise)
