"""arena.toml: every mistake reported, with its key and a remedy."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from tables import each_row

from arena.config import experiment, known_price, load_config, parse_config
from arena.config.experiment import _sections
from arena.config.unknown_keys import SYNONYMS
from arena.errors import ConfigError
from arena.files import safe_filename
from arena.store.folder import Folder

TOML = """
[experiment]
name = "handbook"

[[datasets]]
name = "scifact"
path = "data/scifact"

[[models]]
name = "bm25"
provider = "bm25"

[[models]]
name = "hybrid"
run = "elsewhere/hybrid.{dataset}.trec"

[judge]
model = "gpt-4.1-mini"
"""


def tree(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "experiment": {"name": "x"},
        "datasets": [{"name": "d", "path": "d"}],
        "models": [{"name": "a", "provider": "bm25"}, {"name": "b", "provider": "lsa"}],
        "judge": {"kind": "qrels"},
    }
    return good | changes


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(tree(**changes), Path("arena.toml"))
    assert caught.value.exit_status == 2
    return caught.value.problems


def test_a_plain_file_loads_with_the_published_defaults(tmp_path: Path) -> None:
    path = tmp_path / "arena.toml"
    path.write_text(TOML)

    config = load_config(path)

    assert (config.experiment.seed, config.experiment.top_k, config.experiment.orders) == (
        42,
        5,
        "both",
    )
    assert (config.judges[0].temperature, config.judges[0].document_words) == (0, 300)


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    path = tmp_path / "arena.toml"
    path.write_text(TOML)

    config = load_config(path)

    assert config.datasets[0].path == tmp_path / "data/scifact"
    assert config.models[1].run == str(tmp_path / "elsewhere/hybrid.{dataset}.trec")


def test_an_unknown_key_suggests_the_nearest_known_one() -> None:
    found = problems(judge={"kind": "qrels", "documentwords": 100})

    assert found == ("judge.documentwords: unknown key; did you mean document_words?",)


@pytest.mark.parametrize(
    ("section", "key", "advice"),
    [
        ("models", "chunk_size", "did you mean passage_words?"),
        ("models", "chunkOverlap", "did you mean overlap?"),
        ("models", "passage-words", "did you mean passage_words?"),
        ("models", "top_k", "it belongs to [experiment]"),
        ("datasets", "chunk_size", "did you mean passage_words?"),
        ("experiment", "chunk_size", "did you mean passage_words of [[datasets]] or [[models]]?"),
        ("experiment", "max_usd", "it belongs to [judge]"),
        ("experiment", "qqq", "known: name, seed, top_k,"),
        ("judge", "endpoint", "did you mean base_url?"),
        ("judge", "api_key", "did you mean api_key_env?"),
    ],
)
def test_an_unknown_key_suggests_what_arena_calls_the_same(
    section: str, key: str, advice: str
) -> None:
    added = {key: 100}
    sections = {
        "models": {"models": [{"name": "a", "provider": "bm25"} | added]},
        "datasets": {"datasets": [{"name": "d", "path": "p"} | added]},
        "experiment": {"experiment": {"name": "x"} | added},
        "judge": {"judge": {"kind": "qrels"} | added},
    }

    (found, *_) = problems(**sections[section])

    assert f".{key}: unknown key; {advice}" in found


def test_each_key_that_is_suggested_for_another_word_is_one_of_an_arena_toml() -> None:
    keys = {key for section in _sections().values() for key in section}

    assert keys > SYNONYMS.keys()


def test_mistakes_with_strange_names_and_types_are_lines_without_python() -> None:
    found = problems(
        models=[{"name": "a\n\u2028\x1b[31m", "provider": "bm25"}, {"name": "x" * 10**6}, 1],
        datasets="d",
        judge=[],
    )

    assert [line.splitlines() for line in found] == [[line] for line in found]
    assert all(len(line) < 300 for line in found)
    assert "datasets: should be a list, not 'd'" in found
    assert "models[2]: should be a table of keys, not 1" in found
    assert "judge: should be a table of keys" in found


def test_every_mistake_of_a_file_is_reported_together() -> None:
    found = problems(
        experiment={"name": "x", "top_k": 0, "orders": "none"},
        models=[{"name": "a", "provder": "bm25"}, {"name": "b", "provider": "bm26"}],
        judge={"kind": "qrels", "concurrency": "fast"},
    )

    places = [problem.split(":")[0] for problem in found]
    assert places == [
        "experiment.top_k",
        "experiment.orders",
        'models[0] ("a").provder',
        'models[1] ("b").provider',
        "judge.concurrency",
    ]


@each_row(
    ("changes", "expected"),
    [
        ({"models": [{"name": "a", "provider": "bm25"}]}, "a battle needs two"),
        ({"datasets": []}, "add a [[datasets]] section"),
        ({"judge": {}}, 'needs model = "..."'),
        ({"datasets": [{"name": "d"}]}, "exactly one of path"),
        ({"datasets": [{"name": "d", "documents": "d"}]}, "documents have no queries; add queries"),
        (
            {"datasets": [{"name": "d", "path": "d", "revision": "v1"}]},
            "revision has no effect with path, only with hf and public",
        ),
        (
            {"datasets": [{"name": "d", "builtin": "python", "split": "dev"}]},
            "split has no effect with builtin, only with path and hf and public",
        ),
        (
            {"datasets": [{"name": "d", "path": "d", "builtin": "python"}]},
            "has path and builtin; needs exactly one of path",
        ),
        (
            {"models": [{"name": "a"}, {"name": "b", "provider": "lsa"}]},
            "exactly one of provider",
        ),
        ({"datasets": [{"name": "d", "path": 5}]}, "path: should be a path, not 5"),
        ({"experiment": {"name": "../up"}}, "experiment.name"),
        ({"experiment": {}}, "experiment.name: missing"),
        ({"judge": {"kind": "qrels", "api_key": "sk-123"}}, "did you mean api_key_env"),
    ],
)
def test_a_mistake_says_what_to_do(changes: dict[str, Any], expected: str) -> None:
    assert expected in problems(**changes)[0]


@each_row(
    ("settings", "expected"),
    [
        ({"provider": "bm25", "dimensions": 64}, "dimensions is for models that make vectors"),
        ({"command": "./search", "precision": "int8"}, "precision is for models that make vectors"),
        ({"run": "a.trec", "query_prefix": "q"}, "query_prefix is for models that embed or rerank"),
        ({"provider": "onnx", "base_url": "http://h"}, "base_url is for models behind an API"),
        (
            {"rerank": "cross-encoder", "base": "b", "query_extra": {"a": 1}},
            "query_extra is for models behind an API",
        ),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(
    settings: dict[str, Any], expected: str
) -> None:
    models = [{"name": "a", **settings}, {"name": "b", "provider": "lsa"}]

    assert expected in problems(models=models)[0]


@each_row(
    "key", ["sk-proj-Zm9v", "sk_live_51Hq3kXyZAbC9dEfGhIjKl", "AIzaSyD4e5f6A7b8C9d0E1f2G3h4", ""]
)
@each_row("section", ["judge", "models"])
def test_a_key_in_place_of_the_name_of_its_variable_is_refused_and_not_repeated(
    key: str, section: str
) -> None:
    named = {"model": "m", "api_key_env": key}
    model = {"name": "a", "provider": "openai", "api_key_env": key}
    changes = (
        {"judge": named}
        if section == "judge"
        else {"models": [model, {"name": "b", "provider": "bm25"}]}
    )

    (problem,) = problems(**changes)

    assert "api_key_env: is not an environment variable's name; put the key into" in problem
    assert not key or key not in problem


@each_row("name", ["OPENAI_API_KEY", "key2", "arena_key_of_judge_number_1", "_X"])
def test_any_usual_name_of_a_variable_is_one(name: str) -> None:
    config = parse_config(tree(judge={"model": "m", "api_key_env": name}), Path("arena.toml"))

    assert config.judges[0].api_key_env == name


PRICES = {"price_per_1m_input_tokens": 1, "price_per_1m_output_tokens": 2}


@each_row(
    ("judges", "expected"),
    [
        ({}, "add a [judge] section, or [[judges]] for a panel"),
        ({"judges": []}, "add a [judge] section"),
        ({"judge": {"kind": "qrels"}, "judges": [{"model": "m"}]}, "not both"),
        ({"judges": [{"model": "m"}, {"model": "m", "top": 1}]}, "judges[1].top: unknown key"),
        ({"judges": [{"model": "m"}, {"model": "M"}]}, "'m' and 'M' share one name"),
        ({"judges": [{"kind": "qrels", "name": "truth"}]}, 'has the name "qrels"'),
        ({"judge": {"model": "m", "max_usd": 1}}, "max_usd = 1 needs price_per_1m_input_tokens"),
        (
            {"judge": {"model": "m", "max_usd": 1, "price_per_1m_input_tokens": 1}},
            "without prices, no limit",
        ),
        ({"judge": {"model": "m", "max_usd": 0} | PRICES}, "judge.max_usd"),
        ({"judge": {"model": "m", "rpm": 0}}, "judge.rpm"),
        ({"judge": {"model": "m", "kind": "listwise"}}, "judge.kind"),
    ],
)
def test_a_mistake_about_judges_says_what_to_do(judges: dict[str, Any], expected: str) -> None:
    rest = {key: value for key, value in tree().items() if key != "judge"}

    with pytest.raises(ConfigError) as caught:
        parse_config(rest | judges, Path("arena.toml"))

    assert expected in caught.value.problems[0]


@each_row(
    "url",
    [
        "localhost:8000/v1",
        "ftp://host/v1",
        "https:///v1",
        "http://[/",
        "https://me:hunter2@host/v1",
        "https://host/v1?api_key=hunter2",
        "https://host/v1?x=1&apikey=hunter2",
        "https://host/v1?subscription-key=hunter2",
        "https://host/v1?token=hunter2",
        "https://host/v1?auth=hunter2",
        "https://host/v1?code=hunter2",
        "https://host/v1?pwd=hunter2",
        "https://host/v1?sas=hunter2",
        "https://host/v1?pass=hunter2",
        "https://host/v1?X-Amz-Signature=hunter2",
        "https://host/v1?accessToken=hunter2",
        "https://host/v1?%61uth=hunter2",
        "https://host/v1?a=1;auth=hunter2",
        "https://host/v1#token=hunter2",
        "https://host/v1?deployment=sk-hunter2hunter2hunter2",
        "https://host/sk-hunter2hunter2hunter2/v1",
        "https://host/v1?x=Hunter2hunter2hunter2hunter2",
    ],
)
def test_an_address_that_is_none_or_holds_a_key_is_refused_and_not_repeated(url: str) -> None:
    model = {"name": "m", "provider": "openai", "base_url": url}

    (found,) = problems(models=[model, {"name": "b", "provider": "bm25"}])

    assert found.startswith('models[0] ("m").base_url: ')
    assert "api_key_env" in found
    assert "hunter2" not in found


@each_row(
    "query",
    [
        "api-version=2024-10-21",
        "deployment=code-embedding-large-prod",
        "design=b",
        "tokenizer=x",
        "k=1",
        "max_tokens=5",
        "token_count=3",
        "passage=1",
        "author=me",
        "project=123e4567-e89b-12d3-a456-426614174000",
    ],
)
def test_an_address_may_ask_for_what_is_no_key(query: str) -> None:
    model = {"name": "m", "provider": "openai", "base_url": f"https://host/v1?{query}"}

    config = parse_config(
        tree(models=[model, {"name": "b", "provider": "bm25"}]), Path("arena.toml")
    )

    assert config.models[0].base_url == model["base_url"]


@each_row(
    "fields",
    [
        {"api_key": "hunter2hunter2"},
        {"options": {"auth": [{"clientSecret": "hunter2hunter2"}]}},
        {"user": "sk-hunter2hunter2hunter2"},
    ],
)
def test_a_key_among_the_fields_of_a_request_is_refused_and_not_repeated(
    fields: dict[str, Any],
) -> None:
    model = {"name": "m", "provider": "openai", "query_extra": fields}

    (found,) = problems(models=[model, {"name": "b", "provider": "bm25"}])

    assert found.startswith('models[0] ("m").query_extra: ')
    assert "api_key_env" in found
    assert "hunter2" not in found


def test_the_fields_of_a_request_may_name_what_is_no_key() -> None:
    fields = {"input_type": "query", "pad_token": "<pad>", "max_tokens": 512, "task": "a" * 40}
    model = {"name": "m", "provider": "openai", "document_extra": fields}

    config = parse_config(
        tree(models=[model, {"name": "b", "provider": "bm25"}]), Path("arena.toml")
    )

    assert config.models[0].document_extra == fields


def test_one_judge_is_a_panel_of_one() -> None:
    config = parse_config(tree(judge={"model": "m", "max_usd": 1} | PRICES), Path("arena.toml"))

    assert config.judges == (config.judge,)
    assert config.judges[0].log_name == "m"


def test_a_panel_keeps_its_order_and_its_names() -> None:
    rest = {key: value for key, value in tree().items() if key != "judge"}
    panel = [{"model": "m"}, {"model": "m", "name": "again"}, {"kind": "qrels"}]

    config = parse_config(rest | {"judges": panel}, Path("arena.toml"))

    assert [judge.log_name for judge in config.judges] == ["m", "again", "qrels"]
    assert config.judge is None


def test_names_that_would_share_a_file_are_refused() -> None:
    models = [{"name": "BAAI/m3", "provider": "bm25"}, {"name": "baai_M3", "provider": "lsa"}]

    assert "'BAAI/m3' and 'baai_M3' share one name" in problems(models=models)[0]
    assert safe_filename("BAAI/m3") == "BAAI_m3"


def test_a_name_cannot_leave_the_experiment_folder() -> None:
    assert "/" not in safe_filename("a/../../etc")
    models = [{"name": "../etc", "provider": "bm25"}, {"name": "b", "provider": "lsa"}]
    assert "models[0]" in problems(models=models)[0]


def test_a_name_of_other_characters_is_told_which_it_may_have() -> None:
    models = [{"name": "bm25 🚀", "provider": "bm25"}, {"name": "b", "provider": "lsa"}]

    (of_experiment, of_model) = problems(experiment={"name": "a/b"}, models=models)

    assert of_experiment == (
        "experiment.name: 'a/b' is no name; "
        "begin with a letter or digit and continue with letters, digits and _ . -"
    )
    assert of_model.endswith("letters, digits, blanks and _ . + @ : / -")


def test_a_missing_file_says_which_command_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="arena init"):
        load_config(tmp_path / "arena.toml")


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "arena.toml"
    path.write_text("[experiment]\nname = \n")

    with pytest.raises(ConfigError, match="line 2"):
        load_config(path)


def test_a_prefix_keeps_its_trailing_space() -> None:
    models = [
        {"name": "e5", "provider": "minilm", "query_prefix": "query: "},
        {"name": "b", "provider": "lsa"},
    ]

    config = parse_config(tree(models=models), Path("arena.toml"))

    assert config.models[0].query_prefix == "query: "


@each_row(
    ("model", "price"),
    [
        ({"provider": "openai"}, None),
        ({"provider": "openai", "price_per_1m_tokens": 0.02}, 0.02),
        ({"provider": "ollama"}, None),
        ({"provider": "ollama", "price_per_1m_tokens": 0}, 0.0),
        ({"provider": "bm25"}, 0.0),
        ({"provider": "sentence-transformers", "price_per_1m_tokens": 3}, 3.0),
        ({"run": "x.trec"}, None),
        ({"command": "search"}, None),
        ({"rerank": "cohere", "base": "free"}, None),
        ({"rerank": "cross-encoder", "base": "free"}, 0.0),
        ({"rerank": "cross-encoder", "base": "paid"}, 0.5),
        ({"rerank": "cross-encoder", "over": "paid"}, 0.5),
        ({"rerank": "cross-encoder", "base": "unknown"}, None),
        ({"rerank": "cross-encoder", "base": "m"}, None),
    ],
)
def test_a_price_is_zero_only_where_nothing_can_be_charged(model, price):
    sections = [
        {"name": "free", "provider": "onnx"},
        {"name": "paid", "provider": "voyage", "price_per_1m_tokens": 0.5},
        {"name": "m", **model},
    ]

    assert known_price("m", sections) == price


def written(folder: Path, **keys: str) -> Path:
    """An arena.toml with a line more in the section of each key."""
    text = TOML
    for section, line in keys.items():
        head = f"[{section}]" if section in ("experiment", "judge") else f"[[{section}]]"
        text = text.replace(head, f"{head}\n{line}", 1)
    (folder / "arena.toml").write_text(text, "utf-8")
    return folder / "arena.toml"


@each_row("encoding", ["utf-8-sig", "utf-16"])
@each_row("line_end", ["\n", "\r\n", "\r"])
def test_what_editors_do_to_a_file_is_no_mistake(
    tmp_path: Path, encoding: str, line_end: str
) -> None:
    path = tmp_path / "arena.toml"
    path.write_bytes(TOML.replace("\n", line_end).encode(encoding))

    assert load_config(path) == load_config(written(tmp_path))


@each_row(
    ("section", "line", "message"),
    [
        ("experiment", "queries = true", "experiment.queries: should be a valid integer, not True"),
        ("experiment", 'queries = "5"', "experiment.queries: should be a valid integer, not '5'"),
        ("experiment", "top_k = 5.0", "experiment.top_k: should be a valid integer, not 5.0"),
        ("experiment", "seed = 9223372036854775808", "experiment.seed: is a whole number"),
        ("experiment", f"memory_mb = {10**400}", "experiment.memory_mb: is a whole number"),
        ("experiment", "queries = inf", "experiment.queries: should be a finite number, not inf"),
        ("experiment", 'hardware = "\\u001b[31m"', "hardware: holds a control character"),
        ("datasets", 'queries = "\\u0000"', "queries: holds a control character"),
        ("models", "price_per_1m_tokens = inf", "price_per_1m_tokens: should be a finite number"),
        ("models", "price_per_1m_tokens = nan", "price_per_1m_tokens: should be a finite number"),
        ("models", "price_per_1m_tokens = 1e300", "less than or equal to 1000000, not 1e+300"),
        ("models", "price_per_1m_tokens = true", "price_per_1m_tokens: should be a valid number"),
        ("models", "timeout_s = true", "timeout_s: should be a valid number, not True"),
        ("models", "query_extra = {a = [inf]}", "query_extra: should be a finite number, not inf"),
        ("models", f"query_extra = {{a = {10**30}}}", "query_extra: is a whole number"),
        ("models", "query_extra = {a = 2024-05-31}", "query_extra: holds a date, which a request"),
        ("models", "release_date = 5", "release_date: must be a day such as 2024-05-31"),
        ("models", "release_date = 2024-05-31T10:00:00Z", "release_date: must be a day such as"),
        ("models", 'release_date = "tomorrow"', "release_date: must be a day such as 2024-05-31"),
        ("judge", "gate = 1", "judge.gate: should be a valid boolean, not 1"),
        ("judge", "max_usd = inf", "judge.max_usd: should be a finite number, not inf"),
        ("judge", "price_per_1m_input_tokens = inf", "should be a finite number, not inf"),
        ("judge", "concurrency = true", "judge.concurrency: should be a valid integer, not True"),
        ("judge", f"rpm = {10**20}", "judge.rpm: is a whole number beyond 64 bits"),
        ("judge", "x = " + "9" * 5000, "not valid TOML: a number has thousands of digits"),
        ("judge", "x = " + "[" * 5000, "not valid TOML: its tables are nested too deeply"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_than_it_should_be_is_a_mistake(
    tmp_path: Path, section: str, line: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, **{section: line}))

    [problem] = caught.value.problems
    assert message in problem
    assert len(problem) < 200


def test_values_of_the_wrong_kind_are_reported_together(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        experiment="queries = true",
        models="price_per_1m_tokens = inf",
        judge=f"rpm = {10**30}\nmax_usd = nan\ngate = 0",
    )

    with pytest.raises(ConfigError) as caught:
        load_config(path)

    assert len(caught.value.problems) == 5


def test_a_day_may_be_written_as_a_string(tmp_path: Path) -> None:
    days = [
        load_config(written(tmp_path, models=f"release_date = {day}")).models[0].release_date
        for day in ("2024-05-31", '"2024-05-31"')
    ]

    assert days[0] == days[1] != None  # noqa: E711


@each_row(
    ("names", "message"),
    [
        (["Bge-M3", "bge-m3"], "share one name"),
        (["a/b", "a b"], "share one name"),
        (["metrics", "b"], "is what a file beside the runs is called"),
        (["b", "Per_Query"], "is what a file beside the runs is called"),
        (["語" * 100, "b"], "takes 300 bytes as a file's name"),
    ],
)
def test_names_whose_files_would_collide_are_refused(names: list[str], message: str) -> None:
    found = problems(models=[{"name": name, "provider": "bm25"} for name in names])

    assert any(message in problem for problem in found)


def test_no_model_may_have_the_name_of_a_file_beside_the_runs() -> None:
    beside = {
        method(Folder(Path()), "docs").stem
        for method in vars(Folder).values()
        if inspect.isfunction(method)
        and not method.__name__.startswith("_")
        and list(inspect.signature(method).parameters) == ["self", "dataset"]
    }

    assert beside == experiment._BESIDE_RUNS


@pytest.mark.parametrize(("old", "new"), [("over", "base"), ("place", "hardware")])
def test_the_old_name_of_a_key_is_read_and_both_names_at_once_are_a_mistake(
    tmp_path: Path, old: str, new: str
) -> None:
    lines = {
        "base": ("models", 'name = "again"\nrerank = "jina"\n{} = "bm25"\n\n[[models]]'),
        "hardware": ("experiment", '{} = "eu-west-1, 8 cores"'),
    }
    section, line = lines[new]

    configs = [load_config(written(tmp_path, **{section: line.format(key)})) for key in (old, new)]
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, **{section: line.format(f'{old} = "x"\n{new}')}))

    assert configs[0] == configs[1]
    assert "bm25" in configs[0].models[0].base if new == "base" else configs[0].experiment.hardware
    assert [p.partition(": ")[0].rpartition(".")[2] for p in caught.value.problems] == [old]


@each_row("kind", ["no file", "a folder", "no UTF-8", "empty"])
def test_a_file_that_is_no_arena_toml_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "arena.toml"
    if kind == "a folder":
        path.mkdir()
    elif kind != "no file":
        path.write_bytes(b"[experiment]\nname = '\xe9'\n" if kind == "no UTF-8" else b"")

    with pytest.raises(ConfigError) as caught:
        load_config(path)

    expected = {
        "no file": "no such file; `arena init` writes one to start from",
        "a folder": "is a folder; give the arena.toml inside it",
        "no UTF-8": "not valid TOML: line 2 is not UTF-8; save the file as UTF-8",
        "empty": "experiment: missing",
    }
    assert caught.value.problems[0] == expected[kind]
