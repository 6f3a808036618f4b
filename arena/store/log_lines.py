"""The lines of the log: how each record is written, and how it is read back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import orjson

from arena.data.json_files import adapter
from arena.errors import DataError
from arena.records import Battle, Failure, Probs, Reply, Side, Usage
from arena.store.id_index import IdSet

T = TypeVar("T")
_REMEDY: Final = "delete the damaged line, and what it held is made again"


@dataclass(frozen=True, slots=True)
class _ReplyLine:
    """A `Reply` as it is in the file, its usage not nested."""

    id: str
    request: str
    reply: str
    winner: Side | None
    probs: Probs | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    estimated: bool = False
    at: str = ""
    judge: str = ""


def is_cost(value: object) -> bool:
    """Return whether this is a valid cost: a number, finite and not negative."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value < math.inf


def row(record: Battle | Failure | Reply) -> dict[str, Any]:
    """Return a record as the object of its line.

    ``probs`` is left out where there are none, ``kind`` of a judge that reads two lists, and
    ``estimated`` where the cost is known.

    Raises:
        ValueError: its cost is none, and the line could not be read again.
    """
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    if isinstance(record, Reply):
        del values["usage"]
        values |= {f.name: getattr(record.usage, f.name) for f in fields(Usage)}
    if values.get("probs", "") is None:
        del values["probs"]
    if values.get("kind") == "pairwise":
        del values["kind"]
    if not values.get("estimated", True):
        del values["estimated"]
    if not is_cost(values["cost_usd"]):
        raise ValueError(f"a cost of {values['cost_usd']}")
    return values


def read_battles(path: Path) -> Iterator[Battle]:
    """Yield the battles of a log in its order, each id once, without an unfinished last line.

    Raises:
        DataError: a line is no battle; names file and line.
    """
    seen = IdSet()
    for battle in parse_battles(path):
        if seen.add(battle.id):
            yield battle


def parse_battles(path: Path) -> Iterator[Battle]:
    """Yield the battle in each line of a log.

    Raises:
        DataError: a line is no battle; names file and line.
    """
    for number, _, line in finished_lines(path):
        yield parsed_line(Battle, line, path, number)


def read_failures(path: Path) -> Iterator[Failure]:
    """Yield the last failure of each id; those judged later have a battle in the log.

    Raises:
        DataError: a line is no failure; names file and line.
    """
    found = (parsed_line(Failure, line, path, number) for number, _, line in finished_lines(path))
    yield from {failure.id: failure for failure in found}.values()


def failure_ids(path: Path) -> Iterator[tuple[str, str]]:
    """Yield battle id and reason of each failure, those of the same battle too.

    Raises:
        DataError: a line is no failure; names file and line.
    """
    for number, _, line in finished_lines(path):
        failure = _object(line, path, number, "id", "reason")
        yield failure["id"], failure["reason"]


def parse_reply(line: bytes, path: Path, number: int | None) -> Reply:
    """Return the reply in a line of replies.jsonl.

    Raises:
        DataError: there is none.
    """
    parsed = parsed_line(_ReplyLine, line, path, number)
    usage = Usage(
        parsed.input_tokens,
        parsed.output_tokens,
        parsed.cached_tokens,
        parsed.cost_usd,
        parsed.latency_ms,
        parsed.estimated,
    )
    return Reply(
        id=parsed.id,
        request=parsed.request,
        reply=parsed.reply,
        winner=parsed.winner,
        probs=parsed.probs,
        usage=usage,
        at=parsed.at,
        judge=parsed.judge,
    )


def battle_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each line of a log of battles, and the battle's id, without looking at the rest.

    Raises:
        DataError: a line has no id; names file and line.
    """
    for number, _, line in finished_lines(path):
        yield _object(line, path, number, "id")["id"], line


def logged_ids(battles: Iterable[Path], failures: Iterable[Path] = ()) -> IdSet:
    """Return the battle ids in logs of battles, and in logs of failures.

    Raises:
        DataError: a line has no id; names file and line.
    """
    ids = IdSet()
    for path in battles:
        for battle_id, _ in battle_lines(path):
            ids.add(battle_id)
    for path in failures:
        for battle_id, _ in failure_ids(path):
            ids.add(battle_id)
    return ids


def verdict_places(path: Path) -> Iterator[tuple[int, str]]:
    """Yield offset and battle id of each reply that has a verdict.

    Raises:
        DataError: a line is no reply; names file and line.
    """
    for number, offset, line in finished_lines(path):
        reply = _object(line, path, number, "id", "request")
        if reply.get("winner"):
            yield offset, reply["id"]


class ReplyPlace(NamedTuple):
    """Where in a log a reply is, and what is looked up of it."""

    offset: int  #: of its line
    id: str  #: of its battle; empty if it has none
    request: str
    has_verdict: bool
    at: str  #: when it came; empty if its line does not say
    judge: str
    cost_usd: float


def reply_places(path: Path) -> Iterator[ReplyPlace]:
    """Yield the place of each reply in a log, without reading its text.

    Raises:
        DataError: a line is no reply, or has no cost; names file and line.
    """
    for number, offset, line in finished_lines(path):
        reply = _object(line, path, number, "id", "request")
        judge, cost_usd = _cost(reply, path, number)
        at = reply.get("at")
        yield ReplyPlace(
            offset=offset,
            id=reply["id"],
            request=reply["request"],
            has_verdict=bool(reply.get("winner")),
            at=at if isinstance(at, str) else "",
            judge=judge,
            cost_usd=cost_usd,
        )


def costs(path: Path) -> Iterator[tuple[str, float]]:
    """Yield judge and dollars of each reply or grade in a log.

    Raises:
        DataError: a line has no cost; names file and line.
    """
    for number, _, line in finished_lines(path):
        try:
            reply = orjson.loads(line)
        except orjson.JSONDecodeError:
            reply = None
        yield _cost(reply, path, number)


def _cost(reply: object, path: Path, number: int) -> tuple[str, float]:
    """Return judge and dollars of a reply."""
    if isinstance(reply, dict) and "cost_usd" in reply:
        judge, cost_usd = reply.get("judge", ""), reply["cost_usd"]
        if isinstance(judge, str) and is_cost(cost_usd):
            return judge, float(cost_usd)
    remedy = "repair the line: a cap counts what every reply has cost"
    raise DataError(path, number, "not a reply with its cost", remedy)


def _object(line: bytes, path: Path, number: int, *names: str) -> dict[str, Any]:
    """Return the object in a line, checked only for these texts."""
    try:
        found = orjson.loads(line)
        if all(isinstance(found[name], str) for name in names):
            return found  # type: ignore[no-any-return]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        pass
    raise DataError(path, number, f"not a line with {' and '.join(names)}", _REMEDY)


def finished_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, offset and bytes of each finished line that is not blank."""
    try:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n") and not line.isspace():
                    yield number, offset, line
                offset += len(line)
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None


def parsed_line(
    kind: type[T], line: bytes, path: Path, number: int | None, *, remedy: str = _REMEDY
) -> T:
    """Return the record in a line.

    Args:
        kind: of the record.
        line: JSON.
        path: of the file.
        number: of the line, from 1.
        remedy: what to do about a line that holds no such record.

    Raises:
        DataError: there is none; names file, line and field.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        return adapter(kind).validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f'"{where}": {first["msg"]}' if where else first["msg"]
        raise DataError(path, number, f"not a line of this log: {what}", remedy) from None
