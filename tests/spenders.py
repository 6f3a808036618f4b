"""Servers that bill as they please, and runs of `arena battle` that are killed while they pay.

A `Spender` counts by itself what it would bill. Runs are processes, forked from one that has
everything imported, so that killing one costs little time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from experiments import llm, try_to_play, write_experiment
from loopback import DROP, Answer, as_json, error, truncated
from programs import forks

from arena.endpoint import client
from arena.store.shards import WHOLE, Shard

PRICE_IN, PRICE_OUT = 1.0, 2.0
"""US dollars for a million tokens, as `experiments.llm` has them."""

USAGES: Final = (
    "honest",
    "total",
    "missing",
    "null",
    "zero",
    "negative",
    "huge",
    "text",
    "nan",
    "half",
)


@dataclass(frozen=True, slots=True)
class Manners:
    """How a server bills and answers."""

    thinks: int = 0  #: tokens of thought before a reply, at most
    usage: str = "honest"  #: what it says of that; one of `USAGES`
    limits: str = "kept"  #: a limit on the length is ``kept``, ``ignored`` or ``refused``
    dense: bool = False  #: each byte is a token
    lost: float = 0.0  #: share of replies that are billed and do not arrive whole
    failing: float = 0.0  #: share of requests that are refused, and not billed
    unreadable: float = 0.0  #: share of replies that are no verdict
    delay_s: float = 0.0  #: before each answer
    seed: int = 1


@dataclass(slots=True)
class Spender:
    """A server, as a script of `loopback.LoopbackServer`, with its own count of the bill."""

    manners: Manners
    billed_usd: float = 0.0
    dearest_usd: float = 0.0  #: of one call
    n_requests: int = 0
    kill_at: int | None = None  #: this request kills the process that sent it
    process: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.manners.seed)

    def __call__(self, request: dict[str, Any], attempt: int) -> Answer:
        with self._lock:
            self.n_requests += 1
            fatal = self.n_requests == self.kill_at
            drawn = [self._random.random() for _ in range(4)]
            answer = self._answer(request, drawn)
        time.sleep(self.manners.delay_s)
        if fatal and self.process:
            if drawn[3] < 0.5:
                self.process.kill()
            else:  # perhaps after the reply has arrived, and before it is written down
                threading.Timer(drawn[3] / 200, self.process.kill).start()
        return answer

    def _answer(self, request: dict[str, Any], drawn: list[float]) -> Answer:
        manners = self.manners
        limit = request.get("max_tokens") or request.get("max_completion_tokens")
        if manners.limits == "refused" and limit:
            name = "max_tokens" if "max_tokens" in request else "max_completion_tokens"
            return error(400, f"Unsupported parameter: '{name}'")
        if drawn[0] < manners.failing:
            return error(500, "try again")
        words = _words(request, readable=drawn[1] >= manners.unreadable)
        n_out = 12 + int(manners.thinks * (0.5 + drawn[2] / 2))
        finish = "stop"
        if limit and manners.limits == "kept" and n_out > limit:
            n_out, finish, words = limit, "length", ""
        sent = sum(len(message["content"].encode()) for message in request["messages"])
        n_in = sent if manners.dense else sent // 4
        self._bill((n_in * PRICE_IN + n_out * PRICE_OUT) / 1e6)
        answer = _completion(words, finish, _usage(manners.usage, n_in, n_out))
        if drawn[3] < manners.lost:
            garbage = Answer(200, {}, answer.body[:40])
            return (DROP, truncated(answer), garbage)[int(drawn[2] * 3)]
        return answer

    def _bill(self, usd: float) -> None:
        self.billed_usd += usd
        self.dearest_usd = max(self.dearest_usd, usd)


def write_capped(folder: Path, base_url: str, kinds: list[str], caps: list[float | None]) -> Path:
    """Write an experiment with a judge of each kind, some of them with a cap of their own."""
    sections = []
    for number, (kind, cap) in enumerate(zip(kinds, caps, strict=True)):
        kind_line = 'kind = "pointwise"' if kind == "pointwise" else f'answer = "{kind}"'
        own = "" if cap is None else f"max_usd = {cap!r}\n"
        own += f"temperature = {number}\n"  # or the judges would be one
        sections.append(
            llm(base_url, f'name = "judge {number}"\nmax_failures = 1\n{kind_line}\n{own}')
        )
    config = write_experiment(folder, judge="\n[[judges]]\n".join(sections))
    config.write_text(config.read_text().replace("[judge]", "[[judges]]"))
    return config


def run(config: Path, spender: Spender, *, kill_at: int | None, **options: Any) -> None:
    """Run `arena battle` in a process of its own, which the so many-th request from now kills."""
    if kill_at is None:
        _play(str(config), options)
        return
    process = forks().Process(target=_play, args=(str(config), options))
    with spender._lock:
        spender.kill_at, spender.process = spender.n_requests + kill_at, process
    process.start()
    _wait(process)
    spender.process = None


def run_at_once(config: Path, runs: Sequence[dict[str, Any]]) -> None:
    """Run `arena battle` in several processes at the same time, each with its options."""
    processes = [forks().Process(target=_play, args=(str(config), options)) for options in runs]
    for process in processes:
        process.start()
    for process in processes:
        _wait(process)


def _wait(process: ForkServerProcess) -> None:
    process.join(60)
    hung = process.is_alive()
    process.kill()
    assert not hung, "a run did not end"
    assert process.exitcode in (0, -signal.SIGKILL), "a run ended with a traceback"


def _play(config: str, options: dict[str, Any]) -> None:
    os.environ["ARENA_CACHE"] = str(Path(config).parent / "cache")
    shard = options.pop("shard", None)
    # No waits between attempts; how many there are, and what they cost, is as it is.
    hasty = partial(client.Retry, base_s=0.001, longest_s=0.002)
    with patch.object(client, "Retry", hasty):
        try_to_play(Path(config), **options, shard=Shard(*shard) if shard else WHOLE)


def _words(request: Mapping[str, Any], *, readable: bool) -> str:
    if not readable:
        return "I would rather not say."
    asked = request["messages"][-1]["content"]
    if "response_format" in request or '"verdict"' in request["messages"][0]["content"] + asked:
        return '{"first": "", "second": "", "verdict": "first"}'
    return "A" if "The second list" in asked else "2"


def _usage(kind: str, n_in: int, n_out: int) -> Any:
    honest = {"prompt_tokens": n_in, "completion_tokens": n_out, "total_tokens": n_in + n_out}
    return {
        "honest": honest,
        "total": {**honest, "completion_tokens": min(12, n_out)},
        "missing": ...,
        "null": None,
        "zero": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        "negative": {"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12},
        "huge": {"prompt_tokens": 2**63 - 1, "completion_tokens": 2**64 - 1},
        "text": {"prompt_tokens": "10", "completion_tokens": [1], "total_tokens": {}},
        "nan": {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
        "half": {"prompt_tokens": n_in},
    }[kind]


def _completion(words: str, finish: str, usage: Any) -> Answer:
    body: dict[str, Any] = {
        "choices": [{"message": {"role": "assistant", "content": words}, "finish_reason": finish}]
    }
    if usage is not ...:
        body["usage"] = usage
    return as_json(json.loads(json.dumps(body)))
