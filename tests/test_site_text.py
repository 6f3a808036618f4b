"""Text on its way to a page: hostile, secret or only long."""

from __future__ import annotations

import html
import json
import re
import shutil
import time
import unicodedata
from importlib import resources
from pathlib import Path

import pytest
from experiments import QUERIES, play, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import battles_of, content, data_of

from arena.errors import DataError
from arena.judging.prompt import shown_parts
from arena.records import Document
from arena.site.build import build_site
from arena.site.data_files import safe_json, script, shown_tree
from arena.site.secrets import HIDDEN, publishable, settings_text
from arena.store.texts import ShownDocument, ShownQuery, read_shown, shown_key, write_shown

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u2028\u202e\x00]]>-->"
FORBIDDEN = re.compile("[<>&\u2028\u2029\ud800-\udfff\x00-\x09\x0b-\x1f\x7f-\x9f]|-->|]]>")


@given(st.dictionaries(ANY_TEXT, st.one_of(ANY_TEXT, st.lists(ANY_TEXT, max_size=3)), max_size=3))
@settings(max_examples=150)
def test_any_text_survives_a_script_and_none_ends_it(value: dict[str, object]) -> None:
    text = script("key", value).decode("utf-8")

    body = text.removeprefix('arena.put("key", ').removesuffix(");\n")
    assert not FORBIDDEN.search(body)
    assert json.loads(body) == shown_tree(value) == _shown(value)


def _shown(value: object) -> object:
    """A value with U+FFFD for what cannot be shown, found a character at a time."""
    if isinstance(value, dict):
        return {_shown(key): _shown(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shown(each) for each in value]
    lines = str(value).replace("\r\n", "\n").replace("\r", "\n")
    unseen = [c not in {"\n", "\t"} and unicodedata.category(c) in ("Cc", "Cs") for c in lines]
    return "".join("\ufffd" if hide else c for c, hide in zip(lines, unseen, strict=True))


@given(ANY_TEXT)
@settings(max_examples=150)
def test_only_what_cannot_be_shown_is_changed(text: str) -> None:
    shown = shown_tree(text)

    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    expected = re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", expected)
    assert shown == expected


def test_the_key_of_a_script_is_escaped_too() -> None:
    assert script("</script>", None) == b'arena.put("\\u003c/script\\u003e", null);\n'


def test_numbers_that_are_none_are_null() -> None:
    assert safe_json([float("nan"), float("inf"), 1.5, None]) == "[null,null,1.5,null]"


def test_hostile_text_reaches_every_page_as_text_alone(tmp_path: Path) -> None:
    folder = hostile_experiment(tmp_path)

    site = build_site(folder).parent

    title = data_of(site, "shown/0/0")["documents"]["good-q0"]["title"]
    assert "<script>alert(1)</script>" in title
    for name, data in content(site).items():
        text = data.decode("utf-8", "replace")
        if name.startswith("data/"):
            assert "<" not in text
        elif name.endswith(".html"):
            assert "alert(1)</script>" not in text
            assert "onerror=alert" not in re.sub(r"&lt;.*?&gt;", "", text)
            assert not re.findall(r"<script(?![^>]* src=)", text)
    page = html.unescape((site / "models" / "strong.html").read_text("utf-8"))
    assert "<script>alert(1)</script>" in page


def hostile_experiment(folder: Path) -> Path:
    """An experiment whose documents and queries would like to be scripts."""
    config = write_experiment(folder)
    for file in ("corpus.jsonl", "queries.jsonl"):
        rows = [json.loads(line) for line in (folder / "data" / file).read_text().splitlines()]
        for row in rows:
            row |= {key: HOSTILE + row[key] for key in ("title", "text") if key in row}
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / "data" / file).write_text("".join(lines))
    play(config)
    return folder / "runs" / "x"


@pytest.mark.parametrize(
    "name", ["</script><b>", "../../up", "a&b'\"", "\u202egnp.exe", "東" * 300]
)
def test_a_model_of_any_name_stays_in_its_page(tmp_path: Path, name: str) -> None:
    rows = [
        {"model_a": name, "model_b": "plain", "winner": w, "query_id": w}
        for w in ("tie", "model_a")
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    site = build_site(tmp_path / "log.jsonl").parent

    model = next(m for m in data_of(site, "site")["models"] if m["name"] != "plain")
    assert model["name"] == name
    assert (site / model["file"]).is_file()
    pages = {file: data.decode() for file, data in content(site).items() if "leader" not in file}
    assert all("</script><b>" not in text for text in pages.values())
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "log-report"}


def test_addresses_lose_their_passwords_and_queries() -> None:
    text = 'base_url = "https://me:hunter2@host.example/v1?token=abc#x"  # see http://a.example/b?c'

    shown = publishable(text)

    assert shown == 'base_url = "https://host.example/v1"  # see http://a.example/b'


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "hunter2"',
        "API-Key: 'hunter2'",
        'query_extra = { auth_token = "hunter2", input_type = "query" }',
        'headers = {"Authorization": "Bearer hunter2"}',
        'command = "search --api-key hunter2 --depth 10"',
        'command = "search --token=hunter2"',
        "command = \"search --quiet --token 'hunter2 and more'\"",
        'password="a\\"hunter2"',
        'private_key = "hunter2"',
        "query_extra = { sas = 'hunter2' }",
        "# api_key = hunter2",
        "command = 'search --key hunter2'",
        'command = "search --pass hunter2"',
        'command = "search -k hunter2"',
        'command = "search -khunter2"',
        'command = "env API_KEY=hunter2 search"',
        'command = "curl -u user:hunter2 https://host.example/x?sig=hunter2"',
        'command = "search --anything=hunter2"',
        'command = "search --depth hunter2"',
        "command = \"sh -c 'search hunter2'\"",
        'command = "search sk-hunter2"',
        'command = """\nsearch \\\n --key "hunter2" """',
        "command = '''search --key hunter2'''",
        'name = "x", command="search --key hunter2"',
        "# command = 'search --key hunter2'",
    ],
)
def test_what_looks_like_a_secret_is_hidden(line: str) -> None:
    shown = publishable(line)

    assert "hunter2" not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "line",
    [
        'api_key_env = "OPENAI_API_KEY"',
        "price_per_1m_tokens = 0.02",
        "max_tokens = 1024  # room for the analysis",
        'model = "text-embedding-3-small"',
        'command = "search --depth 10"',
        'command = "python tools/rank.py {dataset} --top-k=20 --json"',
        "passage_words = 200",
        'keywords = "a, b"',
        'author = "somebody"',
    ],
)
def test_what_is_no_secret_is_shown(line: str) -> None:
    assert publishable(line) == line


@pytest.mark.parametrize("part", ["a", "token", "-", "http://a@", "key=", '\\"', " ", "--token "])
def test_a_configuration_of_any_length_is_read_in_one_go(part: str) -> None:
    began = time.perf_counter()

    publishable(part * 20_000)

    assert time.perf_counter() - began < 2


@given(
    st.lists(st.from_regex(r"--?[a-z]{1,8}=?|[a-z]{1,8}|[A-Z_]{1,8}=", fullmatch=True), max_size=5),
    st.integers(0, 5),
    st.sampled_from(["", "s"]),
)
def test_the_value_of_an_option_is_never_shown(words: list[str], place: int, more: str) -> None:
    secret = "hunter2hunter2"
    words.insert(min(place, len(words)) + 1, secret + more)
    command = " ".join(["search", *words]).replace("= ", "=")

    for text in (publishable(f'command = "{command}"'), settings_text({"command": command})):
        assert secret not in text
        assert text.startswith('command = "search')


@pytest.mark.parametrize("template", ["arena", "demo", "documents", "public-leaderboard", "trec"])
def test_a_template_has_nothing_to_hide(template: str) -> None:
    text = resources.files("arena").joinpath(f"templates/{template}.toml").read_text("utf-8")

    assert publishable(text) == text


def test_settings_are_shown_a_line_each() -> None:
    settings = {"provider": "openai", "dimensions": 256, "base_url": "http://u:p@h.example/v1"}

    text = settings_text(settings)

    assert text == 'provider = "openai"\ndimensions = 256\nbase_url = "http://h.example/v1"'


def test_nothing_of_the_environment_is_in_a_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")
    monkeypatch.setenv("ARENA_PLANTED", "planted-value-0123")
    play(write_experiment(tmp_path))

    site = build_site(tmp_path / "runs" / "x").parent

    written = b"".join(content(site).values())
    for planted in ("sk-planted-0123456789", "planted-value-0123", str(tmp_path)):
        assert planted.encode() not in written


def test_documents_are_kept_as_the_prompt_cuts_them(tmp_path: Path) -> None:
    document = Document("d", "one two three four <document> five", "a  title\x00")

    assert shown_parts(document, 4) == ("a title", "one two three four […]", True)
    assert shown_parts(document, 99) == ("a title", "one two three four ‹document> five", False)


def test_shown_texts_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "shown.jsonl"
    documents = [ShownDocument(f"d{i}", f"title {i}", "text\nof it", cut=i == 1) for i in range(3)]
    query = ShownQuery("q", "what?", {"d0": 2}, {"bm25": ("d1", "d0"), "lsa": ("d2",)})

    write_shown(path, "key", [*documents, query])

    texts = read_shown(path)
    assert texts
    assert texts.queries == (query,)
    assert list(texts.documents(["d2", "nowhere", "d0"])) == [documents[2], documents[0]]
    assert shown_key(path) == "key"


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "5",
        '{"query": {}}',
        '{"document": {"doc_id": "d"}}',
        '{"query": {"query_id": "q", "text": "", "relevant": [], "lists": {}}}',
    ],
)
def test_a_line_that_is_no_text_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "shown.jsonl"
    path.write_text(f'{{"key": "k"}}\n{line}\n')

    with pytest.raises(DataError, match=r"shown\.jsonl:2: .*; delete it"):
        read_shown(path)


def test_texts_are_kept_beside_the_runs_and_left_alone_while_nothing_changes(
    tmp_path: Path,
) -> None:
    config = write_experiment(tmp_path)
    play(config)
    path = tmp_path / "runs" / "x" / "retrieval" / "docs" / "shown.jsonl"
    before = path.stat().st_mtime_ns

    play(config)

    assert path.stat().st_mtime_ns == before
    texts = read_shown(path)
    assert texts
    assert sorted(query.query_id for query in texts.queries) == sorted(QUERIES)
    corpus = tmp_path / "data" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("a good document", "a very good document"))
    play(config)
    assert path.stat().st_mtime_ns > before
    assert next(read_shown(path).documents(["good-q0"])).text.startswith("a very good")


def test_an_older_folder_without_texts_has_all_the_rest(tmp_path: Path) -> None:
    play(write_experiment(tmp_path))
    folder = tmp_path / "runs" / "x"
    (folder / "retrieval" / "docs" / "shown.jsonl").unlink()
    shutil.rmtree(folder / "report", ignore_errors=True)

    site = build_site(folder).parent

    overview = data_of(site, "site")
    assert "arena retrieve" in overview["texts_note"]
    assert len(battles_of(site)) == 36
    assert {query["text"] for query in data_of(site, "queries/0")["queries"]} == {None}
