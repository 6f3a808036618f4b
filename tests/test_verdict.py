from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from arena.errors import UnjudgedError
from arena.judging.chat_reply import ChatReply, read_choice
from arena.judging.prompt import clean
from arena.judging.verdict import read_verdict
from arena.querying.screening import queries_of_reply

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
def test_whatever_the_analysis_quotes_the_verdict_is_read(first, second, side):
    assert read_verdict(as_reply(side, first=first, second=second)) == side


@each_row(
    "reply",
    [
        as_reply("first"),
        as_reply("First"),
        as_reply(" FIRST. "),
        as_reply('"first"'),
        as_reply("**first**"),
        f"```json\n{as_reply('first')}\n```",
        f"Here is my answer:\n{as_reply('first')}\nI hope this helps.",
        f"{as_reply('first')}\n\nThat is my verdict. Let me know if you need anything else!",
        f"[{as_reply('first')}]",
        f"{as_reply('first')},\n{as_reply('first')}",
        f"\ufeff{as_reply('first')}\u200b",
        f"{as_reply('first')}</s>",
        f"{as_reply('first')}<|im_end|>",
        f"{as_reply('first')} I hope this helps.<|eot_id|>",
        f"~~~json\n{as_reply('first')}\n~~~",
        '{"verdict": "first", "verdict": "first"}',
        '{"first": {"verdict": "second"}, "verdict": "first"}',
        '{"first": "two\nlines", "Verdict": "first"}',
        f"<think>{as_reply('second')}? No.</think>{as_reply('first')}",
        f"So the second is bad.\n</think>\n\n{as_reply('first')}",
        f"So {as_reply('second')}? No.</think>{as_reply('first')}",
        f"<musing>{as_reply('second')}</musing>\n{as_reply('first')}",
        f"<THINK>a <think> b</THINK> c</think>{as_reply('first')}",
        f"[THINK]{as_reply('second')}[/THINK]{as_reply('first')}",
        f"◁think▷{as_reply('second')}◁/think▷{as_reply('first')}",
        f"<think>{as_reply('second')}</think><answer>{as_reply('first')}</answer>",
        (
            f"<|START_THINKING|>hm {{<|END_THINKING|><|START_RESPONSE|>{as_reply('first')}"
            "<|END_RESPONSE|>"
        ),
        (
            f"<|channel|>analysis<|message|>{as_reply('second')}<|end|><|start|>assistant"
            f"<|channel|>final<|message|>{as_reply('first')}<|return|>"
        ),
        f"The <b>second</b> list shows <script> tags. {as_reply('first')}",
        as_reply("first", first="it closes </think> and </div>"),
        as_reply("first", first="it opens\n<think>"),
        "Some analysis.\n\nVERDICT: first",
        "verdict: First.",
        "**Verdict:** **first**",
        "Verdict: `first`\n```",
        "VERDICT: first\nThanks for asking!",
        "VERDICT: first\n---\n",
        "VERDICT: second\nHm, wait.\nVERDICT: first",
        f"{as_reply('second')}\nWait, that is wrong.\nVERDICT: first",
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


@each_row(
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
        ("VERDICT: first\nbut I am not sure at all", "contradiction"),
        ("VERDICT: first\nVERDICT: second", "two_verdicts"),
        ("VERDICT: second\n" + as_reply("first"), "two_verdicts"),
        ("VERDICT: not first", "unreadable"),
        ("> VERDICT: first", "unreadable"),
        ("| verdict | first |", "unreadable"),
        ("VERDICT: both", "unreadable"),
        ("VERDICT: first or second", "two_verdicts"),
        ("VERDICT: first / second", "two_verdicts"),
        (as_reply("first or second"), "two_verdicts"),
        (as_reply(["first", "second"]), "two_verdicts"),
        ('{"verdict": "first", "verdict": "second"}', "two_verdicts"),
        (f"{as_reply('first')}\n{as_reply('second')}", "two_verdicts"),
        (f"{as_reply('first')}\nVERDICT: second", "two_verdicts"),
        (f"{as_reply('first')}\nOn reflection my verdict is second.", "contradiction"),
        (f"{as_reply('first')}\n\nWait, that is wrong.", "contradiction"),
        (f"{as_reply('first')}\n\nKorrektur: die zweite Liste.", "contradiction"),
        (f"{as_reply('first')}\n\n等等，我错了。", "contradiction"),
        (f"{as_reply('first')}\n```second", "contradiction"),
        (f"{as_reply('first')}\nThanks, but the other list wins.", "contradiction"),
        (f"The document says {as_reply('first')} and is of no use.", "contradiction"),
        (f"It says: {as_reply('first')} That is meant for me. I cannot judge this.", "refusal"),
        (f'Format: {as_reply("first")}\n\n{{"winner": "second"}}', "unreadable"),
        (f'Format: {as_reply("first")}\n\n{{"first": "The first list', "contradiction"),
        (f"<think>So {as_reply('first')} is what I would say, but", "truncated"),
        (f"<think>So {as_reply('first')}", "truncated"),
        (f"<think>So {as_reply('first')}</think>", "empty"),
        (f"So {as_reply('first')}</think>", "contradiction"),
        (f"Well. <reasoning>So {as_reply('first')}", "truncated"),
        (f"<musing>So {as_reply('first')}", "truncated"),
        (f"<reflection>{as_reply('first')}</reflection> I cannot say.", "refusal"),
        (f"<|channel|>analysis<|message|>{as_reply('first')}", "truncated"),
        ("<|channel|>final<|message|>", "empty"),
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
        ('{"first": "it says } and {"verdict": "second"}', "unreadable"),
        ('{"first": "it says\nVERDICT: second', "unreadable"),
        ("{'verdict': 'first'}", "unreadable"),
        ('{"verdict": "first",}', "unreadable"),
        (as_reply("\u202efirst"), "unreadable"),
        (as_reply("first\u200b"), "unreadable"),
        (as_reply("ｆｉｒｓｔ"), "unreadable"),
        (as_reply("first?"), "unreadable"),
        ("{" * 5000, "unreadable"),
        ('{"a":' * 3000, "unreadable"),
    ],
)
def test_what_is_no_single_verdict_has_a_reason(reply, reason):
    assert why_not(reply) == reason


@each_row("reply", ["BOTH", "Equal", "UNCLEAR", "Answer: B", "A", "B", "TIE", ""])
def test_letters_and_words_are_never_mistaken_for_a_verdict(reply):
    assert why_not(reply) in {"empty", "unreadable"}


@each_row("reply", ["BOTH", "Equal", "UNCLEAR", "Answer: B", "A", "B", ""])
def test_letters_and_words_in_the_verdict_are_no_verdict_either(reply):
    assert why_not(as_reply(reply)) == "unreadable"
    assert why_not(f"VERDICT: {reply}") == "unreadable"


SIDES = st.sampled_from(["first", "second", "tie"])
ENDINGS = st.sampled_from(
    ['{{"verdict": "{}"}}', '```json\n{{"first": "", "verdict": "{}"}}\n```', "\nVERDICT: {}."]
)
PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "The",
                " list ",
                "\n",
                '"',
                "{",
                "}",
                '{"',
                "<b>",
                "</b>",
                "<think>",
                "</think>",
                ",",
            ),
            *("\\", QUOTED, "VERDICT: tie\n", '{"verdict": "second"}', "```", "<|channel|>", "é"),
        ]
    )
)


@given(st.one_of(st.text(max_size=80), PIECES.map("".join)), ENDINGS, SIDES)
def test_whatever_stands_before_it_the_ending_is_the_verdict_or_nothing_is(before, ending, side):
    try:
        assert read_verdict(before + ending.format(side)) == side
    except UnjudgedError:
        return


@given(st.text(st.characters(exclude_characters="{}<◁[|")), ENDINGS, SIDES)
def test_words_before_the_verdict_change_nothing(before, ending, side):
    assert read_verdict(f"{before}. {ending.format(side)}") == side


@given(st.text(max_size=200).filter(lambda text: "verdict" not in text.casefold()))
def test_a_text_without_a_verdict_is_unjudged_and_nothing_else_goes_wrong(text):
    with pytest.raises(UnjudgedError):
        read_verdict(text)


@given(
    st.lists(PIECES.map("".join)).map("".join),
    st.text(st.characters(categories=["L", "N"]), min_size=1),
)
def test_a_reply_that_ends_with_a_word_has_no_verdict(before, word):
    with pytest.raises(UnjudgedError):
        read_verdict(f"{before} and {word}")


@each_row(
    ("reply", "is_read"),
    [
        (as_reply("first"), True),
        (f"```json\n{as_reply('first')}\n", True),
        (f"<think>hm</think>{as_reply('first')}", True),
        (f"It says {as_reply('first')}", False),
        ("VERDICT: first", False),
    ],
)
def test_a_reply_that_was_cut_counts_only_if_it_is_a_whole_object(reply, is_read):
    assert read_verdict(reply) == "first"
    if is_read:
        assert read_verdict(reply, cut=True) == "first"
        return
    with pytest.raises(UnjudgedError, match="truncated"):
        read_verdict(reply, cut=True)


HOSTILE = [
    *("\n", "{", "}", "[", "<", "< ", '"', "\\", "`", "* ", "{}", '{"', '{"a":', "{'a'}"),
    *("<a>", "</a>", "<a ", "\n<a", "<|", "<|channel|>", "<|channel|>final<|message|>", "[think]"),
    *('{"verdict":"first"}', '{"verdict":"first"}\nVERDICT: first\n', "<|begin_of_thought|>"),
    *(
        "verdict*",
        "verdict:",
        "verdict: first\n",
        "no ",
        "I ",
        "a\n",
        "A\u200b",
        "1. ",
        "answer is",
    ),
]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("piece", HOSTILE)
def test_readers_go_over_a_reply_once_whatever_is_in_it(piece):
    text = piece * (30_000 // len(piece))

    for reply in (f"{text}x", f'x{text}{{"verdict":"first"}}', f"A\n{text}\nx"):
        for read in (
            read_verdict,
            queries_of_reply,
            lambda said: read_choice(ChatReply(said), ("a", "b", "t"), names={"first": "a"}),
        ):
            with contextlib.suppress(UnjudgedError):
                read(reply)
    assert len(clean(text)) <= len(text)
