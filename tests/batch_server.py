"""A provider of batch jobs on loopback: files, jobs, calls, and all that goes wrong.

::

    with BatchServer(fair_judge) as server:
        server.polls = 2                    # a job ends when it has been asked for so often
        server.fate = lambda number, name: "expired" if number % 2 else "ok"
        server.faults["POST /v1/batches"] = ["lose"]

The ``fate`` of a request by its place in the file: ``ok``, ``twice``, ``missing`` (in neither
file), ``page`` (status 200, and HTML for a body), ``expired`` (batch_expired, in the error file),
or a status such as ``500``. A fault of the next request to a route: ``lose`` does the work and
hangs up, ``drop`` hangs up without doing it, ``html`` answers 200 with a page, and a number is a
status. Output comes in another order than input. What is wrong with the provider itself is
told by ``view``, ``listing`` and ``content``, which change what it says of a job, its list of jobs,
and a file of results.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from http_server import PromptServer
from loopback import Answer

Judge = Callable[[dict[str, Any], int], Answer]
PAGE = b"<html><body>Bad gateway</body></html>"


class BatchServer:
    """Serves on a free port of 127.0.0.1 for as long as the ``with`` block lasts."""

    def __init__(self, judge: Judge, *, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.judge = judge
        self.polls = 1
        self.status = "completed"  #: how jobs end
        self.fate: Callable[[int, str], str] = lambda number, name: "ok"
        self.refusal = "as told"  #: what a status of a request says
        self.faults: dict[str, list[str]] = {}
        self.view: Callable[[dict[str, Any]], Any] = lambda batch: batch
        self.listing: Callable[[dict[str, Any]], Any] = lambda page: page
        self.content: Callable[[bytes], bytes] = lambda raw: raw
        self.pause_s = 0.0  #: between the bytes of a file of results
        self.extra_lines: list[str] = []  #: put in front of every output file
        self.batches: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []  #: method and path of each
        self.headers: list[str] = []  #: of all requests, to look for keys that should be there
        self._asked: dict[str, int] = {}
        self._lock = threading.Lock()
        handler = type("_Bound", (_Handler,), {"provider": self})
        self._server = PromptServer(address, handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def base_url(self) -> str:
        return "http://{}:{}/v1".format(*self._server.server_address)

    @property
    def submitted(self) -> list[str]:
        """The custom_id of every request of every job that was created."""
        return [
            json.loads(line)["custom_id"]
            for batch in self.batches.values()
            for line in self.files[batch["input_file_id"]].splitlines()
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, method: str, path: str, raw: bytes) -> tuple[int, bytes] | None:
        """The answer to a request; None to hang up."""
        with self._lock:
            self.requests.append(f"{method} {path}")
            route = f"{method} {path.partition('?')[0]}"
            waiting = next((q for r, q in self.faults.items() if re.fullmatch(r, route) and q), [])
            fault = waiting.pop(0) if waiting else ""
            if fault == "drop":
                return None
            if fault == "html":
                return 200, PAGE
            if fault.isdigit():
                return int(fault), b'{"error": {"message": "as told"}}'
            found = self._route(method, path, raw)
            return None if fault == "lose" else found

    def _route(self, method: str, path: str, raw: bytes) -> tuple[int, bytes]:
        where, _, query = path.partition("?")
        parts = where.removeprefix("/v1/").split("/")
        routes = {
            "POST files": lambda: self._upload(raw),
            "POST batches": lambda: self._create(json.loads(raw)),
            "POST chat/completions": lambda: self._call(json.loads(raw)),
            "GET batches": lambda: self._list(query),
        }
        if route := routes.get(f"{method} {'/'.join(parts)}"):
            return route()
        if parts[0] == "batches" and parts[1] in self.batches:
            return self._ask(self.batches[parts[1]])
        if parts[0] == "files" and parts[1] in self.files:
            raw = self.files[parts[1]]
            return 200, self.content(raw) if parts[-1] == "content" else raw
        return 404, b'{"error": {"message": "No such object"}}'

    def _call(self, body: dict[str, Any]) -> tuple[int, bytes]:
        answer = self.judge(body, 1)
        return answer.status, answer.body

    def _upload(self, raw: bytes) -> tuple[int, bytes]:
        boundary = raw.partition(b"\r\n")[0]
        contents = {
            re.search(rb'name="(\w+)"', part)[1]: part.partition(b"\r\n\r\n")[2][:-2]
            for part in raw.split(boundary)[1:-1]
        }
        assert contents[b"purpose"] == b"batch"
        name = f"file-{len(self.files)}"
        self.files[name] = contents[b"file"]
        return _json({"id": name, "object": "file"})

    def _create(self, body: dict[str, Any]) -> tuple[int, bytes]:
        assert body["endpoint"] == "/v1/chat/completions"
        assert body["completion_window"] == "24h"
        name = f"batch-{len(self.batches)}"
        total = len(self.files[body["input_file_id"]].splitlines())
        self.batches[name] = {
            "id": name,
            "status": "validating",
            "input_file_id": body["input_file_id"],
            "metadata": body["metadata"],
            "request_counts": {"total": total, "completed": 0, "failed": 0},
        }
        return _json(self.batches[name])

    def _list(self, query: str) -> tuple[int, bytes]:
        newest = list(reversed(self.batches.values()))
        if after := re.search("after=([^&]+)", query):
            names = [b["id"] for b in newest]
            newest = newest[1 + names.index(after[1]) :] if after[1] in names else []
        page = {"data": newest[:2], "has_more": len(newest) > 2}  # pages are short here
        return _json(self.listing(page))

    def _ask(self, batch: dict[str, Any]) -> tuple[int, bytes]:
        asked = self._asked[batch["id"]] = self._asked.get(batch["id"], 0) + 1
        if asked < self.polls:
            batch["status"] = "in_progress"
        elif batch["status"] != self.status and "completed_at" not in batch:
            self._end(batch)
        return _json(self.view(dict(batch)))

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.status
        batch[f"{self.status}_at"] = 1_800_000_000
        if self.status == "failed":
            problem = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
            batch["errors"] = {"object": "list", "data": [problem]}
            return
        output, errors = list(self.extra_lines), []
        for number, line in enumerate(self.files[batch["input_file_id"]].splitlines()):
            request = json.loads(line)
            fate = self.fate(number, request["custom_id"])
            if fate in ("ok", "twice"):
                body = json.loads(self.judge(request["body"], 1).body)
                output += [_line(request, 200, body)] * (2 if fate == "twice" else 1)
            elif fate == "expired":
                error = {"code": "batch_expired", "message": "This request could not be executed."}
                row = {"custom_id": request["custom_id"], "response": None, "error": error}
                errors.append(json.dumps(row))
            elif fate == "page":
                output.append(_line(request, 200, PAGE.decode()))
            elif fate != "missing":
                body = {"error": {"message": self.refusal}}
                errors.append(_line(request, int(fate), body))
        done = {json.loads(line)["custom_id"] for line in output[len(self.extra_lines) :]}
        batch["request_counts"] |= {"completed": len(done), "failed": len(errors)}
        for field, lines in (("output_file_id", output), ("error_file_id", errors)):
            if lines:
                random.Random(7).shuffle(lines)
                name = batch[field] = f"{field}-{batch['id']}"
                self.files[name] = ("\n".join(lines) + "\n").encode()


def _line(request: dict[str, Any], status: int, body: object) -> str:
    response = {"status_code": status, "request_id": "r", "body": body}
    return json.dumps({"custom_id": request["custom_id"], "response": response, "error": None})


def _json(body: object) -> tuple[int, bytes]:
    return 200, json.dumps(body).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: BatchServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            raw = b""
            while size := int(self.rfile.readline(), 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.provider.headers.append(str(self.headers))
        found = self.provider.serve(self.command, self.path, raw)
        if found is None:
            self.close_connection = True
            return
        status, body = found
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        pause_s = self.provider.pause_s if self.path.endswith("/content") else 0.0
        with suppress(ConnectionError):
            for part in [body[i : i + 1] for i in range(len(body))] if pause_s else [body]:
                self.wfile.write(part)
                time.sleep(pause_s)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, as in the base class
        """Keep the tests' output clean."""
