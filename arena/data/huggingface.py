"""Read Hugging Face data sets in the layout of mteb's retrieval tasks, from the hub or a folder.

There are three configurations. ``corpus`` has _id, title, text. ``queries`` has _id, text.
``default`` or ``qrels`` has query-id, corpus-id, score, with a table for each split. Data sets in
several parts have ``<part>-corpus`` and so on. Files are .parquet, .jsonl, .jsonl.gz or, for qrels,
.tsv.

Source: Muennighoff et al., MTEB (EACL 2023, doi:10.18653/v1/2023.eacl-main.148), and its
RetrievalDatasetLoader.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from arena.data.corpus import collect
from arena.data.rows import Row, documents, json_rows, queries, row_id, unique
from arena.data.trec import Grade, check_qrels, grade_lines, whole_grade
from arena.errors import DataError
from arena.optional import needed
from arena.records import Dataset, Document, Qrels, Query
from arena.redaction import keep_environment
from arena.terminal import is_terminal, one_line

_ROWS_AT_ONCE: Final = 1024
"""Of a Parquet file in memory: a corpus of any size is read in the space of a few megabytes."""


@dataclass(frozen=True, slots=True)
class HfSource:
    """Which data set, and which part of it."""

    place: str  #: a folder, or the hub's ``owner/name``
    split: str = "test"
    subset: str | None = None
    revision: str | None = None


def load_hf(source: HfSource, name: str, *, corpus_alone: bool = False) -> Dataset:
    """Read a data set of mteb's layout.

    Queries without a grade in the split belong to other splits. arena leaves them out and counts
    them, as mteb does. It keeps all queries if the data set has no qrels.

    Args:
        source: which data set.
        name: what configs, runs and battles call it.
        corpus_alone: whether to read neither queries nor qrels, since others take their place.

    Raises:
        DataError: naming file and row, or the hub and what it said.
        UsageError: a package is not installed.
    """
    folder, notes = _folder(source)
    tables = find_tables(folder)

    def files(kind: str) -> tuple[Path, ...]:
        splits = choose_table(tables, kind, source.subset, folder)
        where = f"{source.place} ({kind})"
        return choose_split(splits, source.split, where, only=kind != "qrels") if splits else ()

    # All of them are found before the first is read: a corpus can take minutes.
    kinds = ("corpus",) if corpus_alone else ("corpus", "queries", "qrels")
    found = {kind: files(kind) for kind in kinds}
    mended: list[str] = []
    rows = _rows(found["corpus"], ("_id", "id", "title", "text"), mended)
    corpus = collect(documents(rows), folder)
    if corpus_alone:
        return Dataset(name, corpus, {}, {}, (*notes, *mended))
    asked = unique(queries(_rows(found["queries"], ("_id", "id", "text"), mended)), folder)
    qrels, more = _qrels(found["qrels"], corpus, asked)
    notes += (*mended, *more)
    if qrels and (left_aside := len(asked) - len(qrels)):
        notes += (f"queries without a grade in split {source.split}, left aside: {left_aside}",)
        asked = {query_id: query for query_id, query in asked.items() if query_id in qrels}
    return Dataset(name, corpus, asked, qrels, notes)


def table_rows(source: HfSource, columns: Sequence[str]) -> tuple[Iterator[Row], tuple[str, ...]]:
    """Return the rows of a single-table data set, such as one of questions and answers.

    Returns:
        The rows, read as they are asked for, and what a reader of the results should know.

    Raises:
        DataError: there is no such table or split, or a file cannot be read.
    """
    folder, notes = _folder(source)
    tables = find_tables(folder)
    name = source.subset or ("default" if "default" in tables else next(iter(tables)))
    if name not in tables:
        what = f"no configuration {name!r} among {', '.join(sorted(tables))}"
        raise DataError(folder, None, what, "choose one of them with subset")
    where = f"{source.place} ({name})"
    return _rows(choose_split(tables[name], source.split, where, only=False), columns), notes


def _folder(source: HfSource) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of the data set; fetch it if it is on the hub."""
    if (folder := Path(source.place)).is_dir():
        return folder, ()
    snapshot = fetch(source.place, source.revision, subset=source.subset)
    pinned = source.revision == snapshot.name
    note = f'fetched at revision = "{snapshot.name}", which pins it'
    return snapshot, () if pinned else (note,)


def _rows(
    paths: Sequence[Path], columns: Sequence[str], notes: list[str] | None = None
) -> Iterator[Row]:
    for path in paths:
        if path.name.endswith(".parquet"):
            yield from _parquet_rows(path, columns)
        else:
            yield from json_rows(path, notes=notes)


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    parquet = needed("pyarrow.parquet", str(path))
    arrow = needed("pyarrow", str(path))
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            known = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=known):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(path, number, fields)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"not readable as Parquet: {' '.join(str(error).split())}"
        raise DataError(path, number + 1, what, "fetch the file again") from None


def _qrels(
    paths: Sequence[Path], corpus: Mapping[str, Document], asked: Mapping[str, Query]
) -> tuple[Qrels, tuple[str, ...]]:
    if not paths:
        return {}, ()
    grades = (grade for path in paths for grade in _grades(path, asked))
    return check_qrels(grades, paths[0], corpus, asked)


def _grades(path: Path, asked: Mapping[str, Query]) -> Iterator[Grade]:
    if path.suffix == ".tsv":
        yield from grade_lines(path, asked)
        return
    for row in _rows([path], ("query-id", "corpus-id", "score")):
        query_id, doc_id = row_id(row, ("query-id",)), row_id(row, ("corpus-id",))
        grade = whole_grade(row.fields.get("score"), path, row.number)
        yield Grade(path, row.number, query_id, doc_id, grade)


Patterns = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Configuration → split → glob patterns, relative to the data set's folder."""

Tables = Mapping[str, Mapping[str, tuple[Path, ...]]]
"""Configuration → split → files, in the order in which they are to be read."""

SUFFIXES: Final = (".parquet", ".jsonl", ".jsonl.gz", ".tsv")
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_KINDS: Final = {"corpus": ("corpus",), "queries": ("queries", "query"), "qrels": ("qrels",)}


def declared_patterns(readme: Path) -> Patterns:
    """Return the files that a README.md declares; empty without a declaration or a README.md.

    Raises:
        DataError: its YAML is damaged, or names a file outside of the data set.
        UsageError: PyYAML is not installed.
    """
    try:
        text = readme.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(readme, None, f"cannot be read: {error.strerror}") from None
    found = _FRONT_MATTER.match(text)
    if found is None or "configs" not in found[1]:
        return {}
    yaml = needed("yaml", str(readme))
    try:
        tree = yaml.safe_load(found[1])
        return {
            str(config["config_name"]): {
                split: tuple(_inside(pattern, config.get("data_dir"), readme) for pattern in paths)
                for split, paths in _data_files(config.get("data_files", "**"))
            }
            for config in tree.get("configs", ())
        }
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        what = f"its configs cannot be read: {' '.join(str(error).split())}"
        raise DataError(readme, None, what, "see the hub's page on manual configuration") from None


def find_tables(folder: Path) -> Tables:
    """Find the tables of a data set's folder; files that README.md declares may be missing.

    Raises:
        DataError: nothing looks like a table.
    """
    tables = {
        name: {split: _matching(folder, patterns) for split, patterns in splits.items()}
        for name, splits in declared_patterns(folder / "README.md").items()
    } or _undeclared(folder)
    if not tables:
        remedy = "expected README.md with configs, or folders called corpus, queries and qrels"
        raise DataError(folder, None, "no tables in it", remedy)
    return tables


def choose_table(
    tables: Tables, kind: str, subset: str | None, folder: Path
) -> Mapping[str, tuple[Path, ...]]:
    """Return the splits of the corpus, the queries or the qrels; empty if there are no qrels.

    Args:
        tables: all that there are.
        kind: ``corpus``, ``queries`` or ``qrels``.
        subset: of data sets in several languages or parts, which: ``ar`` of ``ar-corpus``.
        folder: for the message.

    Raises:
        DataError: there is no such table; the message lists those that there are.
    """
    names = _KINDS[kind]
    if subset is not None:
        names = tuple(f"{a}-{b}" for name in names for a, b in ((subset, name), (name, subset)))
        names += (f"default-{subset}", subset) if kind == "qrels" else ()
    elif kind == "qrels":
        names = ("default", *names)  # mteb's own order
    for name in names:
        if name in tables:
            return tables[name]
    if kind == "qrels":
        return {}
    what = f"no configuration {names[0]!r} among {', '.join(sorted(tables))}"
    parts = sorted({part for name in tables if (part := _part_of(name, kind))})
    remedy = f'choose a part: subset = "{parts[0]}"' if parts else "is it in mteb's layout?"
    raise DataError(folder, None, what, remedy)


def choose_split(
    splits: Mapping[str, tuple[Path, ...]], split: str, where: str, *, only: bool
) -> tuple[Path, ...]:
    """Return the files of a split.

    Args:
        splits: those that there are.
        split: the one that is asked for.
        where: the data set and the configuration, for the message.
        only: whether another one will do where it is the only one.

    Raises:
        DataError: there is no such split (the message lists those that there are), or no file.
    """
    if only and split not in splits and len(splits) == 1:
        (split,) = splits
    if split not in splits:
        what = f"no split {split!r} among {', '.join(splits)}"
        remedy = f'choose one of them: split = "{next(iter(splits), "")}"'
        raise DataError(where, None, what, remedy)
    if not splits[split]:
        what = f"the files that README.md names for split {split!r} are not there"
        raise DataError(where, None, what, "fetch the data set again, all of it")
    return splits[split]


def _data_files(declared: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield split and patterns; the hub calls an unnamed split ``train``."""
    if isinstance(declared, Mapping):
        declared = [{"split": split, "path": path} for split, path in declared.items()]
    if isinstance(declared, str) or all(isinstance(entry, str) for entry in declared):
        declared = [{"split": "train", "path": declared}]
    for entry in declared:
        paths = entry["path"]
        yield str(entry["split"]), (paths,) if isinstance(paths, str) else tuple(map(str, paths))


def _inside(pattern: str, data_dir: Any, readme: Path) -> str:
    path = PurePosixPath(str(data_dir or ""), pattern)
    if path.is_absolute() or ".." in path.parts or ":" in str(path):
        what = f"names a file outside of the data set: {pattern!r}"
        raise DataError(readme, None, what, "only files of the data set are read")
    return str(path)


def _matching(folder: Path, patterns: Sequence[str]) -> tuple[Path, ...]:
    files = (path for pattern in patterns for path in sorted(folder.glob(pattern)))
    return tuple(dict.fromkeys(path for path in files if path.is_file()))


def _undeclared(folder: Path) -> Tables:
    """Find files by name: ``corpus/test-00000-of-00002.parquet`` is ``test`` of ``corpus``."""
    tables: dict[str, dict[str, tuple[Path, ...]]] = {}
    for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")):
        suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
        if suffix is None or not path.is_file():
            continue
        stem = _SHARD.sub("", path.name[: -len(suffix)])
        name = stem if path.parent == folder else path.parent.name
        name = "default" if name == "data" else name
        splits = tables.setdefault(name, {})
        splits[stem] = (*splits.get(stem, ()), path)
    return tables


def _part_of(name: str, kind: str) -> str:
    """Return the part of a data set, such as ``ar``, from ``ar-corpus`` or ``corpus-ar``."""
    for word in _KINDS[kind]:
        if name.endswith(f"-{word}") or name.startswith(f"{word}-"):
            return name.removesuffix(f"-{word}").removeprefix(f"{word}-")
    return ""


_USUAL: Final = tuple(
    f"{name}*{suffix}" for name in ("corpus", "quer", "qrels", "data") for suffix in SUFFIXES
)
"""The files of a data set whose README says nothing of them; ``*`` matches slashes, too."""

_TIMEOUT_S: Final = 10.0
"""Longest wait for the hub to say that a data set is there."""


def fetch(repo: str, revision: str | None, *, subset: str | None = None) -> Path:
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
        DataError: the hub has no such data set or revision, needs a token, or is out of reach.
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
