"""What several test modules share."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
import together
from site_browser import browser, page, sites, visited  # noqa: F401 - fixtures of several modules

from arena import redaction

# Every worker reads every test module, and tests start programs: keep what Python compiles.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

SHARED = Path(__file__).resolve().parents[2] / "shared"

pytest_xdist_make_scheduler = pytest.hookimpl(tryfirst=True, optionalhook=True)(together.scheduler)
pytest_collection_modifyitems = together.mark


@pytest.fixture(autouse=True, scope="module")
def _imports_uncollected() -> None:
    """Keep the garbage collector from what is imported: each run of arena has it look at all."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The reference corpora and judgments; the test is skipped where they are absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("reference data not present")
    return SHARED / "data"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test uses the user's vector cache, or knows a key of the user or of another test."""
    monkeypatch.setattr(redaction, "_known", redaction._Known())
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
