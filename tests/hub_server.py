"""A small Hugging Face hub on loopback: it lists and serves the files of data set folders."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import pytest
from http_server import PromptServer
from huggingface_hub import constants

CONVERTED = "refs/convert/parquet"
"""A branch that every data set has; here it holds what main holds."""


class HubServer:
    """Serves ``root/<owner>/<name>`` as data sets, each with one commit, for a ``with`` block.

    A folder with a file called GATED lists its files to anybody and gives them to nobody.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: list[str] = []  #: of every request that came in
        self.tokens: list[str | None] = []  #: beside it, where it brought one
        self.elsewhere: str | None = None  #: the address of who has the files, if not this hub
        self.damaged: bytes | None = None  #: what is said of every data set in place of JSON
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.paths.append(self.path)
                hub.tokens.append(self.headers.get("Authorization"))
                status, headers, body = hub.answer(unquote(urlsplit(self.path).path))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = PromptServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def commit(self, repo: str) -> str:
        """The commit of a data set: forty digits that its files decide."""
        folder = self.root / repo
        state = hashlib.sha1(usedforsecurity=False)
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            state.update(str(path.relative_to(folder)).encode() + path.read_bytes())
        return state.hexdigest()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = path.replace(CONVERTED, "main").strip("/").split("/")
        if parts[:2] == ["api", "datasets"]:
            repo, what = "/".join(parts[2:4]), parts[4:]
        elif parts[0] == "datasets":
            repo, what = "/".join(parts[1:3]), parts[3:]
        else:
            return 404, {}, b""
        if not (self.root / repo).is_dir():
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        commit = self.commit(repo)
        if len(what) < 2 or what[1] not in ("main", commit):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if what[0] == "resolve":
            return self._file(self.root / repo, "/".join(what[2:]), commit)
        names = sorted(
            str(p.relative_to(self.root / repo)) for p in (self.root / repo).rglob("*.*")
        )
        if what[0] == "tree":
            return (
                200,
                _JSON,
                json.dumps([_entry(self.root / repo, name) for name in names]).encode(),
            )
        siblings = [{"rfilename": name} for name in names]
        told = json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()
        return 200, _JSON, told if self.damaged is None else self.damaged

    def _file(self, folder: Path, name: str, commit: str) -> tuple[int, dict[str, str], bytes]:
        if (folder / "GATED").exists():
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if not (folder / name).is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_entry(folder, name)["oid"]}"'}
        content = (folder / name).read_bytes()
        if self.elsewhere:
            path = f"/datasets/{folder.relative_to(self.root)}/resolve/main/{name}"
            headers |= {"Location": self.elsewhere + path, "X-Linked-Size": str(len(content))}
            return 302, headers | {"X-Linked-Etag": headers["ETag"]}, b""
        return 200, headers, content


_JSON = {"Content-Type": "application/json"}


def _entry(folder: Path, name: str) -> dict[str, object]:
    content = (folder / name).read_bytes()
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}


def use_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path) -> None:
    """What HF_ENDPOINT and HF_HUB_CACHE do for a new process."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
