"""What people may be asked about in an experiment's folder, and the texts that they see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena.errors import UsageError
from arena.labelling.sampling import Draw, battle_sizes, draw_items
from arena.rating.people.document_grades import document_weights
from arena.records import Battle
from arena.store.folder import Folder
from arena.store.labels import Item, LabelLine, Unit
from arena.store.log_lines import read_battles
from arena.store.manifest import read_manifest
from arena.store.texts import ShownDocument, ShownQuery, ShownTexts, read_shown


@dataclass(frozen=True, slots=True)
class ShownItem:
    """What a person sees of an item: no model's name, and nothing that a judge said."""

    query: str
    lists: tuple[tuple[ShownDocument, ...], ...]
    """Of a document the list of itself alone; of a battle both lists, in the order of showing."""


@dataclass(frozen=True)
class Questions:
    """Everything in an experiment that people may be asked about."""

    folder: Path
    unit: Unit
    draw: Draw
    texts: Mapping[str, ShownTexts]  #: data set → its texts
    queries: Mapping[tuple[str, str], ShownQuery]  #: (data set, query_id) →

    def shown(self, item: Item, models: Sequence[str] = ()) -> ShownItem:
        """Return what a person sees of an item.

        Args:
            item: one of the draw.
            models: of a battle the two models, the one whose list is shown first at first.
        """
        query = self.queries[item.dataset, item.query_id]
        doc_ids = [query.lists.get(model, ()) for model in models] if models else [[item.doc_id]]
        texts = self.texts[item.dataset]
        return ShownItem(query.text, tuple(tuple(texts.documents(ids)) for ids in doc_ids))


def read_questions(
    folder: Path, unit: Unit, *, seed: int | None, known: Iterable[LabelLine]
) -> Questions:
    """Read what was judged in an experiment, and draw the order of the questions.

    Args:
        folder: the experiment's, under runs/.
        unit: whether people are asked about documents or battles.
        seed: of the draw; that of earlier labels, or of the experiment, if None.
        known: the lines of the experiment's labels.

    Raises:
        UsageError: there is nothing to ask about, or earlier labels have another seed.
        DataError: a file of the experiment is damaged; names file and line.
    """
    battles, manifest = _judged(folder), _manifest(folder)
    texts = _texts(folder, battles)
    queries = _queries(texts)
    if unit == "document":
        sizes = document_sizes(battles, texts, top_k=_top_k(manifest, queries.values()))
    else:
        sizes = battle_sizes(_pairs(battles, queries))
    if not any(sizes.values()):
        what = "all lists are the same" if unit == "document" else "no judge decided a battle"
        raise UsageError(f"{folder}: nothing to label: {what}")
    draw = draw_items(sizes, seed=_seed(folder, seed, known, manifest))
    return Questions(folder, unit, draw, texts, queries)


def judged_queries(folder: Path) -> dict[tuple[str, str], ShownQuery]:
    """Return (data set, query_id) → what every model shows, for the experiment's data sets.

    Raises:
        UsageError: nothing was judged, or its texts were not kept.
        DataError: a file of the experiment is damaged; names file and line.
    """
    return _queries(_texts(folder, _judged(folder)))


def document_sizes(
    battles: Sequence[Battle], texts: Mapping[str, ShownTexts], *, top_k: int
) -> dict[Item, float]:
    """Return how much the grade of each document decides between the contenders.

    The contenders are the models with a battle, and the queries those with a battle.
    """
    sizes: dict[Item, float] = {}
    for dataset, shown_texts in texts.items():
        own = [battle for battle in battles if battle.dataset == dataset]
        models = sorted({model for battle in own for model in (battle.model_a, battle.model_b)})
        judged = {battle.query_id for battle in own}
        judged_queries = [query for query in shown_texts.queries if query.query_id in judged]
        lists = {
            model: {query.query_id: query.lists.get(model, ()) for query in judged_queries}
            for model in models
        }
        weights = document_weights(lists, [query.query_id for query in judged_queries], top_k=top_k)
        for query, doc_id, size in zip(
            weights.query.tolist(), weights.doc_ids, weights.size.tolist(), strict=True
        ):
            if doc_id in shown_texts.places:
                sizes[Item("document", dataset, weights.query_ids[query], doc_id)] = size
    return sizes


def _judged(folder: Path) -> list[Battle]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give an experiment's folder under runs/")
    logs = Folder(folder).all_battles()
    battles = [battle for log in logs for battle in read_battles(log)]
    if not battles:
        raise UsageError(f"{folder}: no battle was judged here; run `arena battle` first")
    return battles


def _texts(folder: Path, battles: Sequence[Battle]) -> dict[str, ShownTexts]:
    datasets = dict.fromkeys(battle.dataset for battle in battles)
    texts = {}
    for dataset in datasets:
        path = Folder(folder).shown(dataset)
        shown = read_shown(path)
        if shown is None:
            raise UsageError(f"{path}: no such file; `arena retrieve` writes the texts again")
        texts[dataset] = shown
    return texts


def _queries(texts: Mapping[str, ShownTexts]) -> dict[tuple[str, str], ShownQuery]:
    return {
        (dataset, query.query_id): query
        for dataset, shown in texts.items()
        for query in shown.queries
    }


def _pairs(
    battles: Sequence[Battle], queries: Mapping[tuple[str, str], ShownQuery]
) -> Iterable[Item]:
    """Return the battles that a judge decided, both orders as one."""
    for battle in battles:
        if battle.source != "identical" and (battle.dataset, battle.query_id) in queries:
            models = tuple(sorted((battle.model_a, battle.model_b)))
            yield Item("battle", battle.dataset, battle.query_id, models=models)


def _manifest(folder: Path) -> Mapping[str, Any]:
    if not Folder(folder).is_experiment:
        return {}
    settings: Mapping[str, Any] = read_manifest(folder)["config"].get("experiment", {})
    return settings


def _top_k(settings: Mapping[str, Any], queries: Iterable[ShownQuery]) -> int:
    longest = max((len(ids) for query in queries for ids in query.lists.values()), default=1)
    top_k = settings.get("top_k")
    return top_k if isinstance(top_k, int) and top_k > 0 else longest


def _seed(
    folder: Path, seed: int | None, lines: Iterable[LabelLine], settings: Mapping[str, Any]
) -> int:
    earlier = next((line.seed for line in lines if line.seed is not None), None)
    if earlier is not None and seed not in (None, earlier):
        raise UsageError(
            f"--seed {seed}: the labels in {folder} were drawn with seed {earlier}; "
            f"leave --seed out, or give {earlier}"
        )
    if earlier is not None:
        return earlier
    own = settings.get("seed")
    return seed if seed is not None else own if isinstance(own, int) else 0
