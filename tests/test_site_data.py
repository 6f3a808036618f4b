"""What the pages of a site read: overview, battles, queries, lists and replies."""

from __future__ import annotations

import json
import os
import shutil
import time
import tomllib
from dataclasses import fields
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from experiments import QUERIES, llm, play, write_experiment
from loopback import LoopbackServer
from replies import read_replies
from sites import battles_of, content, data_of, uneven_judge

from arena.auditing.audit import audit
from arena.battles.load import Battles, load_battles
from arena.data.metrics import Latency
from arena.errors import DataError, UsageError, WriteError
from arena.rating.leaderboard_files import read_leaderboard
from arena.rating.leaderboard_records import LeaderboardRow
from arena.rating.rate_files import rate_files, write_leaderboard
from arena.records import Record, RetrievalStats
from arena.site import build as building
from arena.site.build import build_site
from arena.site.data_files import (
    BATTLE_ROWS,
    MOST_SHOWN,
    Names,
    battle_chunks,
    pair_consistency,
    shown_chunk_size,
)
from arena.site.gather import current_leaderboard
from arena.site.latency import latency_info
from arena.site.log_columns import Log, read_log_columns
from arena.site.model_pages import extreme_queries
from arena.site.render import FILTERS
from arena.site.tables import ranked_rows
from arena.store.log_lines import read_battles
from arena.store.shards import Shard
from arena.store.texts import ShownDocument, ShownQuery, read_shown, write_shown


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment that an LLM judged, with a flip and a disagreement."""
    folder = tmp_path_factory.mktemp("played")
    with LoopbackServer(uneven_judge) as server:
        play(write_experiment(folder, judge=llm(server.base_url)))
    return folder / "runs" / "x"


@pytest.fixture(scope="module")
def site(played: Path) -> Path:
    return build_site(played).parent


def test_the_overview_has_the_leaderboard_figure_by_figure(played: Path, site: Path) -> None:
    board = read_leaderboard(played / "leaderboard.json")

    overview = data_of(site, "site")

    assert [row["model"] for row in overview["overall"]] == [row.model for row in board.overall]
    for shown, row in zip(overview["overall"], board.overall, strict=True):
        assert shown["rank"] == row.rank
        assert shown["elo"] == pytest.approx(row.elo, rel=1e-5)
        assert (shown["wins"], shown["losses"], shown["ties"]) == (
            row.record.wins,
            row.record.losses,
            row.record.ties,
        )
        assert shown["ndcg@10"] == pytest.approx(row.metrics["ndcg@10"], rel=1e-5)
        assert shown["latency_ms"] is None
        assert shown["tied_with_first"] == (row.rank_lower == 1)
        assert shown["n_models"] == 3
    assert overview["by_dataset"]["docs"] == overview["overall"]
    assert overview["state"] == {
        "planned": 36,
        "judged": 36,
        "failures": 0,
        "complete": True,
        "sentence": "36 battles judged.",
    }
    assert overview["top_k"] == 5
    assert overview["judges"] == [{"name": "judge-1", "kind": "pairwise", "is_llm": True}]
    assert overview["texts_note"] is None


def test_a_fusion_and_a_reranker_say_what_they_are(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    head, tail = config.read_text().split("[judge]")
    fusion = '[[models]]\nname = "hybrid"\nfuse = ["strong", "weak"]\n'
    config.write_text(f"{head}{fusion}[judge]{tail}")
    play(config)

    build_site(tmp_path / "runs" / "x", tmp_path / "site")

    overview = data_of(tmp_path / "site", "site")
    models = {model["name"]: model["provider"] for model in overview["models"]}
    assert models["hybrid"] == "fusion"
    assert models["strong"] is None


def test_pairs_are_those_of_the_leaderboard_overall_and_by_data_set(
    played: Path, site: Path
) -> None:
    board = read_leaderboard(played / "leaderboard.json")
    names = [model["name"] for model in data_of(site, "site")["models"]]
    expected = [[names.index(p.a), names.index(p.b), p.wins, p.losses, p.ties] for p in board.pairs]

    pairs = data_of(site, "site")["pairs"]

    assert [pair[:5] for pair in pairs] == expected
    assert [pair[6] for pair in pairs] == [int(pair.separated) for pair in board.pairs]
    assert data_of(site, "pairs") == {"docs": expected}


def test_every_battle_of_the_log_is_a_row_in_its_order(played: Path, site: Path) -> None:
    log = list(read_battles(played / "battles.jsonl"))

    rows = battles_of(site)

    assert [(row["query"], row["a"], row["b"]) for row in rows] == [
        (battle.query_id, battle.model_a, battle.model_b) for battle in log
    ]
    winners = ["tie", "model_a", "model_b"]
    assert [winners[row["winner"]] for row in rows] == [battle.winner for battle in log]
    assert [row["input_tokens"] for row in rows] == [battle.input_tokens for battle in log]
    assert [row["cost_usd"] for row in rows] == pytest.approx([b.cost_usd for b in log])
    assert {row["source"] for row in rows} == {0}


def test_other_is_the_same_pair_shown_in_the_other_order(site: Path) -> None:
    rows = battles_of(site)

    for number, row in enumerate(rows):
        other = rows[row["other"]]

        assert other["other"] == number
        assert (other["query"], other["a"], other["b"]) == (row["query"], row["b"], row["a"])


def test_flips_and_disagreements_are_those_that_the_audit_counts(played: Path, site: Path) -> None:
    card = audit(played)
    flip_rate = card.figure("reversal").estimate
    accuracy = card.figure("qrels_accuracy").estimate
    assert flip_rate
    assert accuracy

    rows = battles_of(site)

    assert {row["query"] for row in rows if row["flipped"]} == {"q0"}
    assert all(row["flipped"] for row in rows if row["query"] == "q0")
    assert {row["query"] for row in rows if row["qrels"]} == {"q0", "q1"}
    assert all(row["qrels"] for row in rows if row["query"] == "q1")
    assert np.mean([row["flipped"] for row in rows]) == pytest.approx(flip_rate.value)
    graded = [row["qrels"] for row in rows if row["qrels"] is not None]
    assert len(graded) == accuracy.n
    assert 1 - np.mean(graded) == pytest.approx(accuracy.value)


def test_replies_are_as_the_judge_wrote_them(played: Path, site: Path) -> None:
    written = {reply.id: reply for reply in read_replies(played / "replies.jsonl")}
    log = list(read_battles(played / "battles.jsonl"))

    rows = battles_of(site)

    for number, (row, battle) in enumerate(zip(rows, log, strict=True)):
        reply = data_of(site, f"replies/{row['reply']}")[str(number)]
        assert reply == {
            "text": written[battle.id].reply,
            "prompt": battle.prompt,
            "at": written[battle.id].at,
        }


def test_lists_and_documents_are_as_the_judge_saw_them(site: Path) -> None:
    queries = data_of(site, "queries/0")["queries"]
    shown = data_of(site, "shown/0/0")

    assert {query["id"] for query in queries} == set(QUERIES)
    for query in queries:
        name = query["id"]
        assert query["text"] == f"what is {name}?"
        assert query["relevant"] == {
            f"good-{name}": 2,
            f"fair-{name}": 1,
            f"poor-{name}": 0,
            f"other-{name}": 0,
        }
        assert query["ndcg"]["strong"] == 1.0
        assert shown["lists"][name]["strong"] == [f"good-{name}", f"fair-{name}"]
        assert shown["documents"][f"good-{name}"] == {
            "title": f"About {name}",
            "text": f"a good document for {name}",
            "cut": False,
        }


def test_a_model_page_names_its_opponents_and_its_best_and_worst_queries(site: Path) -> None:
    page = (site / "models" / "strong.html").read_text("utf-8")

    best, worst = page.split(">Worst queries<")
    assert "middling.html" in best
    assert "weak.html" in best
    assert {name for name in QUERIES if f"what is {name}?" in best} == {"q2", "q3", "q4", "q5"}
    assert {name for name in QUERIES if f"what is {name}?" in worst} == {"q1"}


def test_the_same_log_gives_the_same_site_to_the_byte(played: Path, tmp_path: Path) -> None:
    first = build_site(played, tmp_path / "a").parent
    shutil.copytree(played, tmp_path / "copy" / "x", ignore=shutil.ignore_patterns("report"))

    second = build_site(tmp_path / "copy" / "x").parent

    assert content(first) == content(second)
    last = max(battle.at for battle in read_battles(played / "battles.jsonl"))
    assert data_of(first, "site")["generated_at"] == last


def test_a_site_that_shows_all_there_is_is_left_alone(played: Path, tmp_path: Path) -> None:
    told: list[str] = []
    first = build_site(played, tmp_path / "site", log=told.append)
    before = first.stat().st_mtime_ns

    again = build_site(played, tmp_path / "site", log=told.append)

    assert again == first
    assert again.stat().st_mtime_ns == before
    assert told == ["site: 36 battles judged."]


def test_a_site_that_was_cut_short_is_finished_by_the_next_build(
    played: Path, site: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(played, folder, ignore=shutil.ignore_patterns("report"))
    whole = (folder / "battles.jsonl").read_bytes()
    (folder / "battles.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:10]))
    build_site(folder)
    (folder / "battles.jsonl").write_bytes(whole)
    for file in ("method.html", "models/weak.html", "data/battles-0.js"):
        out = tmp_path / file.replace("/", "-")
        shutil.copytree(folder / "report", out)
        (out / file).unlink()
        (out / file).mkdir()  # as good as a disk that is full at this file
        with pytest.raises(WriteError):
            build_site(folder, out)
        (out / file).rmdir()
        assert content(out) != content(site), file

        build_site(folder, out)

        assert content(out) == content(site), file


def test_a_log_that_grows_while_it_is_read_is_shown_whole_by_the_next_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(write_experiment(tmp_path), limit=20)
    path = tmp_path / "runs" / "x"
    whole = (path / "battles.jsonl").read_text().splitlines(keepends=True)
    (path / "battles.jsonl").write_text("".join(whole[:10]))
    (path / "leaderboard.json").unlink(missing_ok=True)

    def read_then_grow(folder: Path) -> Log | None:
        log = read_log_columns(folder)
        (path / "battles.jsonl").write_text("".join(whole))
        write_leaderboard(rate_files([path]), path)  # as the run does at its end
        return log

    with monkeypatch.context() as patch:
        patch.setattr(building, "read_log_columns", read_then_grow)
        build_site(path, tmp_path / "site")
    build_site(path, tmp_path / "site")

    assert data_of(tmp_path / "site", "site")["state"]["judged"] == 20


def test_a_shorter_log_leaves_nothing_of_the_longer_one_behind(
    played: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(played, folder, ignore=shutil.ignore_patterns("report"))
    site = build_site(folder).parent
    lines = (folder / "battles.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "battles.jsonl").write_bytes(b"".join(lines[:10]))
    (folder / "replies.jsonl").write_bytes(b"")

    build_site(folder)

    state = data_of(site, "site")["state"]
    assert state["sentence"] == "10 of 36 battles judged; the ratings will move."
    assert not state["complete"]
    assert not (site / "data" / "replies-0.js").exists()
    assert len(battles_of(site)) == 10
    assert all(row["reply"] is None for row in battles_of(site))


def test_a_new_leaderboard_is_made_and_kept_where_the_log_has_grown(
    played: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    build_site(played)
    shutil.copytree(played, folder, ignore=shutil.ignore_patterns("report"))
    (folder / "leaderboard.json").unlink()

    build_site(folder)

    made, before = (read_leaderboard(place / "leaderboard.json") for place in (folder, played))
    assert made == before


def test_a_leaderboard_under_other_names_is_not_mixed_with_the_log(
    played: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(played, folder, ignore=shutil.ignore_patterns("report"))
    (tmp_path / "aliases.toml").write_text('"strong" = "renamed"\n')
    write_leaderboard(rate_files([folder], aliases=tmp_path / "aliases.toml"), folder)

    site = build_site(folder).parent

    overview = data_of(site, "site")
    assert {model["name"] for model in overview["models"]} == {"strong", "middling", "weak"}
    assert {row["model"] for row in overview["overall"]} == {"strong", "middling", "weak"}


def test_an_experiment_without_a_battle_has_a_site_that_says_so(
    played: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(
        played, folder, ignore=shutil.ignore_patterns("report", "battles*", "replies*", "leader*")
    )

    site = build_site(folder).parent

    overview = data_of(site, "site")
    assert overview["state"]["sentence"] == "No battle judged yet, 36 are planned."
    assert overview["overall"] == []
    assert {model["name"] for model in overview["models"]} == {"strong", "middling", "weak"}
    assert data_of(site, "audit") is None
    assert "No battle judged yet" in (site / "index.html").read_text("utf-8")


def test_failures_are_told_beside_what_was_judged(played: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    shutil.copytree(played, folder, ignore=shutil.ignore_patterns("report"))
    lines = (folder / "battles.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "battles.jsonl").write_bytes(b"".join(lines[1:]))
    lost = json.loads(lines[0])
    names = ("id", "dataset", "query_id", "model_a", "model_b", "judge", "prompt")
    failure = {name: lost[name] for name in names} | {"reason": "refusal", "detail": "no"}
    (folder / "failures.jsonl").write_text(json.dumps(failure) + "\n")

    site = build_site(folder).parent

    state = data_of(site, "site")["state"]
    assert state["sentence"] == "35 of 36 battles judged, 1 without verdict."
    assert state["complete"]


def test_a_bare_log_has_a_site_without_texts(tmp_path: Path) -> None:
    rows = ["dataset,query_id,model_a,model_b,winner"]
    rows += [
        f"d,q{i},{a},{b},{'model_a' if i % 3 else 'model_b'}"
        for i in range(12)
        for a, b in (("x", "y"), ("y", "x"))
    ]
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")

    told: list[str] = []
    first = build_site(tmp_path / "log.csv", log=told.append)

    assert told[0] == "site: 24 battles judged."
    assert told[1] == f"note: {data_of(first.parent, 'site')['texts_note']}"
    assert first == tmp_path / "log-report" / "index.html"
    overview = data_of(first.parent, "site")
    assert "a log alone has no texts" in overview["texts_note"]
    assert not overview["files"]["has_texts"]
    assert overview["state"]["complete"]
    assert overview["generated_at"] is None
    battles = battles_of(first.parent)
    assert len(battles) == 24
    assert all(row["cost_usd"] is None and row["reply"] is None for row in battles)
    assert all(row["flipped"] for row in battles)
    assert data_of(first.parent, "audit")["battles"] == 24
    assert (first.parent / "leaderboard.csv").is_file()


def test_battles_without_a_query_have_none(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("model_a,model_b,winner\na,b,tie\nb,a,model_a\n")

    site = build_site(tmp_path / "log.csv").parent

    rows = battles_of(site)
    assert [row["query"] for row in rows] == [None, None]
    assert [row["other"] for row in rows] == [None, None]


def test_two_names_that_share_a_file_name_have_a_page_each(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "model_a,model_b,winner,query_id\na/b,a_b,tie,1\nA_b,../x,model_a,1\n.,_,tie,2\n"
    )

    site = build_site(tmp_path / "log.csv").parent

    files = [model["file"] for model in data_of(site, "site")["models"]]
    assert len({file.casefold() for file in files}) == 6
    for file in files:
        assert (site / file).resolve().parent == (site / "models").resolve()
        assert (site / file).is_file()
        assert not Path(file).name.startswith((".", "_"))


@pytest.mark.parametrize("n_shards", [1, 3])
def test_the_log_is_read_in_the_order_and_with_the_meaning_of_the_ratings(
    tmp_path: Path, n_shards: int
) -> None:
    config = write_experiment(tmp_path)
    for number in range(1, n_shards + 1):
        play(config, shard=Shard(number, n_shards))
    folder = tmp_path / "runs" / "x"
    theirs = load_battles([folder])

    log = read_log_columns(folder)

    assert log
    ours = log.battles
    for field in fields(Battles):
        ours_has, theirs_has = getattr(ours, field.name), getattr(theirs, field.name)
        assert np.array_equal(ours_has, theirs_has), field.name


def test_a_panel_is_shown_verdict_by_verdict_and_rated_as_one(tmp_path: Path) -> None:
    said = {"j1": "model_a", "j2": "model_a", "j3": "model_b"}
    rows = [
        {"model_a": a, "model_b": b, "winner": winner, "judge": judge, "query_id": f"q{query}"}
        for query in range(5)
        for a, b in (("x", "y"), ("y", "z"))
        for judge, winner in said.items()
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    site = build_site(tmp_path / "log.jsonl").parent

    overview = data_of(site, "site")
    assert [judge["name"] for judge in overview["judges"]] == ["j1", "j2", "j3"]
    assert len(battles_of(site)) == 30
    names = [model["name"] for model in overview["models"]]
    assert names == ["x", "y", "z"]
    assert [pair[:5] for pair in overview["pairs"]] == [
        [0, 1, 5, 0, 0],
        [0, 2, 0, 0, 0],
        [1, 2, 5, 0, 0],
    ]
    assert data_of(site, "pairs") == {"all": [[0, 1, 5, 0, 0], [1, 2, 5, 0, 0]]}


def test_a_damaged_file_is_an_error_that_names_file_and_line(played: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    shutil.copytree(played, folder, ignore=shutil.ignore_patterns("report"))
    shown = folder / "retrieval" / "docs" / "shown.jsonl"
    lines = shown.read_text("utf-8").splitlines()
    shown.write_text("\n".join([*lines[:2], '{"document": {"doc_id": 5}}', *lines[3:]]) + "\n")

    with pytest.raises(DataError, match=r"shown\.jsonl:3: .*arena retrieve"):
        build_site(folder)


def test_a_site_that_cannot_be_made_leaves_no_folder_behind(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("model_a,model_b,winner\n")

    with pytest.raises(DataError, match="holds no battles"):
        build_site(tmp_path / "log.csv")

    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_build_that_was_cut_short_is_begun_again(
    played: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(building, "render_pages", cut)
        with pytest.raises(KeyboardInterrupt):
            build_site(played, tmp_path / "out")

    first = build_site(played, tmp_path / "out")

    assert first.is_file()
    assert content(first.parent) == content(site)


def test_a_folder_with_other_files_is_not_overwritten(played: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")

    with pytest.raises(UsageError, match="other files"):
        build_site(played, tmp_path)

    assert (tmp_path / "index.html").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_has_a_file_of_that_name_only_is_not_overwritten(
    played: Path, tmp_path: Path
) -> None:
    for name in ("data/version.js", "assets/own.css", "models/own.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('export const version = "1";')

    with pytest.raises(UsageError, match="holds other files"):
        build_site(played, tmp_path)
    assert (tmp_path / "assets" / "own.css").is_file()


def test_codes_mean_the_same_models_whatever_the_ratings_are(played: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(played, tmp_path / "whole", ignore=shutil.ignore_patterns("report"))
    log = whole / "battles.jsonl"
    text = log.read_text()
    early = data_of(build_site(whole).parent, "site")
    turned = text.replace('"winner":"model_a"', '"winner":"x"')
    turned = turned.replace('"winner":"model_b"', '"winner":"model_a"').replace('"x"', '"model_b"')
    log.write_text(turned)

    late = data_of(build_site(whole).parent, "site")

    assert [row["model"] for row in late["overall"]] != [row["model"] for row in early["overall"]]
    assert [model["name"] for model in late["models"]] == [m["name"] for m in early["models"]]


def test_a_hundred_thousand_battles_are_columns_in_files_of_five_thousand() -> None:
    log = Log(random_battles(100_000), None)
    names = Names(
        [f"m{i}" for i in range(50)],
        ["d0", "d1"],
        ["j"],
        {d: list("0123456789") for d in ("d0", "d1")},
    )
    began = time.perf_counter()

    chunks = list(battle_chunks(log, pair_consistency(log.battles, {}), names))

    assert time.perf_counter() - began < 10
    assert len(chunks) == 100_000 // BATTLE_ROWS == 20
    values: list[Any] = [chunk.value for chunk in chunks]
    assert [value["start"] for value in values] == list(range(0, 100_000, BATTLE_ROWS))
    columns = {
        name: [cell for value in values for cell in value["columns"][name]]
        for name in values[0]["columns"]
    }
    assert columns["a"] == log.battles.model_a.tolist()
    assert columns["winner"] == [[1, 2, 0][code] for code in log.battles.winner.tolist()]
    other = columns["other"]
    assert all(other[place] == row for row, place in enumerate(other) if place is not None)


def random_battles(n_battles: int) -> Battles:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 50, n_battles)
    query_id = rng.integers(0, 10, n_battles).astype(np.int32)
    dataset = rng.integers(0, 2, n_battles).astype(np.int32)
    return Battles(
        models=tuple(f"m{i}" for i in range(50)),
        datasets=("d0", "d1"),
        judges=("j",),
        model_a=a.astype(np.int32),
        model_b=((a + rng.integers(1, 50, n_battles)) % 50).astype(np.int32),
        winner=rng.integers(0, 3, n_battles).astype(np.int8),
        dataset=dataset,
        query=dataset * 10 + query_id,
        judge=np.zeros(n_battles, np.int32),
        query_ids=tuple("0123456789"),
        query_id=query_id,
    )


def test_latency_keeps_its_shape_in_few_numbers() -> None:
    samples = tuple(float(i) for i in range(1, 1001))

    info = latency_info(RetrievalStats(samples), most=5)

    assert list(info.samples_ms) == [1.0, 250.8, 500.5, 750.2, 1000.0]
    assert info.n_samples == 1000
    assert info.histogram
    assert sum(info.histogram["counts"]) == 1000
    assert latency_info(RetrievalStats()).histogram is None


def test_a_few_slow_queries_leave_the_rest_of_the_chart_its_shape() -> None:
    samples = (*(1 + i / 100 for i in range(99)), 1000.0)

    histogram = latency_info(RetrievalStats(samples, latency_without="bm25")).histogram

    assert histogram
    assert sum(histogram["counts"]) == 100
    assert max(histogram["counts"]) < 90
    assert (histogram["edges"][0], histogram["edges"][-1]) == (1, 1000)


@pytest.mark.shared
def test_a_row_has_every_headline_figure_of_the_published_page(shared_data: Path) -> None:
    page = json.loads((shared_data / "leaderboard-page.json").read_text("utf-8"))
    headline = page["headline"]
    record = Record(headline["wins"], headline["losses"], headline["ties"])
    latency = Latency(headline["latency_ms"], 1.0, 1.0, 1.0, 1)
    own = LeaderboardRow(
        "own", headline["elo"], record, 8, metrics={"ndcg@10": headline["ndcg@10"]}, latency=latency
    )
    others = [
        LeaderboardRow(
            f"other-{place}",
            headline["elo"] + (1 if place < 7 else -1),
            Record(*((99, 1, 0) if place < 7 else (1, 99, 0))),
            metrics={"ndcg@10": headline["ndcg@10"] + (0.01 if place < 5 else -0.01)},
            latency=Latency(headline["latency_ms"] + (1 if place >= 9 else -1), 1, 1, 1, 1),
        )
        for place in range(headline["models"] - 1)
    ]

    row = ranked_rows([*others, own])[-1]

    assert row["n_models"] == headline["models"]
    assert row["rank"] == headline["rank"]
    assert row["battles"] == headline["evaluations"]
    assert row["win_rate"] == pytest.approx(headline["win_rate"], abs=5e-4)
    for ours, theirs in (("elo", "elo"), ("win_rate", "win_rate"), ("ndcg", "ndcg@10")):
        assert row[f"{ours}_rank"] == headline[f"{theirs}_rank"]
    assert row["latency_rank"] == headline["latency_rank"]


@pytest.mark.parametrize("bare", [True, False])
def test_notes_name_files_and_not_where_they_are(
    played: Path, tmp_path: Path, *, bare: bool
) -> None:
    folder = tmp_path / "secret-place"
    shutil.copytree(played, folder, ignore=shutil.ignore_patterns("report", "leader*"))
    with (folder / "battles.jsonl").open("ab") as log:
        log.write(b'{"id": "torn')

    site = build_site(folder / "battles.jsonl" if bare else folder, tmp_path / "out").parent

    notes = data_of(site, "site")["notes"]
    assert "battles.jsonl: the last line is unfinished and was not read" in notes
    assert all(b"secret-place" not in data for data in content(site).values())


def test_the_fastest_model_is_the_first_by_latency_and_equal_ones_share_a_place() -> None:
    def row(model: str, mean_ms: float | None) -> LeaderboardRow:
        latency = None if mean_ms is None else Latency(mean_ms, mean_ms, mean_ms, mean_ms, 9)
        return LeaderboardRow(
            rank=1, model=model, elo=1500.0, record=Record(1, 1, 0), latency=latency
        )

    rows = ranked_rows([row("slow", 9.0), row("fast", 1.0), row("also", 1.0), row("untimed", None)])

    assert [each["latency_rank"] for each in rows] == [3, 1, 1, None]


def won_by_share(log: Path, **wins: int) -> Path:
    """A log of four battles a query, of which x wins so many and y the rest."""
    rows = [
        {"model_a": "x", "model_b": "y", "query_id": query, "winner": f"model_{'ab'[at >= won]}"}
        for query, won in wins.items()
        for at in range(4)
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return log


def test_the_best_and_the_worst_queries_begin_with_the_most_extreme(tmp_path: Path) -> None:
    battles = load_battles([won_by_share(tmp_path / "log.jsonl", a=3, b=4, c=2, d=0, e=1)])

    found = extreme_queries(battles, {}, {})

    assert [query.query_id for query in found["x"].best] == ["b", "a"]
    assert [query.query_id for query in found["x"].worst] == ["d", "e"]
    assert [query.query_id for query in found["y"].best] == ["d", "e"]


def test_of_two_opponents_one_is_as_surely_better_as_the_other_is_worse(
    played: Path, site: Path
) -> None:
    [pair] = [
        p
        for p in read_leaderboard(played / "leaderboard.json").pairs
        if {p.a, p.b} == {"strong", "weak"}
    ]
    assert pair.p_better is not None
    odds = {pair.a: pair.p_better, pair.b: 1 - pair.p_better}

    for model, other in (("strong", "weak"), ("weak", "strong")):
        page = (site / "models" / f"{model}.html").read_text("utf-8")
        cells = page.split("Against every opponent")[1].split(f">{other}</a>")[1].split("</tr>")[0]
        assert f'<td class="number">{escape(FILTERS["sure"](odds[model]))}</td>' in cells


def test_latencies_of_one_order_of_magnitude_are_drawn_on_a_linear_scale() -> None:
    histogram = latency_info(RetrievalStats(latency_ms=(1.0, 2.0, 2.0, 3.0))).histogram

    assert histogram
    assert histogram["edges"] == [1.0, 1.5, 2.0, 2.5, 3.0]


def test_nothing_that_a_configuration_holds_in_secret_is_published(
    played: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    shutil.copytree(played, folder, ignore=shutil.ignore_patterns("report"))
    command = 'command = "env KEY=hunter2 search --anything hunter2 -k hunter2"'
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["config"]["models"][0] |= {
        "command": tomllib.loads(command)["command"],
        "query_extra": {"private_key": "hunter2"},
        "base_url": "https://me:hunter2@host.example/v1?sig=hunter2",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with (folder / "arena.toml").open("a") as toml:
        toml.write(f'[[models]]\nname = "z"\n{command}\nquery_extra = {{ sas = "hunter2" }}\n')

    site = build_site(folder).parent

    assert [name for name, data in content(site).items() if b"hunter2" in data] == []
    assert b"(hidden)" in (site / "method.html").read_bytes()


def test_lists_of_long_documents_share_a_file_with_fewer_others(tmp_path: Path) -> None:
    sizes = {}
    for length in (10, 100_000, 1_000_000):
        documents = [ShownDocument(f"d{i}", "", "x" * length, cut=False) for i in range(4)]
        queries = [ShownQuery(f"q{i}", "?", {}, {"m": (f"d{i}",)}) for i in range(4)]
        path = tmp_path / f"{length}.jsonl"
        write_shown(path, "key", [*documents, *queries])
        texts = read_shown(path)
        assert texts
        sizes[length] = shown_chunk_size({"docs": texts})

    assert sizes == {10: MOST_SHOWN, 100_000: 3, 1_000_000: 1}


def test_a_leaderboard_of_a_log_that_has_grown_meanwhile_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(write_experiment(tmp_path))
    folder = tmp_path / "runs" / "x"
    (folder / "leaderboard.json").unlink(missing_ok=True)

    def rate_while_the_log_grows(paths: list[Path], **known: Any) -> object:
        leaderboard = rate_files(paths, **known)
        log = folder / "battles.jsonl"
        os.utime(log, ns=(log.stat().st_atime_ns, log.stat().st_mtime_ns + 1_000_000_000))
        return leaderboard

    with monkeypatch.context() as patch:
        patch.setattr("arena.site.gather.rate_files", rate_while_the_log_grows)
        current_leaderboard(folder, partial(read_log_columns, folder))
    kept_meanwhile = (folder / "leaderboard.json").exists()
    current_leaderboard(folder, partial(read_log_columns, folder))

    assert not kept_meanwhile
    assert (folder / "leaderboard.json").exists()


def test_a_leaderboard_of_older_code_is_rated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(write_experiment(tmp_path))
    folder = tmp_path / "runs" / "x"
    file = folder / "leaderboard.json"
    current_leaderboard(folder, partial(read_log_columns, folder))
    older = file.read_text().replace('"tied_with_first"', '"was_not_there"')
    file.write_text(older)

    current_leaderboard(folder, partial(read_log_columns, folder))
    kept = file.read_text()
    monkeypatch.setattr("arena.site.gather._newest_code", lambda: file.stat().st_mtime_ns + 1)
    current_leaderboard(folder, partial(read_log_columns, folder))

    assert kept == older
    assert '"tied_with_first"' in file.read_text()
