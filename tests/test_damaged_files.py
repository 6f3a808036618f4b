"""Whatever becomes of a file beside the results: one line that says which, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from experiments import play, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.auditing.audit import audit
from arena.errors import ArenaError
from arena.rating.rate_files import rate_files
from arena.site.gather import gather
from arena.site.log_columns import read_log_columns
from arena.site.overview import method_of
from arena.store.manifest import known_gates

FILES = [
    "manifest.json",
    "leaderboard.json",
    "battles.jsonl",
    "failures.jsonl",
    "retrieval/docs/strong.json",
    "retrieval/docs/metrics.json",
    "retrieval/docs/per_query.json",
    "retrieval/docs/shown.jsonl",
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an experiment that was played to its end."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARENA_CACHE", str(folder / "cache"))
        play(write_experiment(folder))
    results = folder / "runs" / "x"
    failure = {"id": "f", "dataset": "docs", "query_id": "q0", "model_a": "strong", "judge": "j"}
    more = {"model_b": "weak", "prompt": "", "reason": "timeout", "detail": "late"}
    (results / "failures.jsonl").write_text(json.dumps(failure | more) + "\n")
    rate_files([results])
    return results


def check_that_what_goes_wrong_is_one_line(folder: Path, damaged: str) -> None:
    """Check that reading a folder as the commands do works, or fails with one line."""
    for read in (
        lambda: rate_files([folder]),
        lambda: audit(folder),
        lambda: method_of(gather(folder, read_log_columns(folder))),
        lambda: known_gates(folder),
    ):
        try:
            read()
        except ArenaError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert Path(damaged).name in str(error) or "line" in str(error)  # noqa: PT017


def copy(results: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(results, to)
    return to


@each_row("damaged", FILES)
@each_row(
    "content",
    [b"", b"\x00" * 9, b"[" * 99_999, b'{"a":' * 99_999, b"[]\n", b"{}\n", b"9" * 5000, None],
)
def test_a_file_that_holds_something_else_is_one_line(
    results: Path, tmp_path: Path, damaged: str, content: bytes | None
) -> None:
    folder = copy(results, tmp_path / "copy")
    (folder / damaged).unlink(missing_ok=True)
    if content is None:
        (folder / damaged).mkdir()
    else:
        (folder / damaged).write_bytes(content)

    check_that_what_goes_wrong_is_one_line(folder, damaged)


def nodes(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a tree of JSON."""
    yield path
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from nodes(value, (*path, key))


ODD = st.sampled_from(
    [None, True, -1, 1.5, 10**30, "", "x", "\x1b[31m", [], {}, [None], {"a": []}, float("1e308")]
)


@settings(max_examples=40)
@given(data=st.data())
def test_a_value_of_another_kind_anywhere_is_one_line(
    results: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = data.draw(st.sampled_from(FILES))
    folder = copy(results, tmp_path_factory.mktemp("odd") / "copy")
    text = (folder / damaged).read_text("utf-8") if (folder / damaged).exists() else "{}"
    lines = text.splitlines() if damaged.endswith("l") else [text]
    number = data.draw(st.integers(0, len(lines) - 1))
    tree = [json.loads(lines[number])]
    *path, last = data.draw(st.sampled_from(list(nodes(tree))[1:]))
    place = tree
    for step in path:
        place = place[step]
    place[last] = data.draw(ODD)
    lines[number] = json.dumps(tree[0])
    (folder / damaged).write_text("\n".join(lines) + "\n", "utf-8")

    check_that_what_goes_wrong_is_one_line(folder, damaged)
