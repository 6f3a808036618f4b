from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from click.testing import CliRunner
from experiments import write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, as_json
from provider_cases import CASES, KEY, TEXTS, VECTORS, Case, as_base64, reply_to, sent_texts
from tables import each_row

from arena.cli import main
from arena.config.models import HostedProvider, LocalProvider, ModelConfig, Provider, ServerProvider
from arena.dry_run.battle import dry_run
from arena.embedding.api import ApiEmbedder
from arena.embedding.prompts import known_prompts, role_prefixes
from arena.embedding.providers import HOSTED, LOCAL, PRESETS, SERVERS, find_endpoint, request_fields
from arena.embedding.wire_formats import OPENAI, BadReplyError, stack_vectors
from arena.endpoint.attempts import Retry
from arena.errors import ApiError, FatalApiError, UsageError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.live import retrieve
from arena.progress import reporter
from arena.records import Role
from arena.vectors.cache import embed_cached
from arena.vectors.vector_files import VectorStore

HASTY = Retry(attempts=3, base_s=0.002, longest_s=0.01)
ROLES: tuple[Role, Role] = ("query", "document")

each_provider = pytest.mark.parametrize("case", CASES, ids=lambda case: case.provider)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for preset in PRESETS.values():
        if preset.key_env:
            monkeypatch.delenv(preset.key_env, raising=False)
    monkeypatch.setenv("PLANTED_KEY", KEY)


def model_of(case: Case, server: LoopbackServer, **more: Any) -> ModelConfig:
    fields = {
        "name": "m",
        "provider": case.provider,
        "model": case.model,
        "base_url": case.base_url(server),
        "api_key_env": "PLANTED_KEY",
        **more,
    }
    return ModelConfig.model_validate(fields)


def case_of(provider: str) -> Case:
    return next(case for case in CASES if case.provider == provider)


def open_model(name: str, provider: str = "vllm", **more: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "provider": provider, **more})


def test_cases_and_tables_cover_every_provider() -> None:
    assert [case.provider for case in CASES] == list(PRESETS)
    assert set(HOSTED) == set(get_args(HostedProvider))
    assert set(SERVERS) == set(get_args(ServerProvider))
    assert set(LOCAL) == set(get_args(LocalProvider))
    assert {*HOSTED, *SERVERS, *LOCAL} == {
        name for part in get_args(Provider) for name in (get_args(part) or [part])
    }


@each_provider
def test_request_and_reply_are_what_the_provider_documents(case: Case) -> None:
    with (
        LoopbackServer(lambda body, attempt: as_json(case.reply)) as server,
        ApiEmbedder(model_of(case, server), retry=HASTY) as embedder,
    ):
        embeddings = [embedder.embed(TEXTS, role) for role in ROLES]

    assert [request.body for request in server.requests] == [case.query, case.document]
    for request, embedding in zip(server.requests, embeddings, strict=True):
        assert request.path == case.path
        keys = {name: value for name, value in request.headers.items() if KEY in value}
        assert keys == case.headers
        assert embedding.vectors.tolist() == [list(vector) for vector in VECTORS]
        assert embedding.tokens == case.tokens


@each_provider
def test_shorter_vectors_are_asked_for_by_their_own_name_or_kept_whole(case: Case) -> None:
    with (
        LoopbackServer(lambda body, attempt: as_json(case.reply)) as server,
        ApiEmbedder(model_of(case, server, dimensions=3), retry=HASTY) as embedder,
    ):
        embedding = embedder.embed(TEXTS, "document")

    asked = server.requests[0].body
    if case.size is None:
        assert asked == case.document
    else:
        assert all(body[case.size] == 3 for body in asked.get("requests", [asked]))
    assert embedding.vectors.tolist() == [list(vector) for vector in VECTORS]


def test_model_that_cannot_shorten_its_vectors_is_found_out() -> None:
    case = case_of("openai")
    with (
        LoopbackServer(lambda body, attempt: as_json(case.reply)) as server,
        ApiEmbedder(model_of(case, server, dimensions=8), retry=HASTY) as embedder,
        pytest.raises(ApiError, match="vectors of 3 numbers where 8 are expected"),
    ):
        embedder.embed(TEXTS, "query")


@each_provider
def test_rate_limit_is_waited_out_but_a_too_long_text_is_told_in_one_line(case: Case) -> None:
    status, refusal = case.too_long

    def script(body: dict[str, Any], attempt: int) -> Answer:
        if len(server.requests) == 1:
            return as_json({"message": "slow down"}, status=429, headers={"retry-after": "0.01"})
        if any("endless" in text for text in sent_texts(body)):
            return as_json(refusal, status=status)
        return reply_to(case, body)

    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model_of(case, server), retry=HASTY) as embedder,
        pytest.raises(ApiError) as caught,
    ):
        embedder.embed(["short", "endless story " * 9], "document")

    assert caught.value.reason == "bad_request"
    assert "the document begins 'endless story" in str(caught.value)
    assert "; shorten it" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 4  # both together, once more, then each alone


@each_row("case", [case for case in CASES if PRESETS[case.provider].always])
def test_remedy_for_a_text_that_is_too_long_can_be_pasted_and_works(case: Case) -> None:
    def script(body: dict[str, Any], attempt: int) -> Answer:
        if PRESETS[case.provider].always.items() <= body.items():
            return as_json(case.too_long[1], status=case.too_long[0])
        return reply_to(case, body)

    with LoopbackServer(script) as server:
        strict = model_of(case, server)
        with ApiEmbedder(strict, retry=HASTY) as embedder, pytest.raises(ApiError) as caught:
            embedder.embed(["endless"], "document")
        fields = tomllib.loads(str(caught.value).partition("have it cut: ")[2])
        with ApiEmbedder(model_of(case, server, **fields), retry=HASTY) as embedder:
            embedding = embedder.embed(["endless"], "document")

    assert len(embedding.vectors) == 1


@each_row("case", [case for case in CASES if PRESETS[case.provider].max_batch])
def test_no_batch_is_larger_than_the_provider_takes(case: Case) -> None:
    most = PRESETS[case.provider].max_batch or 0
    texts = [f"text {number}" for number in range(most + 3)]

    with (
        LoopbackServer(lambda body, attempt: reply_to(case, body)) as server,
        ApiEmbedder(model_of(case, server, batch_size=2048), retry=HASTY) as embedder,
    ):
        embedding = embedder.embed(texts, "document")

    assert sorted(len(sent_texts(request.body)) for request in server.requests) == [3, most]
    assert len(embedding.vectors) == most + 3


@each_provider
def test_query_and_document_never_share_a_cache_entry(case: Case, tmp_path: Path) -> None:
    with (
        LoopbackServer(lambda body, attempt: reply_to(case, body)) as server,
        ApiEmbedder(model_of(case, server), retry=HASTY) as embedder,
    ):
        for _ in range(2):
            for role in ROLES:
                store = VectorStore(tmp_path, embedder.settings, role)
                embed_cached(embedder, ["the same words"], store)

    assert len(server.requests) == 2
    assert len(list((tmp_path / "vectors").iterdir())) == 2


@each_provider
def test_no_key_appears_in_an_error_or_in_the_settings(case: Case) -> None:
    with (
        LoopbackServer(lambda body, attempt: as_json({"error": KEY}, status=401)) as server,
        ApiEmbedder(model_of(case, server), retry=HASTY) as embedder,
        pytest.raises(FatalApiError) as caught,
    ):
        embedder.embed(TEXTS, "query")

    assert KEY not in str(caught.value)
    assert KEY not in str(embedder.settings)
    assert len(server.requests) == 1


@pytest.mark.parametrize("provider", [name for name in HOSTED if name != "azure"])
def test_missing_key_is_named(provider: str) -> None:
    model = open_model("m", provider)

    with (
        pytest.raises(FatalApiError, match=f"{PRESETS[provider].key_env} is not set"),
        ApiEmbedder(model),
    ):
        pass


@pytest.mark.parametrize("provider", [name for name in HOSTED if name not in ("azure", "openai")])
def test_key_of_a_provider_goes_to_its_own_host_alone(provider: str) -> None:
    preset = PRESETS[provider]

    assert find_endpoint(open_model("m", provider)).api_key_env == preset.key_env
    at_home = open_model("m", provider, base_url=f"{preset.base_url}/")
    assert find_endpoint(at_home).api_key_env == preset.key_env
    for elsewhere in ("https://proxy.example/v1", f"http{(preset.base_url or '')[5:]}"):
        abroad = open_model("m", provider, base_url=elsewhere)
        assert find_endpoint(abroad).api_key_env is None


def test_azure_has_no_address_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)

    with pytest.raises(UsageError, match=r"azure needs a base_url: https://RESOURCE\.openai"):
        ApiEmbedder(open_model("m", "azure"))
    url = "https://mine.openai.azure.com/openai/v1"
    assert find_endpoint(open_model("m", "azure", base_url=url)).api_key_env is not None


def test_azure_deployment_of_the_older_api_is_reached_by_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    case = case_of("azure")
    with LoopbackServer(lambda body, attempt: as_json(case.reply)) as server:
        root = server.base_url.removesuffix("/v1")
        url = f"{root}/openai/deployments/d?api-version=2024-10-21"
        with ApiEmbedder(open_model("d", "azure", base_url=url), retry=HASTY) as embedder:
            embedder.embed(TEXTS, "query")

    assert server.requests[0].path == "/openai/deployments/d/embeddings?api-version=2024-10-21"
    assert server.requests[0].headers["api-key"] == KEY


@pytest.mark.parametrize("provider", ["bm25", None])
def test_what_is_no_endpoint_cannot_be_asked(provider: str | None) -> None:
    model = ModelConfig.model_validate(
        {"name": "m", "provider": provider} if provider else {"name": "m", "run": "m.trec"}
    )

    with pytest.raises(UsageError, match="is no endpoint"):
        ApiEmbedder(model)


def test_arena_toml_has_the_last_word_on_a_request() -> None:
    model = open_model(
        "m", "voyage", query_extra={"input_type": None, "truncation": True}, query_prefix="Q: "
    )

    assert request_fields(model, "query") == {"input_type": None, "truncation": True}
    assert request_fields(model, "document") == {"truncation": False, "input_type": "document"}
    assert role_prefixes(model) == ("Q: ", "")


@each_row(
    ("provider", "name", "field"),
    [
        ("gemini", "gemini-embedding-2", "taskType"),
        ("jina", "jina-embeddings-v2-base-de", "task"),
        ("jina", "jina-code-embeddings-1.5b", "task"),
    ],
)
def test_models_without_the_role_field_are_not_sent_it(
    provider: str, name: str, field: str
) -> None:
    model = open_model(name, provider)

    assert field in PRESETS[provider].query
    assert field not in request_fields(model, "query")


INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query"
SEARCH_SENTENCE = "Represent this sentence for searching relevant passages: "


# As the models' own cards have it, on the Hub.
@each_row(
    ("name", "query", "document"),
    [
        ("intfloat/e5-base-v2", "query: ", "passage: "),
        ("text-embedding-multilingual-e5-small", "query: ", "passage: "),
        (
            "intfloat/multilingual-e5-large-instruct",
            f"{INSTRUCT}\nQuery: ",
            "",
        ),
        (
            "Qwen/Qwen3-Embedding-0.6B",
            f"{INSTRUCT}\nQuery:",
            "",
        ),
        ("BAAI/bge-m3", "", ""),
        (
            "BAAI/bge-small-en-v1.5",
            SEARCH_SENTENCE,
            "",
        ),
        ("nomic-embed-text:latest", "search_query: ", "search_document: "),
        ("nomic-ai/nomic-embed-text-v2-moe", "search_query: ", "search_document: "),
        (
            "mixedbread-ai/mxbai-embed-large-v1",
            SEARCH_SENTENCE,
            "",
        ),
        (
            "Snowflake/snowflake-arctic-embed-m-v1.5",
            SEARCH_SENTENCE,
            "",
        ),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "query: ", ""),
        ("snowflake-arctic-embed2:568m", "query: ", ""),
        ("models/embeddinggemma-300m/", "task: search result | query: ", "title: none | text: "),
        ("jinaai/jina-embeddings-v5-text-small", "Query: ", "Document: "),
        ("jinaai/jina-embeddings-v2-base-en", "", ""),
        ("Alibaba-NLP/gte-multilingual-base", "", ""),
        ("somebody/unheard-of", "", ""),
    ],
)
def test_open_models_get_the_prefixes_of_their_cards(name: str, query: str, document: str) -> None:
    assert role_prefixes(open_model("m", model=name)) == (query, document)


def test_prefix_in_the_arena_toml_goes_first_even_an_empty_one() -> None:
    model = open_model("intfloat/e5-base-v2", query_prefix="")

    assert role_prefixes(model) == ("", "passage: ")


@given(
    provider=st.sampled_from(list(PRESETS)),
    name=st.sampled_from(
        [
            "multilingual-e5-large",
            "jina-embeddings-v3",
            "jina-embeddings-v5-text-nano",
            "embed-v4.0",
            "gemini-embedding-001",
            "gemini-embedding-2",
            "nomic-embed-text-v1.5",
            "bge-m3",
        ]
    ),
)
def test_role_is_told_once_by_a_field_or_by_a_prefix_never_by_both(
    provider: str, name: str
) -> None:
    model = open_model(name, provider)

    query, document = role_prefixes(model)
    by_field = request_fields(model, "query") != request_fields(model, "document")

    assert not (by_field and (query or document))
    if (known := known_prompts(name)) and known.query != known.document:
        assert by_field != (query != document)


@each_row("provider", ["openai", "cohere", "gemini", "ollama", "tei"])
def test_reply_without_vectors_is_an_error(provider: str) -> None:
    case = case_of(provider)
    spoilt = [] if isinstance(case.reply, list) else {"model": "m", "meta": 7, "embeddings": "x"}

    with (
        LoopbackServer(lambda body, attempt: as_json(spoilt)) as server,
        ApiEmbedder(model_of(case, server), retry=HASTY) as embedder,
        pytest.raises(
            ApiError, match=r"without a list of vectors|no vectors for the model"
        ) as caught,
    ):
        embedder.embed(TEXTS, "query")

    assert caught.value.reason == "garbage"


@each_row(
    ("provider", "change", "message"),
    [
        (
            "gemini",
            {"embeddings": [{"values": [1.0]}, {"statistics": {"truncated": True}}]},
            "text 1 was cut short before it was embedded; the query begins 'a bank account'",
        ),
        (
            "cohere",
            {"meta": {"warnings": ["input was truncated to 512 tokens"]}},
            "a text was cut short: ['input was truncated to 512 tokens']",
        ),
        (
            "ollama",
            {"embeddings": [[0.0, 0.0], [1.0, 0.0]]},
            "vector 0 is all zeros; the query begins 'a river bank'",
        ),
    ],
)
def test_bad_vectors_are_errors_that_name_the_text(
    provider: str, change: dict[str, Any], message: str
) -> None:
    case = case_of(provider)

    with (
        LoopbackServer(lambda body, attempt: as_json(case.reply | change)) as server,
        ApiEmbedder(model_of(case, server), retry=HASTY) as embedder,
        pytest.raises(ApiError) as caught,
    ):
        embedder.embed(TEXTS, "query")

    assert message in str(caught.value)


def test_text_that_was_cut_as_asked_is_no_error() -> None:
    reply = case_of("cohere").reply | {"meta": {"warnings": ["input was truncated"]}}
    with (
        LoopbackServer(lambda body, attempt: as_json(reply)) as server,
        ApiEmbedder(
            model_of(case_of("cohere"), server, document_extra={"truncate": "END"}), retry=HASTY
        ) as embedder,
    ):
        embedding = embedder.embed(TEXTS, "document")
        with pytest.raises(ApiError, match="cut short"):
            embedder.embed(TEXTS, "query")

    assert len(embedding.vectors) == 2


numbers = st.floats(-(2.0**90), 2.0**90, width=32).filter(bool)
tables = st.integers(1, 5).flatmap(
    lambda length: st.lists(
        st.lists(numbers, min_size=length, max_size=length), min_size=1, max_size=6
    )
)


@given(table=tables, seed=st.randoms())
@settings(max_examples=60)
def test_order_and_form_of_a_reply_do_not_change_its_vectors(table: Any, seed: Any) -> None:
    data = [
        {"index": i, "embedding": as_base64(v) if seed.random() < 0.5 else v}
        for i, v in enumerate(table)
    ]
    seed.shuffle(data)

    vectors = stack_vectors(OPENAI.read({"data": data}).vectors, len(table))

    assert np.array_equal(vectors, np.array(table, np.float32))


@given(reply=st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["data", "embeddings", "values", "float", "embedding", "index", "meta"]),
        inner,
        max_size=3,
    ),
    max_leaves=8,
).filter(lambda found: isinstance(found, dict)))  # fmt: skip
@settings(max_examples=60)
def test_no_reply_of_any_shape_breaks_the_reader(reply: Any) -> None:
    for preset in PRESETS.values():
        try:
            vectors = stack_vectors(preset.wire_format.read(reply).vectors, 1)
        except BadReplyError:
            continue
        assert vectors.shape[0] == 1


def test_providers_are_listed_with_their_keys_but_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOYAGE_API_KEY", KEY)

    table = CliRunner().invoke(main, ["providers"])
    listed = CliRunner().invoke(main, ["providers", "--json"])

    rows = {row["name"]: row for row in json.loads(listed.output)}
    assert set(rows) == {*HOSTED, *SERVERS, *LOCAL}
    assert [name for name, row in rows.items() if row["key_set"]] == ["voyage"]
    assert rows["ollama"]["key_set"] is None
    assert rows["cohere"]["roles"] == "input_type = search_query or search_document"
    assert KEY not in table.output + listed.output
    assert all(name in table.output for name in rows)
    assert all(len(line) <= 100 for line in table.output.splitlines())


def test_the_page_of_models_says_of_each_provider_what_its_preset_does() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "models.md").read_text("utf-8")

    for name, preset in PRESETS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        shown = [preset.title, preset.docs, preset.key_env or "none", preset.base_url or "yours"]
        shown += [*preset.query.values(), *preset.document.values()]
        shown += ["refused" if preset.too_long == "refused" else "may be cut"]
        shown += [f"`{preset.dimensions}`" if preset.dimensions else "cut here"]
        assert [word for word in shown if word not in row] == []


def test_examples_of_the_page_of_models_are_valid() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "models.md").read_text("utf-8")
    section = page.partition("## Providers")[2].partition("\n## ")[0]
    blocks = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)

    models = [fields for block in blocks for fields in tomllib.loads(block)["models"]]

    assert len(models) > 5
    for fields in models:
        assert find_endpoint(ModelConfig.model_validate(fields))


def test_estimate_counts_every_endpoint_but_prices_only_what_is_paid(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    added = "".join(
        f'\n[[models]]\nname = "{name}"\nprovider = "{provider}"\n{more}\n'
        for name, provider, more in [
            ("voyage-3.5", "voyage", "price_per_1m_tokens = 1000"),
            ("embed-v4.0", "cohere", ""),
            ("embeddinggemma", "ollama", ""),
            ("words", "bm25", ""),
        ]
    )
    config.write_text(config.read_text("utf-8") + added, "utf-8")

    estimate = dry_run(config, BattleOptions())

    found = {run.model: run for run in estimate.unretrieved}
    n_tokens = found["voyage-3.5"].tokens
    assert n_tokens > 100
    assert found["voyage-3.5"].cost_usd == pytest.approx(n_tokens / 1000)
    assert (found["embed-v4.0"].tokens, found["embed-v4.0"].cost_usd) == (n_tokens, None)
    assert (found["embeddinggemma"].tokens, found["embeddinggemma"].cost_usd) == (n_tokens, 0.0)
    assert (found["words"].tokens, found["words"].cost_usd) == (0, 0.0)


def test_two_providers_retrieve_for_the_same_experiment(tmp_path: Path) -> None:
    cohere, ollama = case_of("cohere"), case_of("ollama")

    def script(body: dict[str, Any], attempt: int) -> Answer:
        return reply_to(cohere if "texts" in body else ollama, body)

    with LoopbackServer(script) as server:
        config = write_experiment(tmp_path)
        added = "".join(
            f'\n[[models]]\nname = "{case.provider} model"\nprovider = "{case.provider}"\n'
            f'base_url = "{case.base_url(server)}"\napi_key_env = "PLANTED_KEY"\n'
            for case in (cohere, ollama)
        )
        config.write_text(config.read_text("utf-8") + added, "utf-8")
        retrieve(config, reporter(quiet=True))

    runs = {path.stem: path for path in tmp_path.rglob("*.trec")}
    for case in (cohere, ollama):
        assert len(runs[f"{case.provider}_model"].read_text("utf-8").splitlines()) == 6 * 24
    said = [request.body for request in server.requests if "texts" in request.body]
    assert {body["input_type"] for body in said} == {"search_query", "search_document"}
