"""Files are cut once for each content: what is kept, when it counts, and what one file may cost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from pdf_file import pdf
from reading import start_readers

from arena.checking.check import check
from arena.cli import main
from arena.data.corpus import corpus_hash
from arena.data.documents.load import load_documents
from arena.data.documents.reader_processes import Cutter
from arena.errors import UsageError
from arena.files import cache_folder
from arena.progress import Plain, reporter
from arena.records import Dataset

pytestmark = pytest.mark.usefixtures("one_reader")

DAMAGED = "\x00not what was kept"
LOAD = """
import sys
from pathlib import Path
from arena.data.corpus import corpus_hash
from arena.data.documents import passage_cache
from arena.data.documents.load import load_documents
passage_cache._EVERY_S = 0.1  # in place of the second of work that may be lost
print("ready", flush=True)
input()
print(corpus_hash(load_documents(Path(sys.argv[1]), "d", passage_words=200).corpus))
"""

SLOW_PDF = """
import time

class PdfiumError(Exception):
    pass

def PdfDocument(raw):
    time.sleep({seconds})
    raise PdfiumError("slow")
"""

BREAKING = """
import os, signal, sys

class PdfiumError(Exception):
    pass

def PdfDocument(raw):
    if b"crash" in raw:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"memory" in raw:
        bytearray(1 << 44)
    if b"odd" in raw:
        raise RuntimeError("odd\\nthing")
    if b"output" in raw:
        sys.stdout.write("x" * 99)
        raise ValueError
    while True:
        pass
"""


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# One\n\nThe first text.\n")
    (folder / "b.html").write_text("<title>Two</title><p>The second text.")
    (folder / "c.pdf").write_bytes(pdf([["The third text."]]))
    (folder / "d.txt").write_bytes(b"na\xefve")
    return folder


@pytest.fixture
def cuts(one_reader: None, monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each content is cut."""
    counted: Counter[bytes] = Counter()
    cut = Cutter.cut

    def counting(self: Cutter, raw: bytes, suffix: str, words: int) -> tuple[bytes, bool]:
        counted[raw] += 1
        return cut(self, raw, suffix, words)

    monkeypatch.setattr(Cutter, "cut", counting)
    return counted


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a module in the place of a package that reads documents, for processes to come."""
    folder = tmp_path / "poison"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def put(package: str, code: str) -> None:
        (folder / f"{package}.py").write_text(code)

    return put


def load(folder: Path, words: int = 200) -> Dataset:
    return load_documents(folder, "docs", passage_words=words)


def test_a_second_run_reads_no_file_again(
    docs: Path, poison, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(docs)
    start_readers(monkeypatch)
    for package in ("semantic_text_splitter", "selectolax", "markdown_it", "pypdfium2", "bs4"):
        poison(package, f"raise ModuleNotFoundError(name={package!r})")

    second = load(docs)

    assert second == first
    assert len(second.corpus) == 3
    assert "d.txt (not UTF-8 at byte 3" in second.notes[0]
    (docs / "a.md").write_text("changed")
    with pytest.raises(UsageError, match="semantic_text_splitter"):
        load(docs)


def test_a_changed_file_is_cut_again_alone_and_a_moved_one_not(
    docs: Path, cuts: Counter[bytes]
) -> None:
    load(docs)
    before = cuts.copy()
    (docs / "a.md").write_text("# One\n\nAnother text.\n")
    (docs / "b.html").rename(docs / "z.html")
    os.utime(docs / "c.pdf")

    dataset = load(docs)

    assert cuts - before == Counter([b"# One\n\nAnother text.\n"])
    assert dataset.corpus["a.md#1"].text == "# One\n\nAnother text."
    assert dataset.corpus["z.html#1"].title == "Two"


def test_a_content_of_the_same_size_and_age_is_told_from_another(docs: Path) -> None:
    load(docs)
    path = docs / "a.md"
    status = path.stat()
    path.write_text("# One\n\nThe forst text.\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert load(docs).corpus["a.md#1"].text == "# One\n\nThe forst text."


def test_another_length_kind_or_reader_is_cut_anew(
    docs: Path, cuts: Counter[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (docs / "e.md").write_bytes((docs / "b.html").read_bytes())
    load(docs)
    load(docs, words=20)
    monkeypatch.setattr("arena.data.documents.file_passages._readers", lambda: b"other")
    load(docs)

    assert cuts[(docs / "a.md").read_bytes()] == 3
    assert cuts[(docs / "b.html").read_bytes()] == 6


def test_what_is_kept_is_kept_for_these_readers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from arena.data.documents.file_passages import _readers

    here = _readers()
    _readers.cache_clear()
    monkeypatch.setattr("arena.data.documents.file_passages._version", lambda _: "99")
    there = _readers()
    _readers.cache_clear()

    assert here != there


@pytest.mark.parametrize("damage", ["row", "kind", "file"])
def test_a_damaged_cache_is_read_around(
    docs: Path, cuts: Counter[bytes], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = load(docs)
    path = cache_folder() / "passages.sqlite"
    if damage == "file":
        path.write_text(DAMAGED * 1000)
    else:
        with sqlite3.connect(path) as database:
            database.execute("UPDATE cuts SET cut = ?", [DAMAGED if damage == "kind" else b"\x78"])
        database.close()

    assert load(docs) == first

    assert set(cuts.values()) == {2}
    assert ("cannot be used" in caplog.text) == (damage == "file")


def test_a_cache_that_cannot_be_written_costs_time_alone(
    docs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = load(docs)
    (docs.parent / "file").write_text("")
    monkeypatch.setenv("ARENA_CACHE", str(docs.parent / "file" / "cache"))

    assert load(docs) == first

    assert caplog.text.count("cannot be used") == 1


def test_several_processes_fill_the_cache_at_once(docs: Path, cuts: Counter[bytes]) -> None:
    for number in range(20):
        (docs / f"{number}.md").write_text(f"# {number}\n\nText {number}.\n")

    with loading(docs) as running:
        start(running)
        here = load(docs)
        there, _ = running.communicate()

    assert running.returncode == 0
    assert there.split() == [corpus_hash(here.corpus)]
    cuts.clear()
    load(docs)
    assert not cuts


def loading(docs: Path) -> subprocess.Popen[str]:
    """A process that loads the documents once it is told to."""
    program = f"import sys\nsys.path[:] = {sys.path!r}\n{LOAD}"
    return subprocess.Popen(
        [sys.executable, "-c", program, str(docs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def start(running: subprocess.Popen[str]) -> None:
    assert running.stdout
    assert running.stdin
    assert running.stdout.readline() == "ready\n"
    running.stdin.write("\n")
    running.stdin.flush()


def test_a_process_killed_in_the_middle_loses_a_second_of_work_at_most(
    docs: Path, cuts: Counter[bytes], poison
) -> None:
    poison("pypdfium2", SLOW_PDF.format(seconds=0.3))
    for number in range(16):
        (docs / f"{number:02}.pdf").write_bytes(pdf([[f"Page {number}."]]))
    with loading(docs) as running:
        start(running)
        while not _kept():
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    n_kept = _kept()

    dataset = load(docs)

    assert 1 <= n_kept < 20
    assert cuts.total() == 20 - n_kept
    assert f"cannot be read, ignored: {1 + n_kept}" in dataset.notes[0]


def _kept() -> int:
    """Rows that other processes would find."""
    path = cache_folder() / "passages.sqlite"
    if not path.exists():
        return 0
    database = sqlite3.connect(path)
    try:
        return int(database.execute("SELECT COUNT(*) FROM cuts").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not made yet
    finally:
        database.close()


@pytest.mark.parametrize(
    ("problems", "kept"),
    [
        (
            {
                "crash": "ends its reader (SIGSEGV)",
                "odd": "cannot be read (RuntimeError: odd thing)",
                "output": "cannot be read (ValueError",
            },
            False,
        ),
        (
            {
                "memory": "takes more memory than a document may",
                "time": "takes more than 1 s to read; cut it into several files",
            },
            True,
        ),
    ],
    ids=["may be read another time", "will never be read"],
)
def test_a_file_that_breaks_its_reader_costs_that_file_alone(  # noqa: PLR0913, PLR0917
    docs: Path,
    own_readers: None,
    cuts: Counter[bytes],
    poison,
    monkeypatch: pytest.MonkeyPatch,
    problems: dict[str, str],
    kept: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr("arena.data.documents.passages._n_processors", lambda: 2)
    monkeypatch.setattr("arena.data.documents.reader_processes.BASE_S", 0.6)
    poison("pypdfium2", BREAKING)
    (docs / "c.pdf").unlink()
    (docs / "d.txt").unlink()
    for name in problems:
        (docs / f"{name}.pdf").write_text(name)
    (docs / "z.md").write_text("The last text.")

    dataset = load(docs)
    load(docs)

    assert sorted(dataset.corpus) == ["a.md#1", "b.html#1", "z.md#1"]
    for name, problem in problems.items():
        assert f"{name}.pdf ({problem}" in dataset.notes[0]
        assert cuts[name.encode()] == 2 - kept
    assert dataset.notes[0].isprintable()


def test_a_file_that_may_not_be_read_is_named(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refused(path: object, *flags: int, **options: int) -> int:
        if str(path).endswith("a.md"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *flags, **options)

    monkeypatch.setattr("arena.data.documents.passages.os.open", refused)

    assert "a.md (cannot be read: Permission denied)" in load(docs).notes[0]


def test_a_file_that_is_too_large_is_named_and_not_read(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.data.documents.passages.LARGEST", 2**20)
    with (docs / "huge.txt").open("wb") as file:
        file.truncate(2**20 + 1)

    assert "huge.txt (has more than 1 MB; cut it into several files)" in load(docs).notes[0]


def test_progress_is_told_in_files_and_only_where_it_takes_long(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr("arena.data.documents.passages._SILENT_S", 3600.0)
    load_documents(docs, "d", passage_words=200, progress=Plain(lines.append))
    assert not lines
    monkeypatch.setattr("arena.data.documents.passages._SILENT_S", 0.0)
    (docs / "a.md").write_text("changed")

    load_documents(docs, "d", passage_words=200, progress=Plain(lines.append))

    assert lines[-1].startswith("files read: 4/4")


def test_no_process_outlives_the_reading(
    docs: Path, own_readers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.data.documents.passages._n_processors", lambda: 2)

    def children() -> set[str]:
        found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
        return set(found.read_text().split()) if found.exists() else set()

    before = children()
    load(docs)

    assert children() <= before


def test_check_waits_for_documents_as_long_as_they_are_read(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Cutter.cut

    def slow(self: Cutter, raw: bytes, suffix: str, words: int) -> tuple[bytes, bool]:
        time.sleep(0.1)
        return cut(self, raw, suffix, words)

    monkeypatch.setattr(Cutter, "cut", slow)
    monkeypatch.setattr("arena.data.documents.passages._n_processors", lambda: 1)
    monkeypatch.setattr("arena.data.documents.passages._SILENT_S", 0.0)
    for number in range(14):
        (docs / f"{number}.md").write_text(f"Text {number}.")
    (docs.parent / "q.txt").write_text("which text?\n")
    (docs.parent / "arena.toml").write_text(
        '[experiment]\nname = "x"\n'
        '[[datasets]]\nname = "docs"\ndocuments = "docs"\nqueries = "q.txt"\n'
        + "".join(f'[[models]]\nname = "{name}"\nprovider = "bm25"\n' for name in "ab")
        + '[judge]\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )

    report = check(docs.parent / "arena.toml", reporter(quiet=True), timeout_s=1.2)

    assert {row.name: row.state for row in report.rows}["docs"] == "ok"


def test_queries_names_the_files_that_are_left_aside(docs: Path) -> None:
    (docs / "plan.zip").write_bytes(b"PK")
    (docs / "a.md").write_text("# One\n\n" + "The first text of several words. " * 5)

    ended = CliRunner().invoke(
        main, ["queries", "--documents", str(docs), "--model", "m", "--dry-run"]
    )

    assert ended.exit_code == 0, ended.output
    assert "note: files that cannot be read, ignored: 1 (d.txt" in ended.stderr
    assert "note: files of other kinds, ignored: 1 (1 .zip)" in ended.stderr
