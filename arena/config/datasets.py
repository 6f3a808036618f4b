"""``[[datasets]]`` of an arena.toml: the sources of a corpus, its queries and its qrels."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from arena.config.misplaced_keys import secret_in_address
from arena.config.section import File, FileName, Section

PublicName = Literal["arcd", "msmarco", "fiqa", "scifact", "norquad", "dbpedia"]
"""The public sets of the published leaderboards; `arena.data.public` has their addresses."""


def _folder_or_address(value: object) -> Path | str:
    if isinstance(value, str):
        return value if "://" in value else Path(value)
    if isinstance(value, Path):
        return value
    raise PydanticCustomError("path_type", "should be a path")


Place = Annotated[Path | str, PlainValidator(_folder_or_address)]
"""A folder, or the address of one in an object store, which stays text: ``s3://bucket/folder``."""

SOURCES: Final = ("path", "builtin", "hf", "public", "documents")
"""The keys of sources; a data set has exactly one of them."""

_SOURCES_OF: Final = {
    "split": ("path", "hf", "public"),
    "subset": ("hf",),
    "revision": ("hf", "public"),
    "passage_words": ("documents",),
    "reader": ("documents",),
}
"""Keys that apply only to some sources."""


class DatasetConfig(Section):
    """``[[datasets]]``: one corpus with its queries, from exactly one of five sources."""

    name: FileName
    path: Place | None = None
    """Folder with corpus.jsonl or corpus-*, queries.jsonl and, if any, qrels/test.tsv; also the
    address of such a folder in an object store."""
    builtin: Literal["python"] | None = None
    """``python``: the docstrings of the running Python's standard library."""
    hf: str | None = None
    """A Hugging Face data set in the layout of mteb's retrieval tasks, or a folder in it."""
    public: PublicName | None = None
    """A public set of the well-known leaderboards, by its name."""
    documents: File | None = None
    """A folder of Markdown, HTML, PDF, office, table, mail and other files, cut into passages."""
    queries: File | None = None
    """Your own queries: a text file (one per line), a CSV, or a queries.jsonl."""
    qrels: File | None = None
    """Your own relevance grades: a BEIR .tsv or TREC qrels file."""
    split: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")] = "test"
    """The split of the qrels, for ``hf``, ``path`` and ``public``."""
    subset: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")] | None = None
    """The part of a ``hf`` data set that has several (``ar`` of ``ar-corpus``)."""
    revision: str | None = None
    """A commit or tag of ``hf`` and ``public``, which pins the data."""
    passage_words: Annotated[int, Field(ge=20, le=5000)] = 200
    """The maximum number of words of a passage, for ``documents``."""
    reader: str | dict[str, str] | None = None
    """A command with ``{file}`` that reads all other files, or commands by suffix."""
    _folder: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [key for key in SOURCES if getattr(self, key) is not None]
        if len(named) != 1:
            found = " and ".join(named) or "none"
            raise ValueError(
                f"has {found}; "
                'needs exactly one of path = "folder", builtin = "python", hf = "owner/name", '
                'public = "scifact" and documents = "folder"'
            )
        for key, sources in _SOURCES_OF.items():
            if key in self.model_fields_set and named[0] not in sources:
                only = " and ".join(sources)
                raise ValueError(f"{key} has no effect with {named[0]}, only with {only}")
        if self.documents is not None and self.queries is None:
            raise ValueError(
                'documents have no queries; add queries = "queries.txt", or '
                'queries = "queries/queries.jsonl" for those that `arena queries` writes'
            )
        if isinstance(self.path, str):
            _check_address(self.path)
        for command in self.readers.values():
            _check_reader(command)
        return self

    @property
    def readers(self) -> dict[str, str]:
        """Return commands by the suffix of files; the empty suffix means all other files."""
        given = {"": self.reader} if isinstance(self.reader, str) else self.reader or {}
        return {
            f".{suffix.lower().lstrip('.')}" if suffix else "": command
            for suffix, command in given.items()
        }

    @property
    def readers_folder(self) -> Path | None:
        """Return the folder of the arena.toml, where readers run; None without such a file."""
        return self._folder

    def anchored(self, folder: Path) -> DatasetConfig:
        """Return the section with relative paths resolved against the arena.toml's folder."""
        update: dict[str, Path | str] = {
            key: folder / path.expanduser()
            for key in ("path", "documents", "queries", "qrels")
            if isinstance(path := getattr(self, key), Path)
        }
        if self.hf is not None and (local := folder / Path(self.hf).expanduser()).is_dir():
            update["hf"] = str(local)
        copy = self.model_copy(update=update)
        copy._folder = folder  # noqa: SLF001  of the same class
        return copy


def _check_address(url: str) -> None:
    secret = "a password" if "@" in urlsplit(url).netloc else secret_in_address(url)
    if secret:
        raise ValueError(
            f"path has {secret} in it; keys come from the environment, such as AWS_PROFILE"
        )
    if not urlsplit(url).netloc and not urlsplit(url).path.strip("/"):
        raise ValueError(f"path = {url!r} names no folder; expected s3://bucket/folder")


def _check_reader(command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"reader = {command!r}: {error}") from None
    if not any("{file}" in word for word in words[1:]):
        raise ValueError(
            f"reader = {command!r} does not name the file that it reads; "
            'expected reader = "pandoc -t markdown {file}"'
        )
