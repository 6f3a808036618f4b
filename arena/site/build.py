"""The site of an experiment: what is on disk becomes pages, scripts and data."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from arena.auditing.report import to_json as audit_json
from arena.digest import digest
from arena.errors import UsageError, WriteError
from arena.files import write_atomically
from arena.rating.leaderboard_cost import cost_inputs, ownership
from arena.rating.rate_files import write_leaderboard
from arena.site import data_files as chunks
from arena.site.data_files import pair_consistency, script, shown_tree
from arena.site.gather import Gathered, check_path, current_leaderboard, gather
from arena.site.latency import latencies
from arena.site.log_columns import NO_REPLY, begun_logs, read_log_columns
from arena.site.model_pages import model_pages
from arena.site.overview import (
    judge_names,
    method_of,
    model_names,
    pairs_by_dataset,
    rated_battles,
    site_of,
)
from arena.site.records import DataFiles, Site
from arena.site.render import Page, assets, render_pages, sources
from arena.store.folder import Folder
from arena.version import __version__

VERSION: Final = "data/version.js"
"""Which log a site shows; a page that is open during a run asks for it now and then."""


def _silent(_: str) -> None:
    """Drop the message."""


def build_site(
    path: Path | str, out: Path | str | None = None, *, log: Callable[[str], None] = _silent
) -> Path:
    """Write the site of an experiment, or of a file of battles; returns its first page.

    A site that already shows just this is left alone. Files are replaced one by one, each whole,
    so that somebody may be looking at it meanwhile.

    Args:
        path: a folder under runs/, or any file that `arena.rate_files` reads.
        out: where to; ``report`` in the folder, or beside the file, if absent.
        log: told what was done, a line at a time.

    Raises:
        UsageError: the path holds no battles and no experiment, or ``out`` holds other files.
        DataError: a file is not what it should be; names file and line.
        WriteError: the site cannot be written.
    """
    path = Path(path)
    check_path(path)
    output = Output(Path(out) if out is not None else default_folder(path))
    read = functools.cache(functools.partial(read_log_columns, path))
    leaderboard, before = None, _rated_state(path)
    if path.is_dir() and begun_logs(path):
        leaderboard = current_leaderboard(path, read)  # before the version, which it is part of
    version = version_of(path)
    if _rated_state(path) != before:
        version = digest(version, "an older log").hex()  # so the next build leaves nothing alone
    first = output.folder / "index.html"
    if not (first.is_file() and output.holds(VERSION, version)):
        site = _write(gather(path, read(), leaderboard), version, output)
        log(f"site: {site.state.sentence}")
        if site.texts_note:
            log(f"note: {site.texts_note}")
    return first


def _rated_state(path: Path) -> list[tuple[Path, int, int]]:
    """Return what tells whether battles were written since."""
    files = Folder(path).rated() if path.is_dir() else []
    states = [(file, file.stat()) for file in files if file.exists()]
    return [(file, state.st_mtime_ns, state.st_size) for file, state in states]


def default_folder(path: Path) -> Path:
    """Return the default folder of a site."""
    return Folder(path).report if path.is_dir() else path.with_name(f"{path.stem}-report")


def input_files(path: Path) -> list[Path]:
    """Return all input files of a site that exist."""
    return Folder(path).published() if path.is_dir() else [path]


def version_of(path: Path) -> str:
    """Return a hash of all inputs of a site: the battles, and the code that draws them."""
    files = ((str(file.relative_to(path)).encode(), file) for file in input_files(path))
    inputs = ((name, _file_hash(file)) for name, file in files)
    own = (__version__.encode(), *(digest(source) for source in sources()))
    return digest(*own, *(part for pair in inputs for part in pair)).hex()


def _file_hash(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, hashlib.blake2b).digest()


def _write(gathered: Gathered, version: str, output: Output) -> Site:
    """Write everything, the first page and the version last."""
    names = chunks.Names(
        models=model_names(gathered),
        datasets=gathered.datasets,
        judges=judge_names(gathered),
        queries=chunks.query_names(gathered.datasets, gathered.shown, gathered.lists, gathered.log),
    )
    site = site_of(gathered, names, _files(gathered), version=version)
    output.begin()
    for file, content in assets():
        output.write(file, content)
    for chunk in _data(gathered, names, site):
        output.write(chunk.file, script(chunk.key, chunk.value))
    if gathered.leaderboard:
        write_leaderboard(gathered.leaderboard, output.folder)
    for file, content in render_pages(shown_tree(site), _pages(gathered, site)):
        output.write(file, content)
    progress = {"version": version, "complete": site.state.complete}
    output.write(VERSION, script("version", progress))
    output.finish()
    return site


def _files(gathered: Gathered) -> DataFiles:
    details = gathered.log.details if gathered.log else None
    n_battles = len(gathered.log.battles) if gathered.log else 0
    return DataFiles(
        battles=-(-n_battles // chunks.BATTLE_ROWS),
        battles_total=n_battles,
        rows_per_chunk=chunks.BATTLE_ROWS,
        replies_per_chunk=chunks.REPLY_ROWS,
        shown_chunk=chunks.shown_chunk_size(gathered.shown),
        has_texts=bool(gathered.shown),
        has_replies=details is not None and bool((details.reply != NO_REPLY).any()),
        has_audit=not isinstance(gathered.audit, str),
    )


def _data(gathered: Gathered, names: chunks.Names, site: Site) -> Iterator[chunks.Chunk]:
    """Yield all data files; those that hold battles or texts are made as they are written."""
    if gathered.log:
        consistency = pair_consistency(gathered.log.battles, gathered.lists)
        yield from chunks.battle_chunks(gathered.log, consistency, names)
        if gathered.log.details:
            yield from chunks.reply_chunks(gathered.log.details)
    for number, dataset in enumerate(names.datasets):
        if dataset in gathered.shown:
            texts, size = gathered.shown[dataset], site.files.shown_chunk
            yield from chunks.shown_chunks(number, texts, size)
    yield from chunks.query_chunks(names, gathered.shown, gathered.lists)
    yield chunks.Chunk("pairs", pairs_by_dataset(gathered, names))
    yield chunks.Chunk("latency", latencies(gathered.stats))
    yield chunks.Chunk("audit", _audit(gathered))
    if gathered.leaderboard is not None and gathered.leaderboard.usage is not None:
        yield chunks.Chunk("cost", cost_inputs(gathered.leaderboard))
    yield chunks.Chunk("site", site)


def _pages(gathered: Gathered, site: Site) -> Iterator[Page]:
    texts = {
        (dataset, query.query_id): query.text
        for dataset, shown in gathered.shown.items()
        for query in shown.queries
    }
    latency = latencies(gathered.stats)
    for page in model_pages(site, rated_battles(gathered), gathered.lists, texts, latency):
        yield Page("model.html", page.model.file, "model", {"page": shown_tree(page)})
    yield Page("compare.html", "compare.html", "compare", {})
    yield Page("battles.html", "battles.html", "battles", {})
    yield Page("judge.html", "judge.html", "judge", {"audit": shown_tree(_audit(gathered))})
    yield Page("method.html", "method.html", "method", {"method": shown_tree(method_of(gathered))})
    more = {"owned": _owned(gathered), "behind": _behind(gathered)}
    yield Page("index.html", "index.html", "leaderboard", more)


def _behind(gathered: Gathered) -> dict[str, dict[str, Any]]:
    """Return metric → model → its difference from the best model, for metrics of arena.toml."""
    board = gathered.leaderboard
    if board is None:
        return {}
    behind: dict[str, dict[str, Any]] = {}
    for row in board.overall:
        behind |= {metric: behind.get(metric, {}) for metric in row.named_metrics}
    for lead in board.metric_differences:
        ends = None
        if lead.lower is not None and lead.upper is not None:
            ends = (-lead.upper, -lead.lower)
        behind[lead.metric][lead.b] = {"difference": -lead.difference, "ends": ends}
    return behind


def _owned(gathered: Gathered) -> dict[str, Any] | None:
    """Return the costs of the models for the load of the arena.toml; None without one."""
    board = gathered.leaderboard
    if board is None or board.usage is None:
        return None
    owned = ownership(board, board.usage)
    tree: dict[str, Any] = shown_tree({"costs": owned.costs, "advice": owned.recommendation})
    return tree


def _audit(gathered: Gathered) -> dict[str, Any] | None:
    return None if isinstance(gathered.audit, str) else audit_json(gathered.audit)


_MARK = "data/version.js"
"""Every site has it, from the start."""

_MARKED = b'arena.put("version", '
_OURS = ("assets/**/*", "data/*.js", "models/*.html")
"""What a site leaves behind when it has fewer models or battles than before."""


class Output:
    """Writes files that have changed, each whole or not at all; removes those left over.

    Args:
        folder: made where it is missing.

    Raises:
        UsageError: it holds files, and no site.
    """

    def __init__(self, folder: Path) -> None:
        try:
            others = folder.exists() and (folder.is_file() or any(folder.iterdir()))
        except OSError as error:
            raise WriteError(folder, error) from None
        if others and not _is_site(folder):
            raise UsageError(f"{folder}: holds other files; give an empty folder, or a new one")
        self.folder = folder
        self._before = {path for pattern in _OURS for path in folder.glob(pattern)}
        self._written: set[Path] = set()

    def begin(self) -> None:
        """Mark the folder as a site's, so that a build that is cut short may be begun again."""
        if not (self.folder / _MARK).is_file():
            self.write(_MARK, b"")

    def write(self, name: str, data: bytes) -> None:
        """Write one file, unless it holds just that already."""
        path = self.folder / name
        self._written.add(path)
        try:
            if path.is_file() and path.read_bytes() == data:
                return
        except OSError as error:
            raise WriteError(path, error) from None
        write_atomically(path, [data], sync=False)

    def holds(self, name: str, text: str) -> bool:
        """Return whether a file that was written before contains this."""
        path = self.folder / name
        return path.is_file() and text.encode() in path.read_bytes()

    def finish(self) -> None:
        """Remove what an earlier site had and this one has not."""
        for path in self._before - self._written:
            if path.is_file():
                path.unlink(missing_ok=True)


def _is_site(folder: Path) -> bool:
    """Return whether a folder holds a site, or the beginning of one."""
    mark = folder / _MARK
    if not mark.is_file():
        return False
    content = mark.read_bytes()
    return not content or content.startswith(_MARKED)
