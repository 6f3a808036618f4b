"""Chunking as a contender: the same documents, cut in different ways, compete in one arena."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from experiments import QUIET, logged, play
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

import arena
from arena.cli import main
from arena.config import Config, ModelConfig
from arena.config.experiment import parse_config
from arena.config.models import Cutting
from arena.data.documents.splitting import count_words, split_text, split_words
from arena.data.metrics import measure_run
from arena.data.passage_corpus import (
    PassageCorpus,
    parent_of,
    qrels_by_parent,
    run_by_parent,
    with_passages,
)
from arena.errors import ConfigError, DataError
from arena.experiment.experiment import load_data, open_experiment
from arena.experiment.run_specs import run_specs
from arena.judging.qrels import list_dcg
from arena.records import Dataset, Document, Query, Run, ScoredDoc
from arena.store.folder import Folder

TOPICS = ("otter", "lathe", "quasar")


def long_text(topic: str, n_words: int = 120) -> str:
    """Sentences of ten words; only the last one names the topic."""
    filler = "Nobody reads these ten plain words about nothing at all. "
    return filler * (n_words // 10 - 1) + f"Here at the very end the {topic} is finally explained."


def dataset(**texts: str) -> Dataset:
    corpus = {name: Document(name, text, f"On {name}") for name, text in texts.items()}
    return Dataset("docs", corpus, {"q": Query("q", "otter")}, {"q": {"a": 2, "b": 1}})


def cut(data: Dataset, *cuttings: Cutting) -> PassageCorpus:
    corpus = with_passages(data, cuttings, QUIET)
    assert isinstance(corpus, PassageCorpus)
    return corpus


@given(st.text(alphabet="ab .\n#漢字", max_size=800), st.integers(20, 60), st.integers(0, 10))
def test_passages_never_exceed_their_words_and_lose_no_word(
    text: str, words: int, overlap: int
) -> None:
    for passages in (
        split_words(text, words=words, overlap=overlap),
        split_text(text, markdown=False, words=words, overlap=overlap),
    ):
        parts = [passage.text for passage in passages]

        assert all(count_words(part) <= words for part in parts)
        assert all("".join(part.split()) in "".join(text.split()) for part in parts)
        assert sum(map(count_words, parts)) >= count_words(text) - len(parts)


def test_windows_of_words_overlap_as_asked() -> None:
    text = " ".join(f"w{n}" for n in range(50))

    parts = [passage.text.split() for passage in split_words(text, words=20, overlap=5)]

    assert [(part[0], part[-1]) for part in parts] == [
        ("w0", "w19"),
        ("w15", "w34"),
        ("w30", "w49"),
    ]


def test_a_document_that_fits_keeps_its_id_and_a_long_one_is_cut() -> None:
    data = dataset(short="One sentence.", long=long_text("otter"))

    corpus = cut(data, Cutting(50))

    passages = corpus.cuts[Cutting(50)]
    assert list(passages) == ["short", "long§w50.1", "long§w50.2", "long§w50.3"]
    assert {passage.title for passage in passages.values()} == {"On short", "On long"}
    assert corpus["long§w50.3"].text.endswith("the otter is finally explained.")
    assert list(corpus) == ["short", "long"], "who cuts nothing searches what was there"
    assert [corpus.parent_of(doc_id) for doc_id in passages] == ["short", "long", "long", "long"]


def test_titles_are_put_before_passages_or_left_out() -> None:
    data = dataset(short="One sentence.", long=long_text("otter"))

    passages = cut(data, Cutting(50, titles=False)).cuts[Cutting(50, titles=False)]

    assert {passage.title for passage in passages.values()} == {""}
    assert next(iter(passages)) == "short§w50-untitled.1", "its text differs from the document's"


def test_headings_of_markdown_are_in_the_titles_of_its_passages() -> None:
    text = "# Guide\n\n" + "\n\n".join(f"## Part {n}\n\n{long_text('otter', 40)}" for n in range(3))
    data = Dataset("docs", {"guide.md": Document("guide.md", text, "Guide")}, {}, {})

    passages = cut(data, Cutting(60)).cuts[Cutting(60)]

    assert [passage.title for passage in passages.values()][-1] == "Guide > Part 2"


def test_an_id_that_looks_like_a_passage_is_refused() -> None:
    with pytest.raises(DataError, match="looks like the id of a passage"):
        cut(dataset(**{"a§w50.1": "text"}), Cutting(50))


def test_metrics_count_the_whole_document_of_a_passage_once() -> None:
    corpus = cut(dataset(a=long_text("x"), b=long_text("y"), c="short"), Cutting(50))
    places = ("c", "a§w50.2", "a§w50.1", "b§w50.3")
    run = Run("docs", "m", {"q": tuple(ScoredDoc(d, -float(n)) for n, d in enumerate(places))})

    whole = run_by_parent(run, corpus)
    metrics = measure_run(whole, qrels_by_parent({"q": {"a": 2, "b": 1}}, corpus))

    assert [place.doc_id for place in whole.rankings["q"]] == ["c", "a", "b"]
    # (2 / log2 3 + 1 / log2 4) / (2 / log2 2 + 1 / log2 3) = 1.76186 / 2.63093
    assert metrics is not None
    assert metrics.ndcg_at_10 == pytest.approx(0.669671, abs=1e-5)


def test_a_second_passage_of_a_graded_document_gains_nothing() -> None:
    corpus = cut(dataset(a=long_text("x"), b=long_text("y")), Cutting(50))
    documents = [Document(d, "") for d in ("a§w50.2", "a§w50.1", "b§w50.1")]

    # 2 / log2 2 + 0 + 1 / log2 4
    assert list_dcg(documents, {"a": 2, "b": 1}, 5, corpus.parent_of) == pytest.approx(2.5)


def write(folder: Path, models: str, settings: str = "") -> Path:
    data = folder / "data"
    (data / "qrels").mkdir(parents=True)
    corpus = [{"_id": t, "title": f"On {t}s", "text": long_text(t, 200)} for t in TOPICS]
    corpus.append({"_id": "short", "text": "A short note about tea."})
    queries = [{"_id": f"q-{t}", "text": f"the {t} explained at the end"} for t in TOPICS]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (data / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    qrels = "\n".join(f"q-{t}\t{t}\t1" for t in TOPICS)
    (data / "qrels" / "test.tsv").write_text(qrels)
    config = folder / "arena.toml"
    config.write_text(
        f'[experiment]\nname = "x"\ntop_k = 2\n{settings}\n'
        f'[[datasets]]\nname = "docs"\npath = "data"\n{models}[judge]\nkind = "qrels"\n'
    )
    return config


def ranked(config: Path, model: str) -> str:
    return Folder(config.parent / "runs" / "x").run("docs", model).read_text()


WHOLE = '[[models]]\nname = "bm25"\nprovider = "bm25"\n'
SWEEP = '[[models]]\nname = "cut"\nprovider = "bm25"\npassage_words = [40, 80]\noverlap = 10\n'


def test_the_same_documents_cut_differently_compete(tmp_path: Path) -> None:
    config = write(tmp_path, WHOLE + SWEEP)

    play(config).check()

    battles = logged(config)
    names = {name for battle in battles for name in (battle.model_a, battle.model_b)}
    assert names == {"bm25", "cut 40 words", "cut 80 words"}
    experiment = open_experiment(config)
    data = load_data(experiment.config)
    metrics = json.loads(Folder(experiment.folder).metrics("docs").read_text())
    assert metrics["cut 40 words"]["ndcg_at_10"] == 1.0, "by the whole document of each passage"
    assert "§w40o10." in ranked(config, "cut 40 words")
    assert isinstance(data.datasets["docs"].corpus, PassageCorpus)


def test_a_sweeps_models_have_their_metrics_in_the_leaderboard(tmp_path: Path) -> None:
    config = write(tmp_path, WHOLE + SWEEP)

    play(config).check()

    rated = CliRunner().invoke(main, ["rate", str(tmp_path / "runs" / "x"), "--json"])
    rows = json.loads(rated.stdout)["overall"]
    known = {row["model"] for row in rows if row["ndcg@10"] is not None}
    assert known == {"bm25", "cut 40 words", "cut 80 words"}


def test_whole_documents_of_the_best_passages_may_be_returned(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        WHOLE + '[[models]]\nname = "by part"\nprovider = "bm25"\npassage_words = 40\n'
        'returns = "document"\n',
    )

    play(config).check()

    run = ranked(config, "by part")
    assert "§" not in run
    assert run.splitlines()[0].split()[2] in TOPICS


def test_files_of_a_folder_are_cut_whole(tmp_path: Path) -> None:
    config = write(tmp_path, WHOLE + SWEEP)
    folder = tmp_path / "pages"
    folder.mkdir()
    for topic in TOPICS:
        text = f"# All of {topic}\n\n" + "\n\n".join(long_text(topic, 60) for _ in range(5))
        (folder / f"{topic}.md").write_text(text)
    (folder / "faq.csv").write_text("question,answer\nIs tea hot?,Yes\nIs ice hot?,No\n")
    (tmp_path / "queries.txt").write_text("where is the otter explained\n")
    text = config.read_text().replace(
        'path = "data"', 'documents = "pages"\nqueries = "queries.txt"'
    )
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\n1\totter.md#1\t1\n")
    config.write_text(text.replace('[judge]\nkind = "qrels"', '[judge]\nmodel = "m"'))

    data = load_data(open_experiment(config).config)

    corpus = data.datasets["docs"].corpus
    assert isinstance(corpus, PassageCorpus)
    assert corpus.parent_of("otter.md#2") == "otter.md"
    assert corpus.parent_of("otter.md§w40o10.7") == "otter.md"
    of_otter = [d for d in corpus.cuts[Cutting(80, 10)].values() if d.doc_id.startswith("otter")]
    assert len(of_otter) > 1
    assert all(count_words(document.text) <= 80 for document in of_otter)
    assert of_otter[0].title == "All of otter"
    assert corpus.parent_of("faq.csv#2") == "faq.csv#2", "each row is a document"
    assert "faq.csv#2" in corpus.cuts[Cutting(80, 10)]
    assert corpus["otter.md"].text.count("finally explained") == 5


def test_a_new_way_to_cut_leaves_the_other_runs_as_they_are(tmp_path: Path) -> None:
    config = write(tmp_path, WHOLE + SWEEP)

    def keys() -> dict[str, str]:
        experiment = open_experiment(config)
        data = load_data(experiment.config)
        specs = run_specs(experiment, data.datasets["docs"], data.queries["docs"])
        return {spec.model.name: spec.key for spec in specs}

    before = keys()
    config.write_text(config.read_text().replace("[40, 80]", "[40, 80, 160]"))
    after = keys()
    config.write_text(config.read_text().replace("overlap = 10", "overlap = 5"))
    changed = keys()

    assert after.keys() - before.keys() == {"cut 160 words"}
    assert before.items() <= after.items()
    assert changed["bm25"] == before["bm25"]
    assert changed["cut 40 words"] != before["cut 40 words"]


def test_a_reranker_and_a_fusion_read_passages(tmp_path: Path) -> None:
    more = (
        '[[models]]\nname = "other"\nprovider = "lsa"\npassage_words = 40\noverlap = 10\n'
        '[[models]]\nname = "both"\nfuse = ["cut 40 words", "other"]\n'
    )
    config = write(tmp_path, SWEEP + more)

    play(config).check()

    run = ranked(config, "both")
    assert "§w40o10." in run


def test_a_notebook_cuts_documents_and_compares(tmp_path: Path) -> None:
    write(tmp_path, WHOLE + SWEEP)
    data = arena.load_dataset(tmp_path / "data")
    whole = arena.retrieve("bm25", data)
    small = arena.retrieve({"provider": "bm25", "passage_words": 40}, data, name="small")
    large = arena.retrieve({"provider": "bm25", "passage_words": 80}, data, name="large")

    compared = arena.compare([whole, small, large], judge=arena.qrels_judge(), top_k=2)

    assert small.metrics["ndcg@10"] == 1.0
    assert len(compared) == 18  # 3 queries, 3 pairs, both orders


def parsed(*models: dict[str, Any]) -> Config:
    tree = {
        "experiment": {"name": "x"},
        "datasets": [{"name": "d", "path": "d"}],
        "models": [{"name": "bm25", "provider": "bm25"}, *models],
        "judge": {"kind": "qrels"},
    }
    return parse_config(tree, Path("arena.toml"))


def test_a_list_of_sizes_makes_a_model_of_each() -> None:
    config = parsed({"name": "m", "provider": "lsa", "passage_words": [100, 200], "overlap": 20})

    assert [(m.name, m.cutting) for m in config.models[1:]] == [
        ("m 100 words", Cutting(100, 20)),
        ("m 200 words", Cutting(200, 20)),
    ]


@each_row(
    ("models", "message"),
    [
        ([{"name": "m", "provider": "lsa", "overlap": 5}], "overlap is for models with passage_w"),
        ([{"name": "m", "run": "x.trec", "passage_words": 50}], "for models with a provider"),
        ([{"name": "m", "provider": "lsa", "passage_words": 50, "overlap": 30}], "more than half"),
        ([{"name": "m", "provider": "lsa", "passage_words": [50, 50]}], "different whole"),
        ([{"name": "m", "provider": "lsa", "passage_words": []}], "different whole"),
        ([{"name": "m", "provider": "lsa", "passage_words": 5}], "greater than or equal to 20"),
        (
            [
                {"name": "m", "provider": "lsa", "passage_words": 50},
                {"name": "h", "fuse": ["bm25", "m"]},
            ],
            'fuses what is cut differently: "bm25" whole documents and "m" w50',
        ),
    ],
)
def test_mistakes_in_a_cutting_are_one_line(models: Sequence[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(*models)

    assert message in str(caught.value)


def test_a_corpus_that_is_not_cut_is_its_own_parent() -> None:
    assert parent_of({}, "a§w50.1") == "a§w50.1"
    assert ModelConfig(name="m", provider="bm25").cutting is None


def test_dry_run_counts_the_passages(tmp_path: Path) -> None:
    config = write(tmp_path, WHOLE + SWEEP)

    done = CliRunner().invoke(main, ["battle", str(config), "--dry-run"])

    assert done.exit_code == 0, done.output
