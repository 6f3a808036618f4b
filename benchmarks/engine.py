"""How many judge calls a second, and how close to an endpoint's limit?

::

    python benchmarks/engine.py                          # calls: 0 and 200 ms, 64 to 1024 in flight
    python benchmarks/engine.py calls --battles 9000 --rounds 5
    python benchmarks/engine.py cap                      # an endpoint that takes 300 a second
    python benchmarks/engine.py memory --battles 1000000
    python benchmarks/engine.py peers --python peers/bin/python   # a venv that holds the peers

The endpoint is ``tests/chaos.py`` on loopback, a process of its own. Rows of one table are taken
in turns within one run, so that whatever else the machine does falls on all of them; their
ratios mean more than their seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from engine_data import body, write_experiment

from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.client import Api, run

ROOT = Path(__file__).resolve().parents[1]
JSON = {"Content-Type": "application/json"}


@contextmanager
def serve(*, delay_ms: float = 0.0, cap: float = 0.0) -> Iterator[str]:
    """Run the endpoint; yields its base_url."""
    command = [sys.executable, str(ROOT / "tests" / "chaos.py")]
    command += ["--delay-ms", str(delay_ms), "--cap", str(cap)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        assert server.stdin
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def n_sent(base_url: str) -> int:
    """Requests that the endpoint has seen."""
    with urllib.request.urlopen(f"{base_url}/stats") as stats:
        return sum(json.load(stats).values())


async def in_turns(n_calls: int, in_flight: int, call: Callable[[], Awaitable[object]]) -> float:
    """Calls a second of so many workers that share so many calls."""
    left = iter(range(n_calls))

    async def work() -> None:
        for _ in left:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return n_calls / (time.perf_counter() - began)


async def raw(base_url: str, n_calls: int, in_flight: int) -> float:
    """Aiohttp alone: what the endpoint and the machine can do."""
    import aiohttp

    content, url = orjson.dumps(body()), f"{base_url}/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4096)) as session:

        async def call() -> None:
            async with session.post(url, data=content, headers=JSON) as response:
                orjson.loads(await response.read())

        return await in_turns(n_calls, in_flight, call)


async def bare(base_url: str, n_calls: int, in_flight: int) -> float:
    """`AsyncOpenAI.post` in a loop: one prepared body, the reply parsed, nothing else."""
    import openai
    from httpx2 import Limits, Response, Timeout

    content = orjson.dumps(body())
    limits = Limits(max_connections=4096, max_keepalive_connections=4096)
    client = openai.AsyncOpenAI(
        api_key="none",
        base_url=base_url,
        max_retries=0,
        timeout=Timeout(90, connect=10, pool=None),
        http_client=openai.DefaultAioHttpClient(limits=limits),
    )

    async def call() -> None:
        response = await client.post(
            "/chat/completions", cast_to=Response, content=content, options={"headers": JSON}
        )
        orjson.loads(response.content)

    async with client:
        return await in_turns(n_calls, in_flight, call)


async def posts(base_url: str, n_calls: int, in_flight: int) -> float:
    """`Api.post` in a loop: pace, breaker and retries around it."""
    request = body()
    async with Api(Endpoint(base_url, concurrency=in_flight)) as api:
        return await in_turns(n_calls, in_flight, lambda: api.post("/chat/completions", request))


class Watch:
    """A `Reporter` that times the stage in which all battles are played, and shows nothing."""

    took_s = 0.0

    def log(self, line: str) -> None:
        """Show nothing."""

    def update(self, done: int, detail: str = "") -> None:
        """Show nothing."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Watch]:  # noqa: ARG002
        """Time it."""
        began = time.perf_counter()
        yield self
        self.took_s = time.perf_counter() - began


def battles(base_url: str, n_calls: int, in_flight: int) -> float:
    """The whole `arena battle`: rendering, log and Elo, from the first call to the last battle."""
    from arena.experiment.live import battle

    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ARENA_CACHE"] = str(folder / "cache")
        summary = battle(write_experiment(folder, base_url, n_calls, in_flight), watch)
    assert summary.n_judged == n_calls
    return n_calls / watch.took_s


def calls(n_battles: int, rounds: int) -> None:
    """Calls a second of each layer, and as a part of the bare loop's."""
    rows: dict[str, Callable[[str, int, int], float]] = {
        "aiohttp alone": lambda *given: run(raw(*given)),
        "bare AsyncOpenAI.post": lambda *given: run(bare(*given)),
        "Api.post": lambda *given: run(posts(*given)),
        "arena battle": battles,
    }
    for delay_ms in (0, 200):
        for in_flight in (64, 256, 1024):
            taken: dict[str, list[float]] = {row: [] for row in rows}
            with serve(delay_ms=delay_ms) as base_url:
                for _ in range(rounds):
                    for row, measure in rows.items():
                        taken[row].append(measure(base_url, n_battles, in_flight))
            base = taken["bare AsyncOpenAI.post"]
            for row, rates in taken.items():
                ratio = statistics.median(r / b for r, b in zip(rates, base, strict=True))
                say(
                    f"{delay_ms:>4} ms {in_flight:>5} in flight  {row:<22}"
                    f"{statistics.median(rates):>8,.0f}/s  x{ratio:.2f}"
                )


def cap(n_calls: int) -> None:
    """How much of 300 requests a second is used, and how many are sent in vain."""
    for delay_ms in (0, 200):
        for in_flight in ("auto", 512):

            async def story(base_url: str, limit: Any) -> float:
                request = body()
                async with Api(Endpoint(base_url, concurrency=limit)) as api:
                    return await in_turns(
                        n_calls, 1024, lambda: api.post("/chat/completions", request)
                    )

            with serve(delay_ms=delay_ms, cap=300) as base_url:
                rate = run(story(base_url, in_flight))
                sent = n_sent(base_url)
            say(
                f"{delay_ms:>4} ms, concurrency {in_flight}: {rate:,.0f}/s, "
                f"{rate / 300:.0%} of the cap, {sent / n_calls:.3f} requests a call"
            )


def memory(n_battles: int) -> None:
    """Peak memory of a run with a judge that answers at once (qrels)."""
    from arena.experiment.live import battle
    from arena.progress import reporter

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ARENA_CACHE"] = str(folder / "cache")
        config = write_experiment(folder, None, n_battles, 1)
        began = time.perf_counter()
        summary = battle(config, reporter(quiet=True))
        took_s = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"{summary.n_judged:,} battles in {took_s:,.0f} s, peak memory {peak_mb:,.0f} MB")


def peers(python: str, n_calls: int, rounds: int) -> None:
    """Judgments a second of other tools and of `arena battle`, 64 in flight."""
    names = ("inspect_ai", "ragelo", "alpaca_eval", "arena_hard")
    for delay_ms in (0, 200):
        taken: dict[str, list[float]] = {}
        with serve(delay_ms=delay_ms) as base_url:
            for _ in range(rounds):
                taken.setdefault("arena battle", []).append(battles(base_url, n_calls, 64))
                for peer in names:
                    command = [python, str(Path(__file__).parent / "engine_peers.py"), peer]
                    done = subprocess.run(
                        [*command, base_url, str(n_calls)],
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                    if done.returncode:
                        say(f"{peer}: {done.stderr.strip().splitlines()[-1][:150]}")
                        continue
                    taken.setdefault(peer, []).append(float(done.stdout.split()[-1]))
        ours = statistics.median(taken["arena battle"])
        for row, rates in taken.items():
            rate, spread = statistics.median(rates), f"{min(rates):,.0f} to {max(rates):,.0f}"
            say(f"{delay_ms:>4} ms  {row:<14}{rate:>8,.0f}/s ({spread})  arena: x{ours / rate:.1f}")


def say(line: str) -> None:
    """Show a row as soon as it is there."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="calls")
    parser.add_argument("--battles", type=int, default=3600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", default=sys.executable)
    given = parser.parse_args()
    if given.what == "calls":
        calls(given.battles, given.rounds)
    elif given.what == "cap":
        cap(given.battles)
    elif given.what == "memory":
        memory(given.battles)
    elif given.what == "peers":
        peers(given.python, given.battles, given.rounds)
    else:
        parser.error("one of calls, cap, memory, peers")


if __name__ == "__main__":
    main()
