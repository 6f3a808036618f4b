"""Load a data set from the source in its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from arena.config.datasets import DatasetConfig
from arena.data.beir import load_beir
from arena.data.builtin import python_docs
from arena.data.corpus import n_copies
from arena.data.queries import with_own
from arena.data.searchable_text import queries_in_corpus
from arena.errors import UsageError
from arena.progress import Reporter
from arena.records import Dataset


def load_dataset(config: DatasetConfig, reporter: Reporter | None = None) -> Dataset:
    """Load a data set from its one source, with your own queries and qrels if given.

    Args:
        config: says where it is.
        reporter: told how far it is, where that takes long.

    Raises:
        DataError: a file cannot be read, naming file and line.
        UsageError: a source needs what is not installed.
    """
    dataset = _from_source(config, reporter, corpus_alone=config.queries is not None)
    dataset = with_own(dataset, queries=config.queries, qrels=config.qrels)
    return replace(dataset, notes=(*dataset.notes, *_notes(dataset)))


def load_corpus(config: DatasetConfig, reporter: Reporter | None = None) -> Dataset:
    """Load the documents of a data set, whose queries may not exist yet.

    Raises:
        DataError, UsageError: as `load_dataset`.
    """
    return _from_source(config, reporter, corpus_alone=True)


def _notes(dataset: Dataset) -> Iterator[str]:
    """Yield notes on oddities of a corpus, and of it and its queries together."""
    if copies := n_copies(dataset.corpus):
        yield f"documents with title and text of another, which no model tells apart: {copies}"
    if own := queries_in_corpus(dataset, dataset.queries):
        what = "queries that are documents themselves (same id and text)"
        yield f"{what}, each left out of its own rankings: {len(own)}"


def _from_source(
    config: DatasetConfig, reporter: Reporter | None, *, corpus_alone: bool
) -> Dataset:
    """Return the data set of the one source that a section names."""
    # What reads other formats, and public sets, is loaded only where it is asked for.
    if config.builtin is not None:
        return replace(python_docs(), name=config.name)
    if config.path is not None:
        split = None if corpus_alone else config.split
        if isinstance(config.path, Path):
            return load_beir(config.path, config.name, split=split)
        from arena.data.remote import load_remote  # noqa: PLC0415

        return load_remote(config.path, config.name, split=split, reporter=reporter)
    if config.hf is not None:
        from arena.data.huggingface import HfSource, load_hf  # noqa: PLC0415

        source = HfSource(config.hf, config.split, config.subset, config.revision)
        return load_hf(source, config.name, corpus_alone=corpus_alone)
    if config.public is not None:
        from arena.data.public import load_public  # noqa: PLC0415

        split = config.split if "split" in config.model_fields_set else None
        return load_public(
            config.public,
            config.name,
            split=split,
            revision=config.revision,
            corpus_alone=corpus_alone,
        )
    if config.documents is not None:
        return _from_documents(config, config.documents, reporter)
    raise UsageError(f"{config.name}: has no source")


def _from_documents(config: DatasetConfig, folder: Path, reporter: Reporter | None) -> Dataset:
    """Return the passages of a folder of documents, without its files of queries and qrels."""
    from arena.data.documents.load import load_documents  # noqa: PLC0415
    from arena.data.documents.reader_commands import ReaderCommands  # noqa: PLC0415

    return load_documents(
        folder,
        config.name,
        passage_words=config.passage_words,
        leave_out=[path for path in (config.queries, config.qrels) if path is not None],
        readers=ReaderCommands(config.readers, config.readers_folder),
        progress=reporter,
    )
