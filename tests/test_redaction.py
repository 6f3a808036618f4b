"""A key that somebody else's text spells is blanked, in whatever spelling, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
import string
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from experiments import llm, play, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, chat, error
from tables import each_row

from arena import redaction
from arena.errors import ApiError, DataError
from arena.redaction import (
    blank,
    blank_json,
    keep_environment,
    keep_secret,
    may_tell,
    names_secret,
)

KEY = "sk-planted/0123456789+abcdef=="
SPELLINGS = {
    "as it is": str,
    "JSON": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "JSON, upper case": lambda key: "".join(f"\\u{ord(c):04X}" for c in key),
    "JSON in JSON": lambda key: "".join(f"\\\\u{ord(c):04x}" for c in key),
    "one letter of it": lambda key: key.replace("p", "\\u0070", 1),
    "slashes": lambda key: key.replace("/", "\\/"),
    "an address": lambda key: quote(key, ""),
    "an address, lower case": lambda key: (
        quote(key, "").lower().replace("sk-planted", "sk-planted")
    ),
    "an address, every letter": lambda key: "".join(f"%{ord(c):02x}" for c in key),
    "an address, twice": lambda key: quote("".join(f"%{ord(c):02X}" for c in key), ""),
    "HTML": html.escape,
    "HTML by number": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "HTML by hexadecimal number": lambda key: "".join(f"&#x{ord(c):x};" for c in key),
    "a program": lambda key: "".join(f"\\x{ord(c):02x}" for c in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of a user": lambda key: base64.b64encode(f"me:{key}\n".encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(f"ab{key}c".encode()).decode(),
    "blanks": " ".join,
    "lines": "\n".join,
    "dashes": " - ".join,
    "halves": lambda key: f"{key[:12]}<wbr>{key[12:]}".replace("wbr", "-"),
}


@each_row("spelling", SPELLINGS)
def test_a_key_is_blanked_in_every_spelling(spelling: str) -> None:
    keep_secret(KEY)
    told = SPELLINGS[spelling](KEY)

    shown = blank(f"your key {told} is bad")

    assert shown.startswith("your key ")
    assert "[key]" in shown
    assert shown.endswith(" is bad")
    assert not set(told[9:13]) <= set(shown) or told[9:13] not in shown
    assert may_tell(f"your key {told} is bad".encode())
    assert may_tell(json.dumps({"said": told}).encode())
    assert "[key]" in str(blank_json({"a": [{"b": told}]}))
    assert "[key]" in str(blank_json({told: 1}))


@settings(derandomize=True, max_examples=60)
@given(
    st.text(string.ascii_letters + string.digits + "-_./+=~", min_size=12, max_size=80).filter(
        lambda key: any(c.isdigit() for c in key) and sum(c.isalnum() for c in key) >= 12
    ),
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from(sorted(SPELLINGS)),
)
def test_no_key_of_any_make_is_left(key: str, before: str, after: str, spelling: str) -> None:
    redaction._known = redaction._Secrets()  # the fixture puts the old one back
    keep_secret(key)

    shown = blank(f"{before} {SPELLINGS[spelling](key)} {after}")

    assert key not in shown
    assert blank(shown) == shown


@each_row(
    "text",
    [
        "The second list is not needed, 100% of it; a \\u2013 b &#233; %C3%A9",
        "sk-planted and 0123456789 alone",
        "",
        '{"verdict": "first"}',
        "\ud800 half a character",
    ],
)
def test_honest_text_stays_as_it_is(text: str) -> None:
    keep_secret(KEY)
    keep_secret("not-needed")  # what people put where a server of their own wants a key
    keep_secret("EMPTY")

    assert blank(text) == text


def test_a_word_in_the_place_of_a_key_is_blanked_where_it_stands_whole() -> None:
    keep_secret("placeholder")

    assert blank("Bearer placeholder, place holder") == "Bearer [key], place holder"


def test_long_text_is_read_in_one_pass() -> None:
    keep_secret(KEY)
    texts = ["s " * 500_000, "s" + " " * 500_000 + "k", "%73" * 300_000, "\\u0073" * 200_000]
    began = time.monotonic()

    for text in texts:
        assert "[key]" not in blank(text)

    assert time.monotonic() - began < 20


def test_every_key_of_the_environment_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "abcdef-0123456789-other")
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdefghij")
    monkeypatch.setenv("SSH_KEY", "/home/me/.ssh/id_ed25519")
    monkeypatch.setenv("KEYBOARD", "qwerty-layout-105")
    keep_environment()

    shown = blank(
        "abcdef-0123456789-other hf_0123456789abcdefghij /home/me/.ssh/id_ed25519 qwerty-layout-105"
    )

    assert shown == "[key] [key] /home/me/.ssh/id_ed25519 qwerty-layout-105"


def test_white_space_around_a_key_of_the_environment_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTHER_PASSWORD", " correct-horse\n")
    keep_environment()

    assert blank("it was correct-horse.") == "it was [key]."


@each_row(
    ("name", "is_secret"),
    [
        ("OPENAI_API_KEY", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("AWS_ACCESS_KEY_ID", True),
        ("PGPASSWORD", True),
        ("GOOGLE_CREDENTIALS", True),
        ("--anthropicKey", True),
        ("mytoken", True),
        ("cookies", True),
        ("code", True),
        ("KEYBOARD", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("max_tokens", False),
        ("price_per_1m_tokens", False),
        ("token_count", False),
        ("api_key_env", False),
        ("status_code", False),
        ("keywords", False),
        ("passage_words", False),
        ("author", False),
    ],
)
def test_the_words_of_a_name_tell_whether_it_is_that_of_a_secret(
    name: str, *, is_secret: bool
) -> None:
    assert names_secret(name) is is_secret


def test_no_error_of_ours_shows_a_key() -> None:
    keep_secret(KEY)

    assert KEY not in str(ApiError("server", f"got {KEY}"))
    assert KEY not in str(DataError("x.jsonl", 1, f"is {KEY}"))


@pytest.mark.parametrize("spelling", ["as it is", "JSON", "JSON in JSON", "slashes", "blanks"])
def test_a_key_that_a_judge_repeats_reaches_no_file(
    spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", KEY.replace("planted", "another"))

    def answer(request: dict[str, Any], attempt: int) -> Answer:
        told = " and ".join(
            SPELLINGS[spelling](k) for k in (KEY, KEY.replace("planted", "another"))
        )
        if "q1" in request["messages"][-1]["content"]:
            return error(400, told)
        if "q2" in request["messages"][-1]["content"]:
            return chat(f"I saw {told}")
        said = json.dumps({"first": told, "second": "Fair.", "verdict": "first"})
        return chat(said)

    with LoopbackServer(answer) as server:
        judge = llm(server.base_url, 'api_key_env = "JUDGE_KEY"\nmax_failures = 1.0')
        play(write_experiment(tmp_path, judge=judge))

    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in kept} >= {"battles.jsonl", "replies.jsonl", "verdicts.sqlite"}
    for path in kept:
        content = path.read_bytes()
        for secret in (KEY, KEY.replace("planted", "another")):
            for spelt in (SPELLINGS[spelling](secret), secret):
                assert spelt.encode() not in content
                assert json.dumps(spelt)[1:-1].encode() not in content
    assert "[key]" in (tmp_path / "runs" / "x" / "replies.jsonl").read_text()
