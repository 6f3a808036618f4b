"""Experiments with scripted replies, and all that they leave on disk, to be held against a record.

``python tests/frozen.py`` records anew, in ``tests/frozen/``, what this code writes. A record holds
battles, replies, failures, grades, runs, the leaderboard, the site's data, the ledger of batch jobs
and the keys of the caches; what a clock or a version wrote is left out, and sentences for people,
which may be worded better at any time.

The address of the endpoint is part of every fingerprint, so the servers listen at a fixed one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, TypeVar

from batch_server import BatchServer
from click.testing import CliRunner
from experiments import fair_grader, fair_judge, llm, write_experiment
from filelock import FileLock
from loopback import Answer, LoopbackServer, chat, embeddings, verdict

from arena.cli import main

RECORDS = Path(__file__).parent / "frozen"
ADDRESS = "127.83.71.1", 48123
PATIENCE_S = 60.0
Server = TypeVar("Server", LoopbackServer, BatchServer)
BASE_URL = "http://{}:{}/v1".format(*ADDRESS)

CLOCKED = {"at", "began_at", "begun_at", "resumed_at", "generated_at", "measured_at", "finished_at"}
"""Keys of times; a figure of milliseconds is told by its unit."""
VERSIONED = {"arena", "python", "packages", "version", "place", "processor"}
WORDED = {
    "about",
    "detail",
    "label",
    "meaning",
    "note",
    "notes",
    "reason",
    "remarks",
    "remedy",
    "sentence",
    "sentences",
    "text_html",
    "title",
    "trust",
}
"""Keys of sentences for people."""
NEWER = {"tokens_per_document", "tokens_per_query"}
"""Keys of figures that were not measured yet when the record was made."""
RUN_FILES = {"strong", "middling", "weak"}
"""Models that are run files."""
DIGITS = 9
"""Of every number: the last ones depend on the machine's linear algebra."""

MODELS = """
[[models]]
name = "bm25"
provider = "bm25"

[[models]]
name = "embedder"
provider = "openai"
model = "embed-1"
base_url = "{base_url}"
api_key_env = "FROZEN_KEY"
price_per_1m_tokens = 0.5
"""


def moody(request: dict[str, Any], attempt: int) -> Answer:
    """Answers any request by its content alone: fair mostly, odd at times, unreadable seldom."""
    if "input" in request:
        return embeddings([_vector(text) for text in request["input"]])
    shown = json.dumps(request["messages"])
    if len(set(re.findall(r"for (q\d)", shown))) > 1:  # a control of the gate
        return (fair_grader if "The grade of the document" in shown else fair_judge)(
            request, attempt
        )
    mood = hashlib.sha256(shown.encode()).digest()
    usage = {"prompt_tokens": 100 + mood[2], "completion_tokens": 20 + mood[3] % 8}
    if "The grade of the document" in shown:
        return _word("0123", mood, usage) if mood[0] % 16 else chat("no grade", usage=usage)
    if request.get("logprobs"):
        return _word("ABT", mood, usage)
    if mood[0] % 12 == 0:
        return chat("I would rather not say.", usage=usage)
    side = ("first", "second", "tie")[mood[1] % 3]
    return verdict(side) if mood[0] % 3 == 0 else fair_judge(request, attempt)


def _word(words: str, mood: bytes, usage: Mapping[str, int]) -> Answer:
    """One of so many words of one letter, with the probabilities of all."""
    shares = {word: 1 + mood[4 + place] for place, word in enumerate(words)}
    total = sum(shares.values())
    tops = [{"token": t, "logprob": math.log(n / total)} for t, n in shares.items()]
    top = max(tops, key=lambda entry: entry["logprob"])
    body = json.loads(chat(top["token"], usage=usage).body)
    body["choices"][0]["logprobs"] = {"content": [{**top, "top_logprobs": tops}]}
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _vector(text: str) -> list[float]:
    return [byte / 128 - 1 for byte in hashlib.sha256(text.encode()).digest()[:16]]


def scripted(extra: str = "") -> str:
    """A ``[judge]`` section that asks one call after another, so that replies come in one order."""
    return llm(BASE_URL, f"concurrency = 1\n{extra}")


def pairwise(folder: Path) -> None:
    """Both orders, the gate, BM25 and an embedding model beside run files, a resumed run."""
    config = write_experiment(folder, judge=scripted("gate = true\n"), settings="seed = 3")
    text = config.read_text()
    config.write_text(text.replace("[judge]", MODELS.format(base_url=BASE_URL) + "[judge]"))
    with at_address(LoopbackServer):
        arena("battle", config, "--limit", "40")
        arena("battle", config, "--report")


def letter(folder: Path) -> None:
    """One order, and a letter with its probabilities."""
    config = write_experiment(
        folder,
        judge=scripted('answer = "letter"\n'),
        settings='seed = 4\norders = "balanced"',
    )
    with at_address(LoopbackServer):
        arena("battle", config)
    arena("report", folder / "runs" / "x")


def pointwise(folder: Path) -> None:
    """Documents graded singly."""
    config = write_experiment(folder, judge=scripted('kind = "pointwise"\n'), settings="seed = 5")
    with at_address(LoopbackServer):
        arena("battle", config)
    arena("report", folder / "runs" / "x")


def panel(folder: Path) -> None:
    """Two language models and the qrels, whose majority counts."""
    config = write_experiment(folder, judge="@", settings="seed = 6")
    judges = [
        scripted('name = "one"\n'),
        scripted('name = "two"\n').replace("judge-1", "judge-2"),
        'kind = "qrels"\n',
    ]
    sections = "".join(f"[[judges]]\n{judge}" for judge in judges)
    config.write_text(config.read_text().replace("[judge]\n@\n", sections))
    with at_address(LoopbackServer):
        arena("battle", config)
    arena("report", folder / "runs" / "x")


def shards(folder: Path) -> None:
    """Two shards, rated as one log."""
    config = write_experiment(folder, judge=scripted(), settings="seed = 7")
    with at_address(LoopbackServer):
        arena("battle", config, "--shard", "1/2")
        arena("battle", config, "--shard", "2/2")
    arena("rate", folder / "runs" / "x")


def batch(folder: Path) -> None:
    """Provider batch jobs, one of whose requests expires."""
    config = write_experiment(folder, judge=scripted(), settings="seed = 8")
    with at_address(BatchServer) as server:
        server.fate = lambda number, name: "expired" if number == 3 else "ok"
        arena("batch", "submit", config)
        arena("batch", "collect", config)
        arena("batch", "submit", config)
        server.fate = lambda number, name: "ok"
        arena("batch", "collect", config)


def at_address(kind: Callable[..., Server]) -> Server:
    """Return a server at the fixed address, once no other process listens there."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return kind(moody, address=ADDRESS)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
            time.sleep(0.05)


EXPERIMENTS: Mapping[str, Callable[[Path], None]] = {
    made.__name__: made for made in (pairwise, letter, pointwise, panel, shards, batch)
}


def arena(*words: object) -> None:
    """Run a command; failures of single battles are part of the record, usage errors are not."""
    quiet = ["--quiet"] if words[0] == "battle" else []
    done = CliRunner().invoke(main, [*map(str, words), *quiet])
    if done.exit_code not in (0, 1) or not isinstance(done.exception, SystemExit | None):
        raise AssertionError(f"arena {words}: exit status {done.exit_code}\n{done.output}")


def written(make: Callable[[Path], None], folder: Path) -> dict[str, Any]:
    """Run an experiment in a folder; returns path → content of what it left there."""
    # One address serves all processes that run tests; those of another TMPDIR have another lock.
    with FileLock(Path(gettempdir()) / "arena-frozen.lock"), _environment(folder):
        make(folder)
    run = folder / "runs" / "x"
    files = {path.relative_to(run).as_posix(): _content(path) for path in _kept(run)}
    files = {name: content for name, content in files.items() if content not in ([], {})}
    return files | {"cache": _cached(folder / "cache")}


def _kept(run: Path) -> Iterator[Path]:
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run).parts
        if inside[0] == "report" and inside[1:2] != ("data",):
            continue
        if path.is_file() and not path.name.startswith(".") and path.name != "version.js":
            yield path


def _content(path: Path) -> Any:
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        rows = [_plain(json.loads(line)) for line in text.splitlines()]
        return sorted(rows, key=lambda row: row.get("judge", ""))  # judges of a panel interleave
    if path.suffix == ".js":
        return _plain(json.loads(text.partition(", ")[2].rpartition(");")[0]))
    if path.suffix == ".json":
        content = _plain(json.loads(text))
        if path.stem in RUN_FILES:
            content.pop("key")  # it holds where the run file is
        return content
    if path.suffix == ".csv":
        return text.splitlines()[:1]  # its figures are those of leaderboard.json
    return text.splitlines()


def _plain(value: Any, key: str = "") -> Any:
    """A value without times, versions and sentences, its numbers rounded."""
    if isinstance(value, dict):
        return {k: _plain(v, k) for k, v in value.items() if not _left_out(k)}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    return value


def _left_out(key: str) -> bool:
    timed = (
        key in CLOCKED
        or key == "histogram"
        or key.endswith(("_ms", "_at", "_per_s"))
        or "latency" in key
    )
    return timed or key in VERSIONED | WORDED | NEWER


def _cached(cache: Path) -> dict[str, Any]:
    """The keys under which replies and vectors are kept."""
    with sqlite3.connect(cache / "verdicts.sqlite") as database:
        keys = [row[0].hex() for row in database.execute("SELECT request FROM replies")]
    vectors = sorted(path.name for path in (cache / "vectors").glob("*"))
    return {"verdicts": sorted(keys), "vectors": vectors}


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    wanted = {"ARENA_CACHE": str(folder / "cache"), "FROZEN_KEY": "none"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def record_all() -> None:
    """Write the record of every experiment anew."""
    RECORDS.mkdir(exist_ok=True)
    for name, make in EXPERIMENTS.items():
        with TemporaryDirectory() as folder:
            found = written(make, Path(folder))
        lines = (f"{json.dumps(key)}: {json.dumps(found[key])}" for key in sorted(found))
        (RECORDS / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
        sys.stdout.write(f"{name}: {', '.join(sorted(found))}\n")


if __name__ == "__main__":
    record_all()
