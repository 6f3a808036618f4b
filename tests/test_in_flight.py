"""Whatever goes wrong with one request, the others on the wire are finished and kept."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from experiments import fair_judge, llm, log_lines, logged, play, try_to_play, write_experiment
from loopback import Answer, LoopbackServer
from raw_server import RawServer, Request, Sent, http

from arena.cli import main
from arena.endpoint.client import run
from arena.endpoint.coroutines import as_done, new_runner, work_off
from arena.errors import ApiError, ArenaError, UnforeseenError
from arena.judging import chat as chat_module

N_BATTLES = 36


def judge(request: dict[str, Any], attempt: int) -> Answer:
    time.sleep(0.2)  # so that all are on the wire when one goes wrong
    return fair_judge(request, attempt)


def fails_once(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let one reply, of those that are there at the same time, meet a mistake of ours."""
    met: list[Exception] = []
    read = chat_module.chat_reply

    def reads(*given: Any) -> Any:
        if not met:
            met.append(error)
            raise error
        return read(*given)

    monkeypatch.setattr(chat_module, "chat_reply", reads)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("usage"),
        MemoryError(),
        RecursionError("too deep"),
        OSError("gone"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        RuntimeError("two\nlines"),
    ],
    ids=repr,
)
def test_any_error_ends_a_run_in_one_line_once_all_on_the_wire_is_written(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackServer(judge) as server:
        path = write_experiment(tmp_path, judge=llm(server.base_url, "concurrency = 64"))
        with monkeypatch.context() as patch:
            fails_once(patch, error)
            ended = try_to_play(path)
        n_sent = len(server.requests)
        kept = (tmp_path / "runs" / "x" / "replies.jsonl").read_text().count('"winner":"')
        play(path)

        assert isinstance(ended, UnforeseenError)
        assert "\n" not in str(ended)
        assert type(error).__name__ in str(ended)
        assert kept == n_sent - 1 >= 8
        assert len(server.requests) == len({str(r.body) for r in server.requests}) + 1
    assert len(logged(path)) == N_BATTLES


def test_the_command_line_shows_that_line_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackServer(judge) as server:
        path = write_experiment(tmp_path, judge=llm(server.base_url))
        fails_once(monkeypatch, KeyError("usage"))
        shown = CliRunner().invoke(main, ["battle", str(path)])

    assert shown.exit_code == 1
    assert "error: unforeseen: KeyError: 'usage' (chat.py:" in shown.output
    assert "Traceback" not in shown.output


def test_answers_that_cannot_be_read_cost_another_try_and_no_battle(tmp_path: Path) -> None:
    broken = http(b"\x1f\x8bnot gzip", headers="Content-Encoding: gzip\r\n")

    def answer(request: Request) -> Sent:
        return broken if request.n % 8 == 4 else [0.1, http(fair_judge(request.body, 1).body)]

    with RawServer(answer) as server:
        path = write_experiment(tmp_path, judge=llm(server.base_url, "concurrency = 64"))
        summary = play(path)

    assert summary.judged == {"judge-1": N_BATTLES}
    assert not summary.failures
    assert {line["source"] for line in log_lines(path)} == {"judge"}


def test_after_an_error_nothing_is_begun_and_the_rest_is_finished() -> None:
    done: list[int] = []

    async def settle(n: int) -> None:
        await asyncio.sleep(0.05 if n else 0.01)
        if n == 0:
            raise ValueError("first")
        if n == 1:
            raise KeyError("second")
        done.append(n)

    async def story() -> None:
        await work_off(range(100), settle, workers=8, stop=asyncio.Event())

    with pytest.raises(UnforeseenError, match="ValueError: first"):
        run(story())
    assert done == [2, 3, 4, 5, 6, 7]


def test_an_error_of_the_plan_itself_is_one_as_well() -> None:
    def plan() -> Any:
        yield from range(3)
        raise KeyError("plan")

    async def settle(n: int) -> None:
        await asyncio.sleep(0.01)

    with pytest.raises(UnforeseenError, match="KeyError: 'plan'"):
        run(work_off(plan(), settle, workers=2, stop=asyncio.Event()))


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ApiError("server", "x"), ApiError), (KeyError("vectors"), UnforeseenError)],
)
def test_vectors_that_are_on_the_wire_are_handed_on_before_an_error(
    error: Exception, kind: type[ArenaError]
) -> None:
    async def request(n: int) -> int:
        await asyncio.sleep(0.01 if n == 1 else 0.05)
        if n == 1:
            raise error
        return n

    got: list[int] = []
    with new_runner() as runner:
        done = as_done(runner, ((n, request(n)) for n in range(50)), at_once=4)
        with pytest.raises(kind):
            got.extend(n for n, _ in done)

    assert sorted(got) == [0, 2, 3]


def test_a_reply_is_kept_even_where_the_log_cannot_take_its_battle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arena.store.battle_log import BattleLog

    def refuses(*_: Any) -> None:
        raise ValueError("no battle")

    with LoopbackServer(judge) as server:
        path = write_experiment(tmp_path, judge=llm(server.base_url, "concurrency = 64"))
        with monkeypatch.context() as patch:
            patch.setattr(BattleLog, "write_battle", refuses)
            assert isinstance(try_to_play(path), UnforeseenError)
        n_asked = len(server.requests)
        play(path)

        assert len(server.requests) == n_asked
    assert len(logged(path)) == N_BATTLES
