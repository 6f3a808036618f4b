"""Copy files from object stores, such as ``s3://`` and ``gs://``, through fsspec.

A copy lies in the folder of the cache. It is made when a file is first read, and again only when
the store says that the file has changed. Keys come from the environment or the store's own files,
as its package finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from arena.digest import content_hash
from arena.errors import ArenaError, DataError, WriteError
from arena.files import cache_folder, locked, write_atomically
from arena.optional import needed
from arena.progress import Reporter
from arena.progress import reporter as new_reporter
from arena.redaction import blank, keep_environment
from arena.terminal import one_line

_PACKAGES: Final = {"s3": "s3fs", "gs": "gcsfs"}
"""What fsspec needs for a store."""

_AT_ONCE: Final = 2**22
"""Bytes that are copied at once."""

_LIMITS: Final[dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 10, "retries": {"max_attempts": 4}}}
}
"""Options that end the wait for a store that does not answer."""


def copied(url: str) -> Path:
    """Return this machine's copy of a file.

    Raises:
        DataError: the store cannot be read, or has no such file.
        UsageError: the package for this store is not installed.
        WriteError: the cache's disk is full.
    """
    folder, _, name = url.rpartition("/")
    files = _opened(url)
    with _explained(url):
        version = _version(files, url)
    return _copy(files, url, version, _folder_of(folder) / name)


def copied_folder(
    url: str, is_read: Callable[[str], bool], reporter: Reporter | None = None
) -> Path:
    """Return a folder with copies of some files of a folder, and of the folders in it.

    Args:
        url: of the folder.
        is_read: given a file's path inside the folder, whether to copy it.
        reporter: told how many files are copied.

    Raises:
        DataError, UsageError, WriteError: as `copied`.
    """
    files = _opened(url)
    with _explained(url):
        files.ls(url, detail=False)  # which raises what `find` takes for an empty folder
        names = [_name_in(url, path) for path in files.find(url, maxdepth=2)]
        versions = {name: _version(files, f"{url}/{name}") for name in filter(is_read, names)}
        if not versions:
            raise FileNotFoundError(url)
    folder = _folder_of(url)
    for old in [path for path in folder.rglob("*") if path.is_file()]:
        name = old.relative_to(folder).as_posix()
        if is_read(name) and name not in versions:
            old.unlink(missing_ok=True)  # the store has it no more
    told = reporter or new_reporter(quiet=True)
    with told.stage(f"copy {url}", len(versions)) as stage:
        for number, (name, version) in enumerate(versions.items(), start=1):
            _copy(files, f"{url}/{name}", version, folder / name)
            stage.update(number)
    return folder


def _name_in(url: str, path: str) -> str:
    """Return a file's path inside the folder; stores list paths without their scheme."""
    return path.removeprefix(url.partition("://")[2]).lstrip("/")


def _version(files: Any, url: str) -> str:
    """Return what changes with a file.

    A store describes a file in a listing otherwise than alone. The tag of its content is the same.
    """
    facts = files.info(url)
    tag = facts.get("ETag") or facts.get("etag")
    return f"{tag} {facts['size']}" if tag else str(files.ukey(url))


def _folder_of(url: str) -> Path:
    return cache_folder() / "remote" / content_hash(url)


def _copy(files: Any, url: str, version: str, path: Path) -> Path:
    """Copy a file, unless the copy is of this version."""
    note = path.with_name(f".{path.name}.version")
    try:
        with locked(path.with_name(f".{path.name}.lock"), wait_s=-1):
            if path.is_file() and note.is_file() and note.read_text() == version:
                return path
            write_atomically(path, _bytes_of(files, url), sync=False)
            write_atomically(note, [version.encode()], sync=False)
    except OSError as error:
        raise WriteError(path, error) from None
    return path


def _bytes_of(files: Any, url: str) -> Iterator[bytes]:
    with (
        _explained(url),
        files.open(url, "rb", block_size=_AT_ONCE, cache_type="readahead") as file,
    ):
        while chunk := file.read(_AT_ONCE):
            yield chunk


def _opened(url: str) -> Any:
    """Return the file system of an address."""
    keep_environment()  # whatever a store answers, no key of it is shown
    scheme = url.partition("://")[0]
    fsspec = needed("fsspec", url, extra=scheme if scheme in _PACKAGES else "cluster")
    if scheme in _PACKAGES:
        needed(_PACKAGES[scheme], url, extra=scheme)
    with _explained(url):
        # A listing that fsspec remembers would hide what has changed since.
        return fsspec.filesystem(scheme, skip_instance_cache=True, **_LIMITS.get(scheme, {}))


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what the packages of stores raise into one line without keys."""
    try:
        yield
    except ArenaError:
        raise
    except FileNotFoundError:
        raise DataError(url, None, "no such file or folder", "check bucket and path") from None
    except Exception as error:  # noqa: BLE001  each store has errors of its own
        what = one_line(blank(str(error))) or type(error).__name__
        raise DataError(url, None, f"cannot be read: {what}", "check address and keys") from None
