"""Load a folder of documents as a corpus of passages.

A passage's id is its file and its number there, ``guide/install.md#3``, so that you can find it.
White space and the marks ``%`` and ``#`` of a file's name are percent-encoded. The title is the
headings above the passage, or the name of the file. Hidden files and symbolic links are not
followed, so no loop and no outside file gets in. arena counts what it skips.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from arena.data.corpus import collect_documents
from arena.data.documents.file_passages import Cut
from arena.data.documents.files import READERS
from arena.data.documents.passages import cut_all
from arena.data.documents.reader_commands import ReaderCommands
from arena.data.rows import Row
from arena.errors import DataError
from arena.progress import Reporter, reporter
from arena.records import Dataset, Document
from arena.terminal import shortened

_KNOWN: Final = ", ".join(READERS)
_PLAIN_NAME = re.compile(r"[a-zA-Z0-9._/-]+")
_HEADING: Final = 200
"""Characters of a heading that a title holds at most."""
_NAMED: Final = 3
"""Files that a note names before it only counts."""


def load_documents(  # noqa: PLR0913  four of them are options
    folder: Path,
    name: str,
    *,
    passage_words: int,
    leave_out: Collection[Path] = (),
    readers: ReaderCommands | None = None,
    progress: Reporter | None = None,
) -> Dataset:
    """Cut the documents of a folder into passages; the data set has no queries yet.

    Args:
        folder: of files that `arena.data.documents.files.READERS` names, at any depth.
        name: what configs, runs and battles call the data set.
        passage_words: the most words of a passage.
        leave_out: files in it that are no documents, such as the queries.
        readers: commands that read other kinds of files, or some of these.
        progress: told how many files are read, if it takes long.

    Raises:
        DataError: there is no such folder, or no text in it.
        UsageError: a package is not installed.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise DataError(folder, None, what, f"expected a folder with {_KNOWN} files")
    reading = _FolderReader(folder, leave_out, readers or ReaderCommands({}))
    try:
        corpus = collect_documents(
            reading.passages(passage_words, progress or reporter(quiet=True)), folder
        )
    except DataError:
        if reading.n_passages:
            raise
        notes = "; ".join(reading.notes()) or f"expected {_KNOWN} files"
        raise DataError(folder, None, "no text in it", notes) from None
    return Dataset(name, corpus, {}, {}, reading.notes())


class _FolderReader:
    """The files of a folder while they are read, and what there is to say of them."""

    def __init__(self, folder: Path, leave_out: Collection[Path], readers: ReaderCommands) -> None:
        self.folder = folder
        self.readers = readers
        self.real = Path(os.path.realpath(folder))
        self.leave_out = {
            location
            for path in leave_out
            for location in (
                os.path.realpath(path),
                str(Path(os.path.realpath(path.parent), path.name)),
            )
        }
        self.left_out_names = {Path(location).name for location in self.leave_out}
        self.n_passages = 0
        self.others: Counter[str] = Counter()  # files of other kinds, by their suffix
        self.links: list[str] = []
        self.unreadable: list[str] = []
        self.empty: list[str] = []
        self.right_to_left: list[str] = []

    def passages(self, words: int, progress: Reporter) -> Iterator[tuple[Row, str, Document]]:
        """Yield the passages of all files, and note the files that give none, with the reason."""
        for path, cut in cut_all(list(self._files()), words, progress, self.readers):
            relative = path.relative_to(self.folder).as_posix()
            if cut.problem:
                self.unreadable.append(f"{relative} ({cut.problem})")
                continue
            if path.suffix.lower() == ".pdf" and cut.right_to_left:
                self.right_to_left.append(relative)
            before = self.n_passages
            for number, document in _documents(cut, relative):
                self.n_passages += 1
                yield Row(path, number, {}), document.doc_id, document
            if self.n_passages == before:
                self.empty.append(relative)

    def notes(self) -> tuple[str, ...]:
        left_aside = [
            ("that cannot be read, ignored", self.unreadable),
            ("without text, as a scan is before it is recognised", self.empty),
            ("that are symbolic links, not followed", self.links),
            ("with right-to-left text in PDF, which does not keep its order", self.right_to_left),
        ]
        notes = [
            f"files {what}: {len(names)} ({_named(names)})" for what, names in left_aside if names
        ]
        if self.others:
            kinds = ", ".join(
                f"{count} {_shown(suffix)}" for suffix, count in self.others.most_common(5)
            )
            notes.append(f"files of other kinds, ignored: {self.others.total()} ({kinds})")
        return tuple(notes)

    def _files(self) -> Iterator[Path]:
        """Yield the files that a reader knows, in order of their paths; count the others."""
        for parent, folders, names in os.walk(self.folder, onerror=self._missed):
            folders[:] = sorted(name for name in folders if not self._skipped(Path(parent, name)))
            for path in (Path(parent, name) for name in sorted(names)):
                if self._skipped(path):
                    continue
                suffix = path.suffix.lower()
                known = suffix in READERS
                if path.is_file() and (known or self.readers.key(suffix, known=False) is not None):
                    yield path
                else:
                    self.others[suffix or "without a suffix"] += 1

    def _skipped(self, path: Path) -> bool:
        # An experiment's results are no documents, where its folder is the one that is read.
        results = path.name == "runs" and path.with_name("arena.toml").exists()
        if path.name.startswith(".") or results or self._left_out(path):
            return True
        if path.is_symlink():
            self.links.append(path.relative_to(self.folder).as_posix())
            return True
        return False

    def _left_out(self, path: Path) -> bool:
        if path.name not in self.left_out_names:
            return False
        # No link is followed on the way to it, so this is where it really is.
        return str(self.real / path.relative_to(self.folder)) in self.leave_out

    def _missed(self, error: OSError) -> None:
        relative = Path(error.filename).relative_to(self.folder).as_posix()
        self.unreadable.append(f"{relative} (cannot be read: {error.strerror})")


def _documents(cut: Cut, relative: str) -> Iterator[tuple[int, Document]]:
    """Yield number and document of every passage that has a letter or a digit."""
    file_title = cut.title or _shown(Path(relative).stem)
    file_id = _encoded(relative)
    for number, passage in enumerate(cut.passages, start=1):
        if not any(map(str.isalnum, passage.text)):
            continue  # the rule of a table, or the fence of a block of code
        above = passage.headings if passage.top else (file_title, *passage.headings)
        title = " > ".join(map(_short, above))
        yield number, Document(f"{file_id}#{number}", passage.text, title)


def _short(heading: str) -> str:
    """Return a heading, shortened: each passage repeats it."""
    return shortened(heading, _HEADING)


def _encoded(name: str) -> str:
    """Return a file's name as part of an id; letters of every script stay."""

    def must_go(character: str) -> bool:
        return character in "%#" or character.isspace() or _is_no_letter(character)

    if _PLAIN_NAME.fullmatch(name):
        return name
    normal = unicodedata.normalize("NFC", name)
    return "".join(quote(c, errors="surrogateescape") if must_go(c) else c for c in normal)


def _shown(name: str) -> str:
    """Return a file's name, safe for people, models and terminals."""
    return "".join("\ufffd" if _is_no_letter(c) else c for c in name)


def _is_no_letter(character: str) -> bool:
    """Return whether it is a control character, or a byte of a name that is not UTF-8."""
    return unicodedata.category(character) in ("Cc", "Cs")


def _named(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(_shown, names[:_NAMED])) + more
