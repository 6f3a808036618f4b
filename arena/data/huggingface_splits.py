"""Find the tables of a Hugging Face data set: configurations, their splits, and their files.

README.md declares them in YAML, as the hub documents it. Without such a declaration the names of
folders and files decide. The library `datasets` resolves only the first kind, needs the hub for it,
and follows patterns out of the data set's folder; so arena resolves both kinds itself.

Source: https://huggingface.co/docs/hub/datasets-manual-configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from arena.errors import DataError
from arena.optional import needed

Patterns = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Configuration → split → glob patterns, relative to the data set's folder."""

Tables = Mapping[str, Mapping[str, tuple[Path, ...]]]
"""Configuration → split → files, in the order in which they are to be read."""

SUFFIXES: Final = (".parquet", ".jsonl", ".jsonl.gz", ".ndjson", ".csv", ".tsv", ".arrow")
"""Of files that arena takes for a table where README.md does not declare them."""

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
    front_matter = _FRONT_MATTER.match(text)
    if front_matter is None or "configs" not in front_matter[1]:
        return {}
    yaml = needed("yaml", str(readme))
    try:
        tree = yaml.safe_load(front_matter[1])
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


def find_tables(folder: Path, remedy: str = "") -> Tables:
    """Find the tables of a data set's folder; files that README.md declares may be missing.

    Args:
        folder: where they are.
        remedy: what else to try where nothing is found.

    Raises:
        DataError: nothing looks like a table.
    """
    tables = {
        name: {split: _matching(folder, patterns) for split, patterns in splits.items()}
        for name, splits in declared_patterns(folder / "README.md").items()
    } or _undeclared(folder)
    if not tables:
        expected = "expected README.md with configs, or folders called corpus, queries and qrels"
        raise DataError(folder, None, "no tables in it", expected + remedy)
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
    splits: Mapping[str, tuple[Path, ...]], split: str, table_name: str, *, only: bool
) -> tuple[Path, ...]:
    """Return the files of a split.

    Args:
        splits: those that there are.
        split: the one that is asked for.
        table_name: the data set and the configuration, for the message.
        only: whether another one will do where it is the only one.

    Raises:
        DataError: there is no such split (the message lists those that there are), or no file.
    """
    if only and split not in splits and len(splits) == 1:
        (split,) = splits
    if split not in splits:
        what = f"no split {split!r} among {', '.join(splits)}"
        remedy = f'choose one of them: split = "{next(iter(splits), "")}"'
        raise DataError(table_name, None, what, remedy)
    if not splits[split]:
        what = f"the files that README.md names for split {split!r} are not there"
        raise DataError(table_name, None, what, "fetch the data set again, all of it")
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
    # Before Python 3.13 a pattern that ends with ** matches folders alone.
    globs = (f"{pattern}/*" if pattern.endswith("**") else pattern for pattern in patterns)
    files = (path for pattern in globs for path in sorted(folder.glob(pattern)))
    return tuple(dict.fromkeys(path for path in files if path.is_file()))


def _undeclared(folder: Path) -> Tables:
    """Find files by name: ``corpus/test-00000-of-00002.parquet`` is ``test`` of ``corpus``.

    So is ``corpus/test/0000.parquet``, as the hub's own conversion and `datasets` lay tables out.
    """
    tables: dict[str, dict[str, tuple[Path, ...]]] = {}
    for path in [path for depth in ("*", "*/*", "*/*/*") for path in sorted(folder.glob(depth))]:
        suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
        if suffix is None or not path.is_file():
            continue
        *above, file = path.relative_to(folder).parts
        split = above[1] if len(above) > 1 else _SHARD.sub("", file[: -len(suffix)])
        name = above[0] if above else split
        splits = tables.setdefault("default" if name == "data" else name, {})
        splits[split] = (*splits.get(split, ()), path)
    return tables


def _part_of(name: str, kind: str) -> str:
    """Return the part of a data set, such as ``ar``, from ``ar-corpus`` or ``corpus-ar``."""
    for word in _KINDS[kind]:
        if name.endswith(f"-{word}") or name.startswith(f"{word}-"):
            return name.removesuffix(f"-{word}").removeprefix(f"{word}-")
    return ""
