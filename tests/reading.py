"""One process that cuts the documents of many tests, since each start of one takes time."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Final

import pytest

from arena.data.documents.reader_processes import Cutter

_CUT: Final = Cutter.cut


@pytest.fixture(scope="session")
def lasting_cutter() -> Iterator[Cutter]:
    """Yield a process that cuts files, and that starts again after a file that ends it."""
    with Cutter() as cutter:
        yield cutter


@pytest.fixture
def one_reader(lasting_cutter: Cutter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process cut all files, one after another."""
    share(lasting_cutter, monkeypatch)


def share(lasting_cutter: Cutter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process cut all files from now on, one after another."""
    lock = Lock()

    def cut_there(_: Cutter, raw: bytes, suffix: str, words: int) -> tuple[bytes, bool]:
        with lock:
            return _CUT(lasting_cutter, raw, suffix, words)

    monkeypatch.setattr(Cutter, "cut", cut_there)


@pytest.fixture
def own_readers(one_reader: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each load start its processes, as arena does, in a module that shares one."""
    start_readers(monkeypatch)


def start_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each load start its processes from now on."""
    monkeypatch.setattr(Cutter, "cut", _CUT)
