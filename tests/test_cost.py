"""What a model costs to own: the formula, what is unknown, and the model that arena recommends."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from experiments import fair_judge, llm, play, write_experiment
from hypothesis import given
from hypothesis import strategies as st
from loopback import LoopbackServer, embeddings
from tables import each_row

import arena
from arena.cli import main
from arena.config import UsageConfig, parse_config
from arena.config.section import checked_section
from arena.cost.formula import FREE, UNKNOWN_COST, Cost, Rates, monthly_costs
from arena.cost.model_rates import Measurement, model_rates, passages_per_document
from arena.cost.recommend import Candidate, Gap, number, recommend, rounded_dollars, signed
from arena.errors import ConfigError, DataError, UsageError
from arena.rating.leaderboard_files import read_leaderboard
from arena.records import RetrievalStats
from arena.site.build import build_site

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "cost.md").read_text("utf-8")
LOAD = UsageConfig(documents=1_000_000, queries_per_month=200_000, reindex_per_year=2)
HOSTED = Rates(
    tokens_per_passage=180,
    tokens_per_query=12,
    price_per_1m_tokens=0.13,
    bytes_per_passage=12_288,
    seconds_per_passage=0,
    seconds_per_query=0,
    price_per_month=0,
)
LOCAL = replace(
    HOSTED,
    price_per_1m_tokens=0,
    tokens_per_passage=None,
    tokens_per_query=None,
    seconds_per_passage=1 / 400,
    seconds_per_query=0.008,
    machine="local",
)


def cost(rates: Rates, usage: UsageConfig = LOAD) -> Cost:
    return monthly_costs({"m": rates}, usage)["m"]


def used(**changes: float) -> UsageConfig:
    return checked_section(UsageConfig, LOAD.model_dump() | changes, "test")


def rate(*words: object) -> Result:
    return CliRunner().invoke(main, ["rate", *map(str, words)])


def test_the_worked_example_of_the_page_is_what_the_formula_gives() -> None:
    usage = tomllib.loads(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0])["usage"]

    example = cost(
        HOSTED, checked_section(UsageConfig, usage | {"passages_per_document": 3}, "page")
    )

    shown = dict(
        re.findall(r"^\| \**([a-z -]+?)\** \| .+ \| \**(\$[\d.]+)\** \|$", PAGE, re.MULTILINE)
    )
    assert shown == {
        "first index": rounded_dollars(example.once or 0),
        "re-index": rounded_dollars(example.indexing or 0),
        "queries": rounded_dollars(example.queries or 0),
        "storage": rounded_dollars(example.storage or 0),
        "a month": rounded_dollars(example.per_month or 0),
    }
    # The same by hand: 70.2 * 2 / 12 + 0.312 + 36.864 GB * 0.33
    assert example.per_month == pytest.approx(11.7 + 0.312 + 12.16512)


def test_a_machine_of_your_own_is_paid_by_the_hours_that_it_works() -> None:
    counted = cost(LOCAL, used(price_per_hour=0.5, passages_per_document=3))

    assert counted.once == pytest.approx(3_000_000 / 400 / 3600 * 0.5)
    assert counted.queries == pytest.approx(200_000 * 0.008 / 3600 * 0.5)
    assert not counted.machine_is_free
    assert cost(LOCAL).queries == 0
    assert cost(LOCAL).machine_is_free
    assert cost(replace(LOCAL, price_per_hour=2.0)).queries == pytest.approx(
        4 * (counted.queries or 0)
    )


amounts = st.floats(0, 1e9)


@given(
    documents=amounts,
    queries=amounts,
    reindex=st.floats(0, 100),
    factor=st.floats(0, 1000),
    rates=st.sampled_from([HOSTED, LOCAL, replace(HOSTED, price_per_1k_queries=2.0)]),
)
def test_a_load_of_so_many_times_as_much_costs_so_many_times_as_much(
    documents: float, queries: float, reindex: float, factor: float, rates: Rates
) -> None:
    load = used(
        documents=documents, queries_per_month=queries, reindex_per_year=reindex, price_per_hour=1.5
    )
    more = used(
        documents=documents * factor,
        queries_per_month=queries * factor,
        reindex_per_year=reindex,
        price_per_hour=1.5,
    )

    once, often = cost(rates, load).per_month, cost(rates, more).per_month

    assert once is not None
    assert often == pytest.approx(once * factor, rel=1e-9, abs=1e-9)


@each_row(
    "field",
    [
        "tokens_per_passage",
        "tokens_per_query",
        "price_per_1m_tokens",
        "bytes_per_passage",
        "price_per_month",
    ],
)
def test_one_unknown_figure_makes_the_cost_unknown_and_never_zero(field: str) -> None:
    unknown = cost(replace(HOSTED, **{field: None}))

    assert unknown.per_month is None
    assert len(unknown.needs) == 1


def test_what_is_not_used_costs_nothing_though_its_price_is_unknown() -> None:
    idle = used(documents=0, queries_per_month=0)

    assert cost(replace(HOSTED, price_per_1m_tokens=None, bytes_per_passage=None), idle) == Cost(
        "m", 0, 0, 0, 0, 0, 0
    )


def test_tokens_that_you_state_replace_those_that_were_measured_or_not() -> None:
    usage = used(tokens_per_document=1000, tokens_per_query=20)

    for rates in (HOSTED, replace(HOSTED, tokens_per_passage=None, tokens_per_query=None)):
        assert cost(rates, usage).once == pytest.approx(1000 * 0.13)
        assert cost(rates, usage).queries == pytest.approx(0.2 * 20 * 0.13)


def test_a_model_that_two_others_share_is_paid_once() -> None:
    rates = {
        "dense": HOSTED,
        "words": replace(FREE, price_per_month=7.0),
        "both": replace(FREE, below=("words", "dense")),
        "reranked": replace(FREE, price_per_1k_queries=2.0, below=("both",)),
        "top": replace(FREE, below=("reranked", "dense")),
        "orphan": replace(FREE, below=("gone",)),
    }

    costs = monthly_costs(rates, LOAD)

    both = 7.0 + (costs["dense"].per_month or 0)
    assert costs["both"].per_month == pytest.approx(both)
    assert costs["top"].per_month == pytest.approx(both + 400)
    assert costs["orphan"].per_month is None


TOKENS = RetrievalStats(
    latency_ms=(4.0, 12.0),
    n_documents=100,
    tokens=19_000,
    tokens_per_document=180.0,
    tokens_per_query=20.0,
    documents_per_s=400.0,
    bytes_per_vector=1536.0,
)
LATER = replace(TOKENS, latency_ms=(54.0, 62.0), bytes_per_vector=None)


@each_row(
    ("section", "dollars_a_month", "needs"),
    [
        ({"provider": "voyage", "price_per_1m_tokens": 0.06}, 1.8 + 0.24 + 0.50688, ()),
        ({"provider": "voyage"}, None, ("price_per_1m_tokens",)),
        ({"provider": "voyage", "price_per_month": 99}, 99 + 0.50688, ()),
        ({"provider": "minilm"}, 0.50688, ()),
        ({"provider": "minilm", "price_per_hour": 3.6}, 0.50688 + 0.41667 + 1.6, ()),
        ({"provider": "minilm", "price_per_month": 50}, 50.50688, ()),
        ({"provider": "bm25"}, 0, ()),
        ({"provider": "vllm"}, None, ("price_per_hour",)),
        ({"provider": "vllm", "price_per_1m_tokens": 0}, 0.50688, ()),
        ({"provider": "openai", "base_url": "http://gpu-box:8000/v1"}, None, ("price_per_hour",)),
        (
            {"provider": "openai", "base_url": "https://api.example.com/v1"},
            None,
            ("price_per_1m_tokens",),
        ),
        ({"run": "x.trec"}, None, ("price_per_month or price_per_1k_queries",)),
        ({"run": "x.trec", "price_per_month": 0}, 0, ()),
        ({"command": "search", "price_per_1k_queries": 0.5}, 100, ()),
        ({"run": "x.trec", "price_per_1m_tokens": 1.0}, 30 + 4, ()),
        ({"name": "a function"}, None, ("price_per_month or price_per_1k_queries",)),
    ],
)
def test_a_models_section_and_measurements_decide_what_is_paid(
    section: dict, dollars_a_month: float | None, needs: tuple[str, ...]
) -> None:
    priced = cost(model_rates(section, [Measurement(TOKENS)]))

    assert priced.per_month == (
        None if dollars_a_month is None else pytest.approx(dollars_a_month, abs=1e-4)
    )
    assert priced.needs == needs


@each_row(
    ("prices", "own", "needs"),
    [
        ({"rerank": "cohere", "price_per_1k_queries": 2.0}, 400, ()),
        ({"rerank": "jina", "price_per_1m_tokens": 0.05}, 0.2, ()),
        ({"rerank": "cohere"}, None, ("price_per_1m_tokens or price_per_1k_queries",)),
        # 50 ms of the 58 ms are its own: 10,000 s
        ({"rerank": "cross-encoder", "price_per_hour": 3.6}, 10, ()),
        ({"rerank": "cross-encoder"}, 0, ()),
    ],
)
def test_a_reranker_costs_its_own_part_and_that_of_its_base(
    prices: dict, own: float | None, needs: tuple[str, ...]
) -> None:
    rates = {
        "base": model_rates({"provider": "voyage", "price_per_month": 10}, [Measurement(TOKENS)]),
        "m": model_rates({"base": "base", **prices}, [Measurement(LATER, TOKENS)]),
    }

    costs = monthly_costs(rates, LOAD)

    below = costs["base"].per_month or 0
    total = costs["m"].per_month
    assert total is None if own is None else total == pytest.approx(below + own)
    assert costs["m"].needs == needs


def test_quantities_are_means_over_data_sets_and_unknown_if_one_is() -> None:
    more = replace(TOKENS, tokens_per_document=220.0, bytes_per_vector=512.0)
    section = {"provider": "voyage", "price_per_1m_tokens": 1.0}

    both = model_rates(section, [Measurement(TOKENS), Measurement(more)])
    half = model_rates(section, [Measurement(TOKENS), Measurement(RetrievalStats())])

    assert (both.tokens_per_passage, both.bytes_per_passage) == (200.0, 1024.0)
    assert half.tokens_per_passage is None
    cut = {"documents": 90, "whole_documents": 30}
    assert passages_per_document([cut, {"documents": 50, "whole_documents": 10}]) == 4
    assert passages_per_document([cut, {"documents": 50}]) is None


def test_a_model_that_cuts_smaller_passages_has_more_vectors() -> None:
    section = {"provider": "voyage", "price_per_1m_tokens": 1.0, "passage_words": 100}

    cut = cost(model_rates(section, [Measurement(TOKENS, n_corpus=25)]))
    whole = cost(model_rates(section, [Measurement(TOKENS, n_corpus=100)]))

    assert cut.storage == pytest.approx(4 * (whole.storage or 0))
    assert cut.once == pytest.approx(4 * (whole.once or 0))
    assert cut.queries == whole.queries


def test_rows_of_a_table_are_documents_and_passages_of_a_file_are_not(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.txt").write_text("One sentence of six words here. " * 40)
    (tmp_path / "docs" / "faq.csv").write_text("question,answer\nhow,so\nwhere,there\n")
    (tmp_path / "queries.txt").write_text("how does one do it\nwhere is it\n")
    (tmp_path / "arena.toml").write_text(
        '[experiment]\nname = "x"\n[[datasets]]\nname = "d"\ndocuments = "docs"\n'
        'queries = "queries.txt"\npassage_words = 60\n[[models]]\nname = "a"\nprovider = "bm25"\n'
        '[[models]]\nname = "b"\nprovider = "bm25"\nlanguage = "english"\n[judge]\n'
        'model = "none"\ngate = false\n'
    )
    with LoopbackServer(fair_judge) as server:
        config = tmp_path / "arena.toml"
        config.write_text(config.read_text() + f'base_url = "{server.base_url}"\n')
        play(config)

    told = json.loads((tmp_path / "runs" / "x" / "manifest.json").read_bytes())["datasets"]["d"]
    assert told["whole_documents"] == 3
    assert told["documents"] > 3


def candidate(model: str, per_month: float | None, rating: float | None, *, may: bool) -> Candidate:
    needs = () if per_month is not None else ("price_per_1m_tokens",)
    return Candidate(Cost(model, 0, 0, 0, 0, per_month, 0, needs), rating, may)


def test_the_cheapest_that_may_be_best_is_taken_and_both_steps_are_priced() -> None:
    candidates = [
        candidate("large", 124.0, 1535, may=True),
        candidate("small", 4.0, 1500, may=True),
        candidate("dear", 300.0, 1510, may=True),
        candidate("secret", None, 1520, may=True),
        candidate("bm25", 0.0, 1380, may=False),
        candidate("old", 1.0, 1200, may=False),
    ]
    gaps = [Gap("large", "small", 35, 5, 65), Gap("small", "bm25", 120, 80, 160)]

    found = recommend(candidates, gaps, LOAD)

    assert found.take == "small"
    assert found.step_up is not None
    assert (found.step_up.model, found.step_up.usd_per_month) == ("large", 120.0)
    assert found.step_down is not None
    assert found.step_down.model == "bm25"
    assert found.sentences == (
        "Take small: $4.00 a month, the cheapest of the 4 models that may be best.",
        f"+$120 a month buys large with +35 Elo (+5 to +65): {PREFERRED} 55% of {INSTEAD}",
        f"-$4.00 a month is bm25 with -120 Elo (-160 to -80): {PREFERRED} 33% of {INSTEAD}",
        "May be best at an unknown cost: secret (set price_per_1m_tokens).",
        f"Assumed: {ASSUMED}, $0.33 for a GB of vectors a month.",
    )


PREFERRED = "its list is preferred to that of small for"
INSTEAD = "queries instead of 50%."
ASSUMED = "1,000,000 documents, 200,000 queries a month, re-indexed 2 times a year"


@each_row(
    ("candidates", "first"),
    [
        (
            [candidate("a", 9.0, 1600, may=True), candidate("b", 1.0, 1400, may=False)],
            "Take a: $9.00 a month, the only one of 2 models that may be best.",
        ),
        (
            [candidate("a", 5.0, 1510, may=True), candidate("b", 5.0, 1490, may=True)],
            "Take a: $5.00 a month, the cheapest of the 2 models that may be best.",
        ),
        (
            [candidate("a", None, 1600, may=True), candidate("b", 1.0, 1400, may=False)],
            "No recommendation: the cost of every model that may be best is unknown.",
        ),
        (
            [candidate("a", 1.0, None, may=False), candidate("b", 2.0, None, may=False)],
            "No recommendation: there are no rank intervals yet; judge more queries.",
        ),
    ],
)
def test_a_recommendation_says_what_it_rests_on(candidates: list[Candidate], first: str) -> None:
    assert recommend(candidates, [], LOAD).sentences[0] == first


def test_amounts_are_written_as_people_write_them() -> None:
    assert [rounded_dollars(x) for x in (0, 0.001, 0.125, 4, 99.99, 99.996, 1234.5)] == [
        "$0.00",
        "under $0.01",
        "$0.13",
        "$4.00",
        "$99.99",
        "$100",
        "$1,235",
    ]
    assert [signed(x) for x in (34.5, -4.2, 0.2, -0.2)] == ["+35", "-4", "0", "0"]
    assert [number(x) for x in (1e6, 0.33, 2.5, 0)] == ["1,000,000", "0.33", "2.5", "0"]


@each_row(
    ("key", "value"),
    [
        ("documents", -1),
        ("documents", "many"),
        ("documents", float("nan")),
        ("documents", True),
        ("queries_per_month", float("inf")),
        ("passages_per_document", 0),
        ("documents", 1e300),
        ("price_per_gb_month", -0.1),
        ("price_per_gigabyte", 1),
    ],
)
def test_a_usage_that_cannot_be_is_one_line_with_its_key(key: str, value: object) -> None:
    tree = {
        "experiment": {"name": "x"},
        "datasets": [{"name": "d", "path": "d"}],
        "models": [{"name": "a", "provider": "bm25"}, {"name": "b", "provider": "lsa"}],
        "judge": {"kind": "qrels"},
        "usage": {"documents": 1, "queries_per_month": 1, key: value},
    }

    with pytest.raises(ConfigError) as raised:
        parse_config(tree, Path("arena.toml"))

    assert str(raised.value).startswith(f"arena.toml: usage.{key}: ")
    assert "\n" not in str(raised.value)


USAGE = "[usage]\ndocuments = 1_000_000\nqueries_per_month = 200_000\n"
MODELS = """
[[models]]
name = "embedder"
provider = "openai"
model = "embed-1"
base_url = "{base_url}"
price_per_1m_tokens = 0.5
[[models]]
name = "bm25"
provider = "bm25"
"""


def embed(request: dict, attempt: int) -> object:
    texts = request["input"]
    vectors = [[1.0, text.count("good"), text.count("q1")] for text in texts]
    return embeddings(vectors, tokens=sum(len(text.split()) for text in texts))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment with [usage] and an embedder that bills a token a word; its folder alone."""
    folder = tmp_path_factory.mktemp("cost")
    with LoopbackServer(embed) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARENA_CACHE", str(folder / "cache"))  # playing sets it: undone here
        config = write_experiment(folder, settings="top_k = 2")
        text = config.read_text().replace(
            "[judge]", MODELS.format(base_url=server.base_url) + "[judge]"
        )
        config.write_text(text + USAGE)
        play(config)
    alone = tmp_path_factory.mktemp("alone") / "x"
    shutil.move(folder / "runs" / "x", alone)
    shutil.rmtree(folder)
    return alone


def test_the_cost_comes_from_what_the_endpoint_billed_and_the_folder_alone(
    experiment: Path,
) -> None:
    done = rate(experiment, "--cost", "--prior", "1", "--json", "--price-per-hour", "0")

    assert done.exit_code == 0, done.output
    block = json.loads(done.stdout)["cost"]
    known = {row["model"]: row for row in block["models"]}
    rates = block["rates"]["embedder"]
    # "About q1 a good document for q1", "what is q1?" and three numbers of four bytes
    assert (rates["tokens_per_passage"], rates["tokens_per_query"]) == (7.0, 3.0)
    assert rates["bytes_per_passage"] == 12
    assert known["embedder"]["once"] == pytest.approx(3.5)
    assert known["embedder"]["per_month"] == pytest.approx(3.5 / 12 + 0.3 + 0.012 * 0.33)
    assert known["bm25"]["per_month"] == 0
    assert known["strong"]["per_month"] is None
    assert known["strong"]["needs"] == ["price_per_month or price_per_1k_queries"]
    assert block["usage"]["documents"] == 1_000_000


def test_a_leaderboard_that_is_read_back_has_the_same_costs(experiment: Path) -> None:
    board = arena.rate(experiment, settings=arena.RatingSettings(prior=1.0))
    done = rate(experiment, "--prior", "1", "--json")

    again = read_leaderboard(experiment / "leaderboard.json")

    assert again.usage == board.usage
    assert again.rates == board.rates
    assert again.gaps == board.gaps
    assert (
        json.loads(done.stdout)["cost"]["recommendation"]["take"]
        == board.cost().recommendation.take
    )
    assert "usd_per_month" in (experiment / "leaderboard.csv").read_text().splitlines()[0]


def test_a_leaderboard_whose_load_was_damaged_is_no_leaderboard(
    experiment: Path, tmp_path: Path
) -> None:
    rate(experiment, "--prior", "1")
    tree = json.loads((experiment / "leaderboard.json").read_bytes())
    tree["cost"]["usage"]["documents"] = -1
    (tmp_path / "leaderboard.json").write_text(json.dumps(tree))

    with pytest.raises(DataError, match="not a leaderboard"):
        read_leaderboard(tmp_path / "leaderboard.json")


def test_a_table_of_costs_stands_below_the_ratings(experiment: Path) -> None:
    done = rate(experiment, "--prior", "1", "--documents", "10M", "--queries-per-month", "200k")

    assert re.search(r"^embedder +\$3\.26 +\$2\.92 +\$0\.30 +\$0\.04", done.stdout, re.MULTILINE)
    head = next(line for line in done.stdout.splitlines() if "rating" in line)
    assert head.endswith("$ a month")
    assert "• Take " in done.stdout
    assert "Assumed: 10,000,000 documents, 200,000 queries a month" in done.stdout


def test_the_gap_of_a_step_is_that_of_a_comparison_with_the_interval_of_all_pairs_at_once(
    experiment: Path,
) -> None:
    settings = arena.RatingSettings(prior=1.0)
    board = arena.rate(experiment, settings=settings)

    from arena.battles.load import load_battles
    from arena.rating.head_to_head import head_to_head

    gap = board.gaps[0]
    difference = head_to_head(
        load_battles([experiment]), gap.b, gap.a, settings=settings
    ).difference

    assert gap.elo == pytest.approx(difference.elo)
    assert gap.lower < difference.lower
    assert difference.upper < gap.upper


def test_a_step_up_never_surely_buys_a_better_model_than_one_that_may_be_best(
    experiment: Path,
) -> None:
    board = arena.rate(experiment, settings=arena.RatingSettings(prior=1.0))

    best = [row.model for row in board.overall if row.rank_lower == 1]
    assert len(best) > 1
    assert [gap for gap in board.gaps if gap.lower > 0 and gap.b in best] == []
    assert [gap for gap in board.gaps if gap.upper < 0 and gap.a in best] == []
    assert [gap for gap in board.gaps if gap.lower > 0] != []


def test_in_python_a_load_may_be_given_or_that_of_the_experiment_be_used(experiment: Path) -> None:
    board = arena.rate(experiment, settings=arena.RatingSettings(prior=1.0))

    frame = board.cost(documents=2e6, price_per_hour=1.0).to_frame().set_index("model")

    assert frame.loc["embedder", "once"] == pytest.approx(7.0)
    assert frame["per_month"].isna().sum() == 3  # the run files
    assert "Take " in board.cost()._repr_html_()
    with pytest.raises(ConfigError, match=r"^cost: documents: .*not -1"):
        board.cost(documents=-1)
    with pytest.raises(ConfigError, match="did you mean documents"):
        board.cost(document=1)


def test_an_old_run_says_what_to_set_and_counts_nothing_as_free(
    experiment: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(experiment, tmp_path / "old")
    path = old / "retrieval" / "docs" / "embedder.json"
    stats = json.loads(path.read_bytes())
    path.write_text(json.dumps({k: v for k, v in stats.items() if not k.startswith("tokens_per_")}))

    done = rate(old, "--prior", "1", "--cost")
    block = json.loads(rate(old, "--prior", "1", "--json").stdout)["cost"]

    assert "embedder (set tokens_per_document, tokens_per_query)" in done.stdout
    assert {r["model"]: r for r in block["models"]}["embedder"]["per_month"] is None


def test_a_load_that_is_added_later_is_recorded_without_a_request(tmp_path: Path) -> None:
    models = {"a": ["good", "fair"], "b": ["fair", "good"], "c": ["good", "poor"]}
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url), rankings=models)
        play(config)
        n_requests = len(server.requests)
        before = json.loads(rate(tmp_path / "runs" / "x", "--json").stdout)
        text = config.read_text().replace('"a.trec"', '"a.trec"\nprice_per_month = 30')
        config.write_text(text + USAGE)
        play(config)

    after = json.loads(rate(tmp_path / "runs" / "x", "--json").stdout)
    page = build_site(tmp_path / "runs" / "x").read_text("utf-8")

    assert len(server.requests) == n_requests
    assert "cost" not in before
    costs = {row["model"]: row["per_month"] for row in after["cost"]["models"]}
    assert costs == {"a": 30, "b": None, "c": None}
    assert 'id="cost"' in page


def test_experiments_with_different_loads_need_one_for_both(
    experiment: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(experiment, tmp_path / "other")
    path = other / "manifest.json"
    path.write_text(path.read_text().replace("1000000", "5000000"))

    refused = rate(experiment, other, "--cost")
    given = rate(experiment, other, "--documents", "1k", "--queries-per-month", "5", "--json")

    assert refused.exit_code == 2
    assert "different [usage]; give --documents 1M --queries-per-month 200k" in refused.output
    assert json.loads(given.stdout)["cost"]["usage"]["documents"] == 1000
    assert "cost" not in json.loads(rate(experiment, other, "--json").stdout)


@each_row("value", ["-1", "nan", "inf", "many", "1q", "", "1e99", "k"])
def test_an_option_that_is_no_quantity_is_a_usage_error(value: str, tmp_path: Path) -> None:
    done = rate(tmp_path, "--documents", value)

    assert done.exit_code == 2
    problem = f"{value!r}; expected 0 or more, such as 200k or 1M."
    assert done.output.splitlines()[-1] == f"Error: Invalid value for '--documents': {problem}"


def test_a_cost_without_a_load_says_how_to_give_one(experiment: Path) -> None:
    done = rate(experiment / "battles.jsonl", "--cost")

    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert "give --documents 1M --queries-per-month 200k" in done.output
    with pytest.raises(UsageError, match=r"give cost\(documents=1e6"):
        arena.rate(experiment / "battles.jsonl").cost()


def test_of_a_log_alone_every_cost_is_unknown(experiment: Path) -> None:
    log = experiment / "battles.jsonl"
    done = rate(log, "--documents", "1M", "--queries-per-month", "1k", "--prior", "1", "--json")

    block = json.loads(done.stdout)["cost"]

    assert {row["per_month"] for row in block["models"]} == {None}
    assert block["recommendation"]["take"] is None
    assert UNKNOWN_COST.needs_price in block["recommendation"]["sentences"][1]
