"""What several test modules share."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import together
from hypothesis import settings
from model_folders import networks_loaded_once  # noqa: F401 - of several modules
from reading import lasting_cutter, one_reader, own_readers  # noqa: F401 - of several modules
from site_browser import (  # noqa: F401 - fixtures of several modules
    browser,
    close_browser,
    page,
    phone,
    sites,
)

from arena import redaction
from arena.experiment import live

# Every worker reads every test module, and tests start programs: keep what Python compiles.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Most tests wait for a disk, and none needs one: what is durable is seen in the calls themselves.
_MEMORY = Path("/dev/shm")
if (
    "TMPDIR" not in os.environ
    and os.access(_MEMORY, os.W_OK)
    and shutil.disk_usage(_MEMORY).free > 4 * 2**30
):
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)

# How long an example takes says how busy the machine is, and nothing about the product.
settings.register_profile("suite", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("suite")

SHARED = Path(__file__).resolve().parents[2] / "shared"

# What is imported stays: to walk it again and again takes a tenth of the time of the collection.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from now on; with the usual limits that takes a fiftieth of the time."""
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


pytest_xdist_make_scheduler = pytest.hookimpl(tryfirst=True, optionalhook=True)(together.scheduler)
pytest_collection_modifyitems = pytest.hookimpl(tryfirst=True)(together.mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """Close the browser before a test that needs none, which may start an event loop."""
    try:
        yield
    finally:
        if nextitem is None or "browser" not in nextitem.fixturenames:
            close_browser()


@pytest.fixture(autouse=True, scope="module")
def _imports_uncollected() -> Iterator[None]:
    """Keep the garbage collector from what is imported: each run of arena has it look at all.

    To count what is kept from it looks at all, too; so the count is "some".
    """
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "get_freeze_count", lambda: 1)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The reference corpora and judgments; the test is skipped where they are absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("reference data not present")
    return SHARED / "data"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test uses the user's vector cache, or knows a key of the user or of another test."""
    monkeypatch.setattr(redaction, "_known", redaction._Secrets())
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
