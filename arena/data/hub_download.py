"""Download data sets of the Hugging Face hub into the cache that all its libraries share."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Final

from arena.data.huggingface_splits import SUFFIXES, Patterns, declared_patterns
from arena.errors import DataError
from arena.optional import needed
from arena.redaction import keep_environment
from arena.terminal import is_terminal, one_line

_USUAL: Final = tuple(
    f"{name}*{suffix}"
    for name in ("corpus", "quer", "qrels", "default", "data")
    for suffix in SUFFIXES
)
"""The files of a data set whose README says nothing of them; ``*`` matches slashes, too."""

_CACHE_ERRORS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
)
"""What a full or forbidden disk answers; errors of the network have none of these numbers."""

_TIMEOUT_S: Final = 10.0
"""Longest wait for the hub to say that a data set is there."""


def fetch_dataset(repo: str, revision: str | None, *, subset: str | None = None) -> Path:
    """Return the folder with a data set's files; fetch those that the cache lacks.

    The library's own settings apply: ``HF_TOKEN``, ``HF_HOME``, ``HF_ENDPOINT``,
    ``HF_HUB_OFFLINE``.

    Args:
        repo: ``owner/name``.
        revision: a commit, tag or branch; None for what is newest.
        subset: of data sets in several parts, the only one whose files are fetched.

    Returns:
        The folder of the snapshot; its name is the commit.

    Raises:
        DataError: the hub has no such data set or revision, needs a token, or is out of reach; or
            the cache has no room.
        UsageError: ``huggingface_hub`` is not installed.
    """
    if repo.count("/") != 1 or repo.startswith((".", "/", "~")):
        remedy = 'expected hf = "owner/name", or a folder'
        raise DataError(repo, None, "no such folder, and no name of a data set on the hub", remedy)
    first = _snapshot(repo, revision, ["README.md"])
    # The revision could change in between: both requests must use the same commit.
    commit = first.name
    patterns = _wanted(declared_patterns(first / "README.md"), subset)
    return _snapshot(repo, commit, ["README.md", *patterns])


def _wanted(declared: Patterns, subset: str | None) -> list[str]:
    names = [name for name in declared if subset is None or subset in name]
    patterns = (pattern for name in names for paths in declared[name].values() for pattern in paths)
    return list(dict.fromkeys(patterns)) or list(_USUAL)


def _snapshot(repo: str, revision: str | None, patterns: list[str]) -> Path:
    library = needed("huggingface_hub", repo)
    errors = needed("huggingface_hub.errors", repo)
    keep_environment()  # where HF_TOKEN is, which an answer may repeat
    if not is_terminal(sys.stderr):  # bars are for people who watch
        needed("huggingface_hub.utils", repo).disable_progress_bars()
    try:
        if not _is_cached(repo, revision):
            # One request: the library would try for half a minute to reach an unreachable hub.
            library.HfApi().dataset_info(repo, revision=revision or "main", timeout=_TIMEOUT_S)
        folder = library.snapshot_download(
            repo, repo_type="dataset", revision=revision, allow_patterns=patterns
        )
    except errors.GatedRepoError:
        remedy = f"accept them at https://huggingface.co/datasets/{repo} and set HF_TOKEN"
        raise DataError(repo, None, "has terms that must be accepted first", remedy) from None
    except errors.RevisionNotFoundError:
        remedy = "give a commit, tag or branch that it has"
        raise DataError(repo, None, f"has no revision {revision!r}", remedy) from None
    except errors.RepositoryNotFoundError:
        what = "neither a folder nor a data set of the hub"
        raise DataError(repo, None, what, "check the name; a private one needs HF_TOKEN") from None
    except errors.HFValidationError as error:
        raise DataError(repo, None, " ".join(str(error).split())) from None
    except Exception as error:  # noqa: BLE001, no answer of a hub may be a bug of ours
        if isinstance(error, OSError) and error.errno in _CACHE_ERRORS:
            cache = needed("huggingface_hub.constants", repo).HF_HUB_CACHE
            what = f"cannot be stored in the cache {cache}: {error.strerror}"
            remedy = "free space, or set HF_HOME to a folder on another disk"
            raise DataError(repo, None, what, remedy) from None
        what = f"cannot be fetched, and is not in the cache: {_reason(error)}"
        remedy = 'check the network, or give the folder of a copy: hf = "folder"'
        raise DataError(repo, None, what, remedy) from None
    return Path(folder)


def _is_cached(repo: str, revision: str | None) -> bool:
    """Return whether the cache has any file of a revision, and so perhaps all of them."""
    library = needed("huggingface_hub", repo)
    try:
        library.snapshot_download(
            repo, repo_type="dataset", revision=revision, local_files_only=True, allow_patterns=[]
        )
    except OSError:
        return False
    return True


def _reason(error: BaseException) -> str:
    """Return the first line of the original error; the library wraps it into advice."""
    line = str(error.__cause__ or error).strip().partition("\n")[0]
    return one_line(line, most=200)
