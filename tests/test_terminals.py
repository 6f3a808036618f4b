"""What a real terminal shows, whatever its width, encoding and locale."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from experiments import fair_judge, llm, log_lines, logged, play, write_experiment
from loopback import LoopbackServer
from programs import start_arena
from rich.cells import cell_len

from arena.cli import main

FAMILY = [
    f"organisation/multilingual-embedding-model-{size}-instruct-v2-fp16"
    for size in ("small", "medium", "large", "xlarge", "xxlarge")
]
HOSTILE = "\x1b[31m\x1b]0;owned\x07red\u202egnp.exe"
COLOUR = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Battles of a family of long names, of a hostile one, and of one that few encodings have."""
    models = [*FAMILY, HOSTILE, "東京-モデル"]
    rows = [
        {"model_a": a, "model_b": b, "winner": "model_a", "query_id": f"q{query}", "judge": HOSTILE}
        for query in range(4)
        for a in models
        for b in models
        if a != b
    ]
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def on_terminal(
    arguments: list[str], *, width: int, program: list[str] | None = None, **env: str
) -> tuple[int, str]:
    """The exit status of a command, and what it wrote to a terminal of this width.

    A process of its own is forked; with a ``program``, that is started instead.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    own = {"NO_COLOR": "", "COLUMNS": "", "TERM": "xterm-256color", **env}
    if program:
        child = subprocess.Popen(
            [*program, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, **own},
        )
        started = nullcontext(child)
    else:
        started = start_arena(*arguments, env=own, terminal=os.ttyname(theirs))
    written = bytearray()
    with started as child:
        reader = threading.Thread(target=_read, args=(ours, written))
        reader.start()
        status = child.wait()
        os.close(theirs)  # what reads learns that this was all
        reader.join()
    os.close(ours)
    return status, written.decode(env.get("PYTHONIOENCODING", "utf-8")).replace("\r\n", "\n")


def _read(terminal: int, written: bytearray) -> None:
    with suppress(OSError):  # the other end is closed
        while chunk := os.read(terminal, 65536):
            written += chunk


@pytest.mark.parametrize(
    ("command", "width", "encoding"),
    [
        ("rate", 40, "utf-8"),
        ("rate", 80, "ascii"),
        ("rate", 300, "cp1252"),
        ("audit", 40, "cp1252"),
        ("audit", 80, "ascii"),
    ],
)
def test_no_line_is_wider_than_the_terminal_in_any_encoding(log, command, width, encoding):
    status, shown = on_terminal([command, str(log)], width=width, PYTHONIOENCODING=encoding)

    lines = COLOUR.sub("", shown).splitlines()
    assert status == 0, shown
    assert max(map(cell_len, lines)) <= width
    assert all(line.isprintable() for line in lines)
    assert "Traceback" not in shown


def test_five_of_a_family_are_five_names_at_eighty_columns(log):
    _, shown = on_terminal(["rate", str(log)], width=80)

    sizes = ("small", "medium", "large", "xlarge", "xxlarge")
    head, *rows = COLOUR.sub("", shown).split("\n\n")[1].splitlines()
    assert "win" in head.split()
    names = {row.split()[1] for row in rows}
    assert all(any(f"{size}-" in name for name in names) for size in sizes)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours_gets_none(log, env):
    coloured = on_terminal(["rate", str(log)], width=80)[1]
    plain = on_terminal(["rate", str(log)], width=80, **env)[1]

    assert COLOUR.search(coloured)
    assert not COLOUR.search(plain)


POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ELSEWHERE = {
    "LC_ALL": "tr_TR.UTF-8",
    "TZ": "Pacific/Chatham",
    "PYTHONIOENCODING": "ascii:strict",
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9"),
}
COMMANDS = """
import sys
from arena.cli import main
log, folder, *configs = sys.argv[1:]
for config in configs:
    main(["battle", config], standalone_mode=False)
main(["report", log, "--out", f"{folder}/site"], standalone_mode=False)
print("\f", flush=True)
main(["rate", log, "--output", folder, "--json"], standalone_mode=False)
"""


@dataclass(frozen=True)
class Written:
    printed: dict[str, object]  #: the figures, as JSON
    files: dict[str, bytes]  #: of the leaderboard and the site


def written(log: Path, folder: Path, *configs: Path, **env: str) -> Written:
    """What another process prints and writes of a log, once it has played these experiments."""
    folder.mkdir()
    program = [sys.executable, "-c", COMMANDS, *map(str, (log, folder, *configs))]
    done = subprocess.run(program, env={**os.environ, **env}, capture_output=True, check=False)
    assert done.returncode == 0, done
    return Written(json.loads(done.stdout.partition(b"\f\n")[2]), files_of(folder))


def files_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def elsewhere(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Written, Path]:
    """What a process of another country writes, and the experiment that it plays."""
    folder = tmp_path_factory.mktemp("elsewhere")
    env = {**ELSEWHERE, "ARENA_CACHE": str(folder / "cache")}
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(folder, judge=llm(server.base_url))
        return written(log, folder / "written", config, **env), config


def test_a_locale_changes_no_figure_and_no_file(log, tmp_path, elsewhere):
    runner, usual = CliRunner(), tmp_path / "usual"
    reported = runner.invoke(main, ["report", str(log), "--out", f"{usual}/site"])
    rated = runner.invoke(main, ["rate", str(log), "--output", str(usual), "--json"])

    assert (reported.exit_code, rated.exit_code) == (0, 0)
    expected = Written(json.loads(rated.stdout), files_of(usual))
    assert len(expected.files) > 20
    assert elsewhere[0] == expected
    assert written(log, tmp_path / "posix", **POSIX) == expected


def test_json_moves_no_cursor_and_says_the_same(log):
    _, shown = on_terminal(["rate", str(log), "--json"], width=80)

    assert all(line.isprintable() for line in shown.splitlines())
    assert HOSTILE in {row["model"] for row in json.loads(shown)["overall"]}


RESUMED = """
import time
from arena.progress import reporter
reporter = reporter()
reporter.log("note: \\x1b]0;owned\\x07 a model's word")
with reporter.stage("docs: organisation/a-very-long-model-name-v2@int8", 3748) as stage:
    time.sleep(0.4)
    stage.update(512, "$0.02 of $5.00, Elo 1734 organisation/a-very-long-model-name-v2@int8")
    time.sleep(0.4)
"""


@pytest.mark.parametrize(
    ("width", "encoding", "term"),
    [(40, "utf-8", "xterm"), (80, "ascii", "xterm"), (60, "utf-8", "dumb")],
)
def test_progress_begins_at_what_is_kept_and_stays_on_its_line(width, encoding, term):
    status, shown = on_terminal(
        ["-c", RESUMED], width=width, program=[sys.executable], PYTHONIOENCODING=encoding, TERM=term
    )

    frames = [COLOUR.sub("", line) for line in re.split(r"[\r\n]+|\x1b\[\d*[AK]", shown)]
    frames = [re.sub(r"\x1b\[\?25[lh]", "", frame) for frame in frames]
    assert status == 0, shown
    assert any("512/3,748" in frame for frame in frames)
    assert not any("0/3,748" in frame for frame in frames)
    assert term == "dumb" or max(map(cell_len, frames)) <= width
    assert not {"\x07", "\x1b"} & set("".join(frames))
    assert any("v2@int8" in frame for frame in frames) or width < 60


def test_a_run_on_this_machine_heeds_no_proxy_no_locale_and_no_time_zone(tmp_path, elsewhere):
    _, odd = elsewhere
    with LoopbackServer(fair_judge) as server:
        usual = write_experiment(tmp_path, judge=llm(server.base_url))
        play(usual)

    for config in (odd, usual):
        times = [datetime.fromisoformat(battle.at) for battle in logged(config)]
        assert all(abs(datetime.now(UTC) - at) < timedelta(minutes=10) for at in times)
    rows = [
        [(row["query_id"], row["winner"]) for row in log_lines(config)] for config in (odd, usual)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 36


def test_an_error_repeats_foreign_text_without_its_controls(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f"model_a,model_b,winner\na,b,{HOSTILE}\n", "utf-8")

    status, shown = on_terminal(["rate", str(path)], width=200)

    assert status == 2
    assert shown.startswith("error: ")
    assert "gnp.exe" in shown
    assert all(line.isprintable() for line in shown.splitlines())


def test_a_reader_who_has_seen_enough_ends_it_in_silence(log):
    command = f"{sys.executable} -m arena rate {log} | head -1; echo ${{PIPESTATUS[0]}}"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""
