"""What `arena queries` leaves in its folder: replies as they arrive, and what is made of them.

``queries.replies.jsonl`` is the record of everything that was paid for; the other three files
are made of it, whole, whenever a run ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import orjson

from arena.digest import digest
from arena.errors import DataError, UsageError
from arena.files import write_atomically
from arena.judging.budget import Budget
from arena.querying.screening import Screened
from arena.store.locked_file import LineFile, locked_log
from arena.store.log_lines import is_cost
from arena.store.spending_claims import Claims, read_claims

QUERIES: Final = "queries.jsonl"
QRELS: Final = "qrels.tsv"
MANIFEST: Final = "queries.manifest.json"
REPLIES: Final = "queries.replies.jsonl"
SPENDING: Final = "queries.spending.json"
LEARNED: Final = "queries.learned.json"
LOCK: Final = ".queries.lock"

_ROUNDING_USD: Final = 1e-9
"""Sums of many small prices may differ by so much, added up in another order."""
_SYNC_S: Final = 1.0
"""A power cut loses the replies of this many seconds, a killed process none."""


@dataclass(frozen=True, slots=True)
class DocumentReply:
    """What a model wrote about one document: one line of queries.replies.jsonl."""

    doc_id: str
    key: str  #: hash of the whole request; another prompt, model or text is another key
    queries: tuple[str, ...] | None  #: as they were read; None for a reply that is none
    reply: str = ""  #: exactly what the model wrote
    reason: str = ""  #: why there are no queries: refusal, unreadable, timeout, ...
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    estimated: bool = False  #: the cost is the most that it can be
    at: str = ""  #: UTC time, ISO 8601


class Answers:
    """The answers so far; a context manager that no second process can open.

    Args:
        folder: where they are kept; created where it is missing.

    Raises:
        LogError: another process writes there, or the folder cannot be written.
        DataError: a line of the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = ExitStack()
        self._lock.enter_context(locked_log(folder / LOCK))
        self._synced_at = time.monotonic()
        try:
            self._file = LineFile(folder / REPLIES)
            self.known = {a.key: a for a in _read(folder / REPLIES) if a.queries is not None}
            self._logged_usd = sum(answer.cost_usd for answer in _read(folder / REPLIES))
            claimed = read_claims(folder / SPENDING)
            self.spent_usd = max(self._logged_usd, *claimed.values(), 0.0)
            self._claims = Claims(folder / SPENDING)
            self._budget: Budget | None = None
        except BaseException:
            self._lock.close()
            raise

    def add(self, answer: DocumentReply) -> None:
        """Write an answer down.

        Raises:
            LogError: it cannot be written.
        """
        row = asdict(answer)
        if not answer.estimated:
            del row["estimated"]
        self._file.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        self._logged_usd += answer.cost_usd
        if answer.queries is not None:
            self.known[answer.key] = answer
        if time.monotonic() - self._synced_at > _SYNC_S:
            self._file.sync()
            self._synced_at = time.monotonic()

    def pay_from(self, budget: Budget) -> None:
        """Write down what each call may cost before it is sent, and at the end what was lost."""
        self._budget = budget
        budget.on_change = partial(self._claim, budget)

    def _claim(self, budget: Budget) -> None:
        self._claims.put("", budget.spent_usd + budget.reserved_usd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        settled = False
        try:
            rest_usd = (self._budget.spent_usd if self._budget else 0.0) - self._logged_usd
            if rest_usd > _ROUNDING_USD:
                self.add(
                    DocumentReply("", "", None, reason="lost", cost_usd=rest_usd, estimated=True)
                )
            self._file.sync()
            settled = self._budget is not None
        finally:
            self._claims.close(settled=settled)
            self._file.close()
            self._lock.close()


def read_answers(folder: Path) -> tuple[dict[str, DocumentReply], float]:
    """Return the answers in a folder that is only read, by key; and what all of them cost.

    Raises:
        DataError: a line of the file is damaged.
    """
    found = list(_read(folder / REPLIES))
    known = {answer.key: answer for answer in found if answer.queries is not None}
    claimed = read_claims(folder / SPENDING)
    return known, max(sum(answer.cost_usd for answer in found), *claimed.values(), 0.0)


def check_replaceable(folder: Path, dataset: str) -> None:
    """Check that writing the queries of a data set here overwrites nobody's work.

    Raises:
        UsageError: there are queries that `arena queries` did not write, that were edited, or
            that belong to another data set.
    """
    manifest = _manifest(folder)
    if manifest.get("dataset", dataset) != dataset:
        raise UsageError(
            f"{folder}: holds the queries of {manifest['dataset']}; give another folder with --out"
        )
    for name in (QUERIES, QRELS):
        path = folder / name
        if path.exists() and digest(path.read_bytes()).hex() not in manifest.get("files", []):
            raise UsageError(
                f"{path}: was not written by `arena queries`, or edited since; "
                "give another folder with --out, or move it away"
            )


def write_queries(folder: Path, screened: Screened, manifest: Mapping[str, Any]) -> None:
    """Write the queries, the document that each was written for as its qrels, and the manifest.

    Raises:
        WriteError: the folder cannot be written.
    """
    queries = b"".join(
        orjson.dumps(
            {"_id": w.query.query_id, "text": w.query.text, "metadata": {"doc_id": w.doc_id}},
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for w in screened.kept
    )
    lines = ["query-id\tcorpus-id\tscore"]
    lines += [f"{w.query.query_id}\t{w.doc_id}\t1" for w in screened.kept]
    write_files(folder, queries, "".join(f"{line}\n" for line in lines).encode(), manifest)


def write_files(
    folder: Path, queries: bytes, qrels: bytes | None, manifest: Mapping[str, Any]
) -> None:
    """Write queries, their grades if there are any, and the manifest that knows both.

    Raises:
        WriteError: the folder cannot be written.
    """
    # The manifest comes first, and knows the files before it too: whenever this is interrupted,
    # what is there is known to be ours.
    before = _manifest(folder).get("files", [])
    ours = [*(digest(raw).hex() for raw in (queries, qrels) if raw is not None), *before][:4]
    tree = orjson.dumps({**manifest, "files": ours}, option=orjson.OPT_INDENT_2)
    write_atomically(folder / MANIFEST, [tree, b"\n"])
    write_atomically(folder / QUERIES, [queries])
    if qrels is not None:
        write_atomically(folder / QRELS, [qrels])
    else:
        (folder / QRELS).unlink(missing_ok=True)  # of other queries


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found = orjson.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> Iterator[DocumentReply]:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    if not path.exists():
        return
    reader = TypeAdapter(DocumentReply)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return  # torn by a crash: it is asked again
            try:
                answer = reader.validate_json(line, strict=True)
            except ValidationError:
                answer = None
            if answer is None or not is_cost(answer.cost_usd):
                remedy = "delete the line; its document will be asked about again"
                raise DataError(path, number, "not a reply of `arena queries`", remedy)
            yield answer
