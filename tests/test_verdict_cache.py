from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chat_judges import asked, config, exhibit, with_judge, word
from loopback import Answer, LoopbackServer, chat, verdict

from arena.errors import BudgetSpentError, DataError, UnjudgedError
from arena.judging.budget import Budget
from arena.judging.chat_reply import ChatReply, Token
from arena.judging.judge import Judge
from arena.judging.prompt import Prompt
from arena.judging.reply_cache import VerdictCache
from arena.records import Usage, Verdict

KEY, OTHER = "00" * 16, "ff" * 16
REPLY = ChatReply("A", (Token("A", {"A": 0.75, "B": 0.25}),), "stop", "", Usage(9, 1, 2, 0.5, 3.0))


def test_a_reply_comes_back_as_it_was(tmp_path: Path):
    with VerdictCache(tmp_path / "new" / "folder") as cache:
        cache.put(KEY, REPLY)
    with VerdictCache(tmp_path / "new" / "folder") as cache:
        assert cache.get(KEY) == REPLY
        assert cache.get(OTHER) is None


def test_the_first_reply_to_a_request_stays(tmp_path: Path):
    with VerdictCache(tmp_path) as one, VerdictCache(tmp_path) as other:
        one.put(KEY, REPLY)
        other.put(KEY, ChatReply("B"))

        assert one.get(KEY) == other.get(KEY) == REPLY


def test_a_file_that_is_no_cache_is_an_error_with_a_remedy(tmp_path: Path):
    (tmp_path / "verdicts.sqlite").write_bytes(b"not a database at all, but long enough" * 99)

    with pytest.raises(DataError, match=r"verdicts\.sqlite: cannot be used .*; delete it, or set"):
        VerdictCache(tmp_path)


def test_a_damaged_reply_counts_as_missing(tmp_path: Path):
    with VerdictCache(tmp_path) as cache:
        for key, raw in ((KEY, b"{"), (OTHER, b'{"text": "A", "tokens": 3}')):
            cache._db.execute("INSERT INTO replies VALUES (?, ?)", (bytes.fromhex(key), raw))

        assert cache.get(KEY) is None
        assert cache.get(OTHER) is None


def test_a_cache_that_fails_midway_costs_calls_and_no_verdict(tmp_path: Path, caplog):
    with LoopbackServer(lambda body, attempt: verdict("first")) as server:
        cache = VerdictCache(tmp_path)
        cache.close()
        with caplog.at_level(logging.WARNING):
            said = []
            for _ in range(2):
                said.append(judged(server, cache))
                cache.flush()

    assert [v.winner for v in said] == ["first", "first"]
    assert len(caplog.records) == 1
    assert len(server.requests) == 2


def test_a_reply_that_waits_to_be_written_is_found_and_written_at_the_end(tmp_path: Path):
    reply = ChatReply("first")
    with VerdictCache(tmp_path) as cache:
        cache.put(KEY, reply, later=True)
        with VerdictCache(tmp_path) as other:
            seen_by_another = other.get(KEY)
        found = cache.get(KEY)

    with VerdictCache(tmp_path) as cache:
        assert cache.get(KEY) == found == reply
    assert seen_by_another is None


WRITER = """
import sys
from pathlib import Path
from arena.judging.reply_cache import VerdictCache
from arena.judging.chat_reply import ChatReply
cache = VerdictCache(Path(sys.argv[1]))
for i in range(int(sys.argv[3])):
    cache.put(f"{sys.argv[2]}{i:030x}", ChatReply(str(i)))
    print(i, flush=True)
"""


def test_a_killed_process_loses_nothing_and_two_may_write_at_once(tmp_path: Path):
    def start(prefix: str, n: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WRITER, str(tmp_path), prefix, n]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    killed, other = start("aa", "1000000"), start("bb", "200")
    assert killed.stdout
    assert other.stdout
    acknowledged = [int(killed.stdout.readline()) for _ in range(200)]
    killed.send_signal(signal.SIGKILL)
    acknowledged += map(int, killed.stdout.read().split(b"\n")[:-1])
    killed.wait()
    killed.stdout.close()
    other.communicate()

    with VerdictCache(tmp_path) as cache:
        assert other.returncode == 0
        assert all(cache.get(f"aa{i:030x}") == ChatReply(str(i)) for i in acknowledged)
        assert all(cache.get(f"bb{i:030x}") for i in range(200))
    with closing(sqlite3.connect(cache.path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_many_may_make_the_cache_at_the_same_moment(tmp_path: Path):
    folders = [tmp_path / str(number) for number in range(12)]
    together = threading.Barrier(8)

    def open_all(_: int) -> None:
        for folder in folders:
            together.wait()
            VerdictCache(folder).close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_all, range(8)))

    assert all((folder / "verdicts.sqlite").exists() for folder in folders)


def judged(
    server: LoopbackServer, cache: VerdictCache | None, settings: Any = None, **options: Any
) -> Verdict:
    return with_judge(
        server,
        settings or config(price_per_1m_input_tokens=1),
        lambda judge: judge.judge(exhibit()),
        cache=cache,
        **options,
    )


def test_the_same_request_is_paid_for_once_in_all_experiments(tmp_path: Path):
    with LoopbackServer(lambda body, attempt: verdict("second")) as server:
        with VerdictCache(tmp_path) as cache:
            paid = judged(server, cache)
        with VerdictCache(tmp_path) as cache:
            free = judged(server, cache)

    assert len(server.requests) == 1
    assert (paid.cached, free.cached) == (False, True)
    assert (free.winner, free.reply, free.usage) == ("second", paid.reply, Usage())
    assert paid.usage.cost_usd == pytest.approx(100e-6)


def test_another_question_is_another_request(tmp_path: Path):
    with (
        LoopbackServer(lambda body, attempt: verdict("tie")) as server,
        VerdictCache(tmp_path) as cache,
    ):
        for settings in (
            config(),
            config(model="judge-2"),
            config(temperature=1),
            config(max_tokens=77),
        ):
            judged(server, cache, settings)
        with_judge(server, config(), lambda judge: judge.judge(exhibit("b", "a")), cache=cache)

    assert len(server.requests) == 5


@pytest.mark.parametrize("answer", ["json", "letter"])
def test_other_instructions_with_the_same_lists_are_another_request(tmp_path: Path, answer: str):
    reply = verdict("first") if answer == "json" else word("A")
    prompts = [
        Prompt("own", system, "{{query}}{{first}}{{second}}")
        for system in ("Prefer what is new.", "Prefer what is true.")
    ]
    with LoopbackServer(lambda *_: reply) as server, VerdictCache(tmp_path) as cache:
        said = [judged(server, cache, config(answer=answer), prompt=p) for p in prompts]

    assert [v.cached for v in said] == [False, False]
    assert len({request.body["messages"][0]["content"] for request in server.requests}) == 2


def test_what_changes_no_request_finds_the_reply(tmp_path: Path):
    answer = word("A", {"A": 0.54, "B": 0.46})
    with LoopbackServer(lambda *_: answer) as server, VerdictCache(tmp_path) as cache:
        close = judged(server, cache, config(answer="letter"))
        sure = judged(server, cache, config(answer="letter", tie_margin=0.01, name="again"))

    assert len(server.requests) == 1
    assert (close.winner, sure.winner) == ("tie", "first")
    assert sure.cached


def test_what_cannot_be_read_is_not_kept(tmp_path: Path):
    answers = iter([chat("Both."), verdict("first")])
    with (
        LoopbackServer(lambda body, attempt: next(answers)) as server,
        VerdictCache(tmp_path) as cache,
    ):
        with pytest.raises(UnjudgedError):
            judged(server, cache)

        assert judged(server, cache).winner == "first"


def test_a_kept_reply_that_is_no_answer_any_more_is_asked_for_again(tmp_path: Path):
    class Forgetful(VerdictCache):
        def get(self, request_key: str) -> ChatReply | None:
            return ChatReply("Hm.")

    with (
        LoopbackServer(lambda body, attempt: verdict("first")) as server,
        Forgetful(tmp_path) as cache,
    ):
        assert judged(server, cache).winner == "first"


def test_who_asks_the_same_meanwhile_shares_the_answer_and_its_failure():
    def answer(body: dict[str, Any], attempt: int) -> Answer:
        return chat("Both.") if "[b]" in asked(body) else verdict("first")

    async def use(judge: Judge) -> list[Any]:
        pairs = [exhibit("a", "c")] * 3 + [exhibit("a", "b")] * 3
        return await asyncio.gather(*map(judge.judge, pairs), return_exceptions=True)

    with LoopbackServer(answer) as server:
        said = with_judge(server, config(price_per_1m_input_tokens=1), use)

    assert len(server.requests) == 2
    assert [v.winner for v in said[:3]] == ["first"] * 3
    assert sorted(v.cached for v in said[:3]) == [False, True, True]
    assert [type(e) for e in said[3:]] == [UnjudgedError] * 3
    assert sum(e.cost_usd for e in said[3:]) == pytest.approx(100e-6)


def test_no_call_is_made_that_the_budget_cannot_hold():
    settings = config(price_per_1m_input_tokens=10_000, price_per_1m_output_tokens=10_000)
    budget = Budget(30.0)

    async def use(judge: Judge) -> list[Any]:
        pairs = [exhibit(x, "z") for x in "abcdefgh"]
        return await asyncio.gather(*map(judge.judge, pairs), return_exceptions=True)

    with LoopbackServer(lambda body, attempt: verdict("first")) as server:
        said = with_judge(server, settings, use, budget=budget)

    paid = [v for v in said if isinstance(v, Verdict)]
    refused = [e for e in said if isinstance(e, BudgetSpentError)]
    assert len(paid) + len(refused) == 8
    assert len(paid) == len(server.requests) > 5
    assert budget.spent_usd == pytest.approx(sum(v.usage.cost_usd for v in paid))
    assert budget.spent_usd <= 30.0


def test_a_reservation_learns_how_the_model_counts_tokens():
    settings = config(price_per_1m_input_tokens=1_000_000)
    usage = {"prompt_tokens": 20_000, "completion_tokens": 1}
    budget = Budget(50_000)

    async def use(judge: Judge) -> None:
        await judge.judge(exhibit("a"))
        await judge.judge(exhibit("b", "c"))
        await judge.judge(exhibit("c"))

    with (
        LoopbackServer(lambda body, attempt: chat('{"verdict": "tie"}', usage=usage)) as server,
        pytest.raises(BudgetSpentError, match="the next call may cost"),
    ):
        with_judge(server, settings, use, budget=budget)

    assert budget.spent_usd == 40_000
    assert len(server.requests) == 2
