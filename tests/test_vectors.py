from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, embeddings, error
from programs import forks
from tables import each_row

from arena.config import ModelConfig
from arena.embedding.api import ApiEmbedder
from arena.embedding.embedder import Embedding
from arena.endpoint.attempts import Retry
from arena.errors import ApiError, DataError, WriteError
from arena.files import cache_folder
from arena.records import Role
from arena.vectors.cache import embed_cached
from arena.vectors.digests import DigestIndex, digests_of, first_of_each
from arena.vectors.vector_files import Growing, StoredVectors, VectorStore


class Recorder:
    """A local embedder that remembers what it was asked for."""

    def __init__(self, dimension: int = 3, **settings: object) -> None:
        self.settings: Mapping[str, object] = {"model": "re/corder", **settings}
        self.asked: list[str] = []
        self.calls = 0
        self._dimension = dimension

    def vector(self, text: str, role: Role) -> np.ndarray:
        seed = zlib.crc32(f"{role} {text}".encode("utf-8", "surrogatepass"))
        return np.random.default_rng(seed).normal(size=self._dimension).astype(np.float32)

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        self.asked += texts
        self.calls += 1
        vectors = np.array([self.vector(text, role) for text in texts])
        return Embedding(vectors, sum(len(text) + 1 for text in texts), 0.25)


def cached(
    embedder: Recorder, texts: Sequence[str], cache: Path, role: Role = "document"
) -> StoredVectors:
    return embed_cached(embedder, texts, VectorStore(cache, embedder.settings, role))[0]


def only(cache: Path, name: str) -> Path:
    [path] = cache.glob(f"vectors/*/{name}")
    return path


words = st.text(max_size=3)


@settings(max_examples=40)
@given(calls=st.lists(st.lists(words, max_size=8), min_size=1, max_size=5))
def test_cache_gives_what_the_embedder_gave_whatever_the_order_and_repeats(
    tmp_path_factory: pytest.TempPathFactory, calls: list[list[str]]
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    embedder = Recorder()

    found = [cached(embedder, texts, cache) for texts in calls]

    for texts, stored in zip(calls, found, strict=True):
        expected = np.array([embedder.vector(text, "document") for text in texts])
        assert np.array_equal(stored.vectors, expected.reshape(stored.vectors.shape))
        assert stored.tokens == sum(len(text) + 1 for text in set(texts))
    assert sorted(embedder.asked) == sorted({text for texts in calls for text in texts})


def test_query_and_document_with_the_same_words_share_nothing(tmp_path: Path) -> None:
    embedder = Recorder()

    document = cached(embedder, ["same"], tmp_path, "document")
    query = cached(embedder, ["same"], tmp_path, "query")

    assert embedder.asked == ["same", "same"]
    assert not np.array_equal(document.vectors, query.vectors)


def test_other_settings_share_nothing_but_the_other_role_has_its_own(tmp_path: Path) -> None:
    first = Recorder(query_prefix="q: ", document_prefix="d: ")
    other_query = Recorder(query_prefix="?: ", document_prefix="d: ")
    other_document = Recorder(query_prefix="q: ", document_prefix="passage: ")

    for embedder in (first, other_query, other_document):
        cached(embedder, ["a"], tmp_path, "document")

    assert first.asked == ["a"]
    assert other_query.asked == []
    assert other_document.asked == ["a"]


def test_rows_are_mapped_and_not_copied_where_they_lie_in_order(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(600)]

    vectors = cached(Recorder(), texts, tmp_path).vectors

    assert isinstance(vectors.base, np.ndarray)
    assert not vectors.flags.owndata
    assert not vectors.flags.writeable


def test_texts_embedded_alone_keep_how_long_each_took(tmp_path: Path) -> None:
    embedder = Recorder()
    store = VectorStore(tmp_path, embedder.settings, "query")

    _, alone = embed_cached(embedder, ["a", "b"], store, alone=True)
    stored, together = embed_cached(embedder, ["c", "b", "a"], store)

    assert (alone, together) == (2, 1)
    assert embedder.asked == ["warm-up", "a", "b", "c"]
    assert np.array_equal(stored.latency_ms, [np.nan, 250.0, 250.0], equal_nan=True)


def test_progress_counts_distinct_texts(tmp_path: Path) -> None:
    embedder = Recorder()
    store = VectorStore(tmp_path, embedder.settings, "document")
    embed_cached(embedder, ["a", "b"], store)
    seen: list[tuple[int, int]] = []

    texts = [f"text {number}" for number in range(300)]
    embed_cached(embedder, ["a", *texts, "a"], store, progress=lambda *done: seen.append(done))

    assert seen == [(1, 301), (257, 301), (301, 301)]  # first what is kept


@pytest.mark.parametrize(("name", "torn"), [("vectors.f32", 7), ("keys.bin", 5)])
def test_torn_tail_is_cut_and_only_the_lost_text_embedded_again(
    tmp_path: Path, name: str, torn: int
) -> None:
    embedder = Recorder()
    texts = ["a", "b", "c"]
    before = cached(embedder, texts, tmp_path).vectors.copy()
    path = only(tmp_path, name)
    os.truncate(path, path.stat().st_size - torn)

    after = cached(embedder, texts, tmp_path).vectors

    assert np.array_equal(after, before)
    assert embedder.asked == ["a", "b", "c", "c"]
    assert only(tmp_path, "vectors.f32").stat().st_size == 3 * 3 * 4
    assert only(tmp_path, "keys.bin").stat().st_size == 3 * 32


def test_row_whose_key_was_never_written_is_cut(tmp_path: Path) -> None:
    embedder = Recorder()
    cached(embedder, ["a"], tmp_path)
    with only(tmp_path, "vectors.f32").open("ab") as file:
        file.write(b"\x07" * 17)

    stored = cached(embedder, ["a", "b"], tmp_path)

    expected = [embedder.vector(text, "document") for text in ("a", "b")]
    assert np.array_equal(stored.vectors, expected)


@settings(max_examples=30)
@given(data=st.data())
def test_flipped_byte_never_gives_a_wrong_vector(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    embedder = Recorder()
    texts = ["a", "b", "c", "d"]
    before = cached(embedder, texts, cache).vectors.copy()
    path = only(cache, "vectors.f32")
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)

    after = cached(embedder, texts, cache).vectors

    assert np.array_equal(after, before)
    assert len(embedder.asked) == 5


@each_row("content", [b"", b"[]", b"{}", b'{"role": "document", "dimension": 3}'])
def test_foreign_folder_is_refused(tmp_path: Path, content: bytes) -> None:
    cached(Recorder(), ["a"], tmp_path)
    only(tmp_path, "model.json").write_bytes(content)

    with pytest.raises(DataError, match=r"model\.json: describes another model; delete"):
        cached(Recorder(), ["a"], tmp_path)


def test_vectors_without_their_description_are_refused(tmp_path: Path) -> None:
    cached(Recorder(), ["a"], tmp_path)
    only(tmp_path, "model.json").unlink()

    with pytest.raises(DataError, match=r"missing beside vectors\.f32; delete"):
        cached(Recorder(), ["a"], tmp_path)


def test_model_that_changed_its_dimension_is_an_error(tmp_path: Path) -> None:
    cached(Recorder(3), ["a"], tmp_path)

    with pytest.raises(ApiError, match="4 numbers in a vector, but 3 in those from before"):
        cached(Recorder(4), ["a", "b"], tmp_path)


@each_row(
    ("vectors", "message"),
    [
        (np.full((1, 3), np.nan, np.float32), "holds NaN"),
        (np.ones((2, 3), np.float32), "shape (2, 3) for 1 texts"),
        (np.ones(3, np.float32), "shape (3,) for 1 texts"),
        (np.ones((1, 0), np.float32), "shape (1, 0) for 1 texts"),
    ],
)
def test_unusable_vectors_are_never_stored(
    tmp_path: Path, vectors: np.ndarray, message: str
) -> None:
    store = VectorStore(tmp_path, {"model": "m"}, "document")
    digests, lengths = digests_of(["a"])

    with store.writing() as append, pytest.raises(ApiError) as caught:
        append(digests, Embedding(vectors, None, 0.0), lengths, None)

    assert message in str(caught.value)
    assert store.find(digests).tolist() == [-1]


def test_failure_keeps_the_batches_that_succeeded(tmp_path: Path) -> None:
    def script(body: dict[str, list[str]], attempt: int) -> Answer:
        if "bad" in body["input"] and attempt == 1:
            return error(400, "no")
        return embeddings([[1.0, float(len(text))] for text in body["input"]])

    with LoopbackServer(script) as server:
        model = ModelConfig(
            name="m", provider="openai", base_url=server.base_url, batch_size=2, concurrency=1
        )
        texts = ["a", "bb", "ccc", "dddd", "bad", "e"]
        with ApiEmbedder(model, retry=Retry(attempts=1)) as embedder:
            store = VectorStore(tmp_path, embedder.settings, "document")
            with pytest.raises(ApiError, match="no"):
                embed_cached(embedder, texts, store)
            stored, embedded = embed_cached(embedder, texts, store)

    assert embedded == 2
    assert [request.body["input"] for request in server.requests] == [
        ["a", "bb"],
        ["ccc", "dddd"],
        ["bad", "e"],
        ["bad", "e"],
    ]
    assert stored.vectors[:, 1].tolist() == [1, 2, 3, 4, 3, 1]


def embed_a_hundred(base_url: str, cache: Path) -> None:
    model = ModelConfig(name="m", provider="openai", base_url=base_url, batch_size=5, concurrency=2)
    with ApiEmbedder(model) as embedder:
        store = VectorStore(cache, embedder.settings, "document")
        embed_cached(embedder, [f"text {number}" for number in range(100)], store)


def child(server: LoopbackServer, cache: Path) -> ForkServerProcess:
    process = forks().Process(target=embed_a_hundred, args=(server.base_url, cache))
    process.start()
    return process


def status(process: ForkServerProcess) -> int | None:
    process.join(60)
    return process.exitcode


def test_killed_run_is_resumed_to_the_batch(tmp_path: Path) -> None:
    enough, killed = threading.Event(), threading.Event()
    served: list[str] = []

    def script(body: dict[str, list[str]], attempt: int) -> Answer:
        if len(served) >= 40 and not killed.is_set():
            enough.set()
            killed.wait(60)
            return error(503, "nobody waits for it")
        served.extend(body["input"])
        return embeddings([[1.0, float(text[5:])] for text in body["input"]])

    with LoopbackServer(script) as server:
        first = child(server, tmp_path)
        assert enough.wait(60)
        first.kill()
        first.join()
        stored = only(tmp_path, "keys.bin").stat().st_size // 32
        served.clear()
        killed.set()

        assert status(child(server, tmp_path)) == 0

    assert 30 <= stored <= 40
    assert len(served) == 100 - stored
    rows = np.fromfile(only(tmp_path, "vectors.f32"), "<f4").reshape(-1, 2)
    assert sorted(rows[:, 1].tolist()) == list(range(100))


def test_two_processes_pay_for_each_text_once(tmp_path: Path) -> None:
    def script(body: dict[str, list[str]], attempt: int) -> Answer:
        time.sleep(0.02)
        return embeddings([[1.0, float(text[5:])] for text in body["input"]])

    with LoopbackServer(script) as server:
        both = [child(server, tmp_path) for _ in range(2)]
        codes = [status(process) for process in both]

    assert codes == [0, 0]
    asked = [text for request in server.requests for text in request.body["input"]]
    assert sorted(asked) == sorted(f"text {number}" for number in range(100))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_an_error_that_names_the_file() -> None:
    with (
        pytest.raises(WriteError, match=r"/dev/full: cannot be written: No space left"),
        Growing(Path("/dev/full")) as files,
    ):
        files.append(b"a vector")


def test_torn_record_of_how_long_batches_took_is_cut(tmp_path: Path) -> None:
    embedder = Recorder()
    store = VectorStore(tmp_path, embedder.settings, "document")
    embed_cached(embedder, ["a"], store)
    with only(tmp_path, "pace.bin").open("ab") as file:
        file.write(b"torn")

    embed_cached(embedder, ["b"], store)

    assert only(tmp_path, "pace.bin").stat().st_size == 2 * 24
    assert store.texts_per_s(np.array([0, 1])) is not None
    assert store.texts_per_s(np.array([7])) is None


@given(stored=st.lists(st.integers(0, 5)), wanted=st.lists(st.integers(0, 6)), data=st.data())
def test_index_finds_the_last_row_even_where_half_of_two_digests_is_the_same(
    stored: list[int], wanted: list[int], data: st.DataObject
) -> None:
    halves = data.draw(st.lists(st.integers(0, 1), min_size=7, max_size=7))
    digests = np.array([[halves[name], name] for name in stored], np.uint64).reshape(-1, 2)
    asked = np.array([[halves[name], name] for name in wanted], np.uint64).reshape(-1, 2)

    rows = DigestIndex(digests).find(asked)
    firsts = first_of_each(digests)

    last = {name: row for row, name in enumerate(stored)}
    assert rows.tolist() == [last.get(name, -1) for name in wanted]
    assert firsts.tolist() == sorted(stored.index(name) for name in set(stored))


def test_cache_folder_is_the_users_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"

    monkeypatch.delenv("ARENA_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "arena"
