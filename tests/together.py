"""Which tests one worker runs: those of a file, and those that share what is slow to start.

For ``pytest -n N --dist loadgroup``. A group is a mark ``xdist_group``, and may span files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadGroupScheduling

TORCH = pytest.mark.xdist_group("torch")
"""Marks tests that import PyTorch, or the library datasets with it: that takes five seconds."""

MATPLOTLIB = pytest.mark.xdist_group("matplotlib")
"""Marks tests that draw with matplotlib."""

STATISTICS = pytest.mark.xdist_group("statistics")
"""Marks tests that use `scipy.stats`, which they import by its first use: that takes a second."""

SOURCE = pytest.mark.xdist_group("source")
"""Marks tests that parse the whole source."""


def mark(items: list[pytest.Item]) -> None:
    """Group what runs in the browser, and put what takes longest first."""
    for item in items:
        if {"sites", "browser"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.xdist_group("browser"))
    items.sort(key=_group)


def _group(item: pytest.Item) -> tuple[bool, str]:
    group = item.get_closest_marker("xdist_group")
    return group is None, group.args[0] if group else ""


def scheduler(config: pytest.Config, log: Producer) -> LoadGroupScheduling | None:
    """Return what gives whole groups and whole files to workers, in the order of the items."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class _FilesAndGroups(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            group = super()._split_scope(nodeid)
            return group.partition("::")[0]

    config.option.loadscopereorder = False
    return _FilesAndGroups(config, log)
