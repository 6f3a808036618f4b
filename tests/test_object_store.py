"""Data sets in an object store: a real S3 server on loopback."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from http_server import PromptServer

import arena
from arena.config import parse_config
from arena.data.beir import load_beir
from arena.data.corpus import corpus_hash
from arena.data.load import load_dataset
from arena.data.partitions import read_partition
from arena.data.remote import load_remote
from arena.errors import ConfigError, DataError, UsageError
from arena.files import cache_folder

pytestmark = [
    pytest.mark.skipif(not find_spec("s3fs"), reason='needs the extra "s3"'),
    pytest.mark.skipif(not find_spec("moto"), reason="needs moto[server]"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
]

ROWS = [{"_id": f"d{number}", "text": f"text {number}"} for number in range(6)]


def lines(*rows: dict[str, str]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Bucket:
    """A bucket with a data set of six documents in two partitions, which tests only read."""

    def __init__(self, client: Any) -> None:
        self._client = client
        client.create_bucket(Bucket="data")
        self.fill("tiny")

    def fill(self, folder: str) -> str:
        """Put the data set into a folder; return its address."""
        self.put(f"{folder}/corpus-0.jsonl", lines(*ROWS[:4]))
        self.put(f"{folder}/corpus-1.jsonl.gz", gzip.compress(lines(*ROWS[4:])))
        self.put(f"{folder}/queries.jsonl", lines({"_id": "q1", "text": "which?"}))
        self.put(f"{folder}/qrels/test.tsv", b"q1\td1\t1\n")
        self.put(f"{folder}/unrelated/large.bin", b"x" * 100)
        return f"s3://data/{folder}"

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket="data", Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket="data", Key=key)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto import server as moto_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(scope="module")
def filled(server: str) -> Bucket:
    import boto3

    return Bucket(
        boto3.client(
            "s3",
            endpoint_url=server,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test-secret",
        )
    )


@pytest.fixture
def bucket(server: str, filled: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket, and what names it in the environment."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret"}
    for name, value in {
        **keys,
        "AWS_ENDPOINT_URL": server,
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    return filled


def test_a_folder_in_a_bucket_is_a_data_set(bucket: Bucket) -> None:
    dataset = load_remote("s3://data/tiny/", "tiny")

    assert list(dataset.corpus) == [row["_id"] for row in ROWS]
    assert dataset.qrels == {"q1": {"d1": 1}}
    assert [p.path for p in dataset.partitions] == [
        "s3://data/tiny/corpus-0.jsonl",
        "s3://data/tiny/corpus-1.jsonl.gz",
    ]
    assert not list(cache_folder().rglob("large.bin"))


def test_a_worker_reads_a_partition_by_its_address(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_remote("s3://data/tiny", "tiny")
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "worker"))

    read = [read_partition(partition) for partition in dataset.partitions]

    assert [doc_id for corpus in read for doc_id in corpus] == list(dataset.corpus)
    assert list((tmp_path / "worker").rglob("corpus-1.jsonl.gz"))


def test_files_are_copied_again_only_if_they_have_changed(bucket: Bucket) -> None:
    url = bucket.fill("changing")
    first = load_remote(url, "tiny")
    copies = {path.name: path for path in cache_folder().rglob("corpus-*")}
    before = {name: path.stat().st_mtime_ns for name, path in copies.items()}
    bucket.put("changing/corpus-0.jsonl", lines(*ROWS[:3]))
    bucket.delete("changing/corpus-1.jsonl.gz")
    bucket.put("changing/corpus-2.jsonl", lines(*ROWS[4:]))

    second = load_remote(url, "tiny")
    third = load_remote(url, "tiny")

    assert list(second.corpus) == [row["_id"] for row in (*ROWS[:3], *ROWS[4:])]
    assert corpus_hash(first.corpus) != corpus_hash(second.corpus) == corpus_hash(third.corpus)
    assert copies["corpus-0.jsonl"].stat().st_mtime_ns > before["corpus-0.jsonl"]
    assert not copies["corpus-1.jsonl.gz"].exists()


def test_an_unchanged_file_is_not_copied_again(bucket: Bucket) -> None:
    dataset = load_remote("s3://data/tiny", "tiny")
    copies = sorted(path for path in cache_folder().rglob("*") if path.suffix in (".jsonl", ".gz"))
    before = [path.stat().st_ino for path in copies]

    load_remote("s3://data/tiny", "tiny")
    for partition in dataset.partitions:
        read_partition(partition)  # by its own address, as a worker on this machine does

    assert len(copies) == 3
    assert [path.stat().st_ino for path in copies] == before


def test_a_mistake_names_the_file_by_its_address(bucket: Bucket) -> None:
    url = bucket.fill("mistaken")
    bucket.put("mistaken/corpus-0.jsonl", lines(*ROWS[:2]) + b'{"_id": "d9"}\n')

    with pytest.raises(DataError, match=rf'^{url}/corpus-0\.jsonl:3: missing "text"'):
        load_remote(url, "tiny")


@pytest.mark.parametrize("url", ["s3://data/nothing", "s3://no-such-bucket/tiny"])
def test_a_folder_that_is_not_there_is_one_line(bucket: Bucket, url: str) -> None:
    with pytest.raises(DataError, match=f"^{url}: ") as raised:
        load_remote(url, "tiny")

    assert "\n" not in str(raised.value)


def test_a_store_that_refuses_ends_with_one_line_without_the_key(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = b"<Error><Code>AccessDenied</Code><Message>not with test-secret</Message></Error>"

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(refused)))
            self.end_headers()
            self.wfile.write(refused)

        def log_message(self, *words: object) -> None:
            """Keep the tests' output clean."""

    with PromptServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(DataError, match=r"^s3://data/tiny: cannot be read: ") as raised:
            load_remote("s3://data/tiny", "tiny")
        server.shutdown()

    assert "test-secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_config_and_a_notebook_name_a_bucket_as_a_folder(bucket: Bucket, tmp_path: Path) -> None:
    section = {"name": "tiny", "path": "s3://data/tiny"}
    config = parse_config(
        {
            "experiment": {"name": "x"},
            "datasets": [section],
            "models": [{"name": "a", "provider": "bm25"}, {"name": "b", "provider": "lsa"}],
            "judge": {"kind": "qrels"},
        },
        tmp_path / "arena.toml",
    )

    loaded = load_dataset(config.datasets[0])

    assert list(loaded.corpus) == [row["_id"] for row in ROWS]
    assert list(arena.load_dataset("s3://data/tiny").corpus) == list(loaded.corpus)


def test_an_address_with_a_password_is_a_mistake_in_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keys come from the environment") as raised:
        parse_config(
            {
                "experiment": {"name": "x"},
                "datasets": [{"name": "tiny", "path": "s3://me:secret@data/tiny"}],
                "models": [{"name": "a", "provider": "bm25"}, {"name": "b", "provider": "lsa"}],
                "judge": {"kind": "qrels"},
            },
            tmp_path / "arena.toml",
        )

    assert "secret@" not in str(raised.value)


def test_a_store_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gcsfs", None)

    with pytest.raises(UsageError, match=r"gcsfs.*retrieval-arena\[gs\]"):
        load_remote("gs://data/tiny", "tiny")


def test_other_stores_that_fsspec_knows_work_as_well(tmp_path: Path) -> None:
    (tmp_path / "corpus-0.jsonl").write_bytes(lines(*ROWS))
    (tmp_path / "queries.jsonl").write_bytes(lines({"_id": "q1", "text": "which?"}))

    dataset = load_remote(f"file://{tmp_path}", "tiny")

    assert dataset.corpus == load_beir(tmp_path, "tiny").corpus
