"""Every error that arena raises on purpose.

::

    ArenaError                  exit status 1
    ├── UsageError              exit status 2: what the user gave cannot be used
    │   ├── ConfigError         arena.toml, all of its mistakes together
    │   └── DataError           a corpus, queries, qrels, run or log file: file, line, remedy
    ├── LogError                the log of an experiment cannot be opened or written
    ├── WriteError              any other file cannot be written: the disk is full, or not ours
    ├── CommandError            a program that ranks did not answer as agreed
    ├── ApiError                an endpoint did not answer a request usefully
    │   └── FatalApiError       and will answer no other either: stop the whole run
    ├── UnjudgedError                a battle has no verdict: recorded as a failure, never as a tie
    ├── BudgetSpentError             the next call could pass max_usd: stop the whole run
    ├── GateError                    a judge failed its controls: nothing was paid for but these
    ├── IncompleteError              a run ended before all its battles were judged
    └── UnforeseenError              a mistake of arena's own, or of the machine, amid a run

Each class builds its own one-line message: what, where, the value, the remedy.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from arena.redaction import blank


class ArenaError(Exception):
    """Root of all errors that arena prints as one line, without a traceback and without keys."""

    exit_status: ClassVar[int] = 1

    def __str__(self) -> str:
        return blank(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        # By its finished message, since the arguments of a kind's own constructor are gone.
        state = {
            name: blank(value) if isinstance(value, str) else value
            for name, value in vars(self).items()
        }
        return _unpickled, (type(self), str(self), state)


def _unpickled(kind: type[ArenaError], message: str, state: dict[str, Any]) -> ArenaError:
    """Make an error of another process again."""
    error = kind.__new__(kind, message)
    vars(error).update(state)
    return error


class UsageError(ArenaError):
    """A request that arena cannot fulfil as given."""

    exit_status: ClassVar[int] = 2


class ConfigError(UsageError):
    """An arena.toml with one or more mistakes, reported together."""

    def __init__(self, path: Path | str, problems: Sequence[str]) -> None:
        self.path = str(path)
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{self.path}: {problem}" for problem in self.problems))


_MOST: Final = 500
"""Maximum characters of what is wrong with a file, which may quote a value of a megabyte."""


class DataError(UsageError):
    """A data file whose contents do not match its format.

    ``DataError("corpus.jsonl", 17, 'missing "_id"', "expected BEIR fields _id, text")`` reads
    ``corpus.jsonl:17: missing "_id"; expected BEIR fields _id, text``.
    """

    def __init__(self, path: Path | str, line: int | None, what: str, remedy: str = "") -> None:
        self.path = str(path)
        self.line = line
        self.what = what if len(what) <= _MOST else f"{what[: _MOST - 1]}…"
        self.remedy = remedy
        where = self.path if line is None else f"{self.path}:{line}"
        super().__init__(f"{where}: {self.what}" + (f"; {remedy}" if remedy else ""))


class LogError(ArenaError):
    """A battle log that arena cannot open, lock or write."""


class WriteError(ArenaError):
    """A file that arena cannot write, because of a full disk or permissions."""

    def __init__(self, path: Path | str, error: OSError) -> None:
        self.reason = f"{path}: cannot be written: {error.strerror}"
        self.is_forbidden = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        super().__init__(
            f"{self.reason}; free the disk or the permissions, then run the same command again"
        )


class CommandError(ArenaError):
    """A search program that ended, hung, or printed something other than rankings."""


class ApiError(ArenaError):
    """A request without a useful answer, after all sensible retries.

    ``reason`` is a short stable word for the failures file and the audit: ``timeout``,
    ``connection``, ``rate_limit``, ``server``, ``garbage``, ``bad_request`` and so on.
    """

    def __init__(self, reason: str, detail: str, *, words: str = "") -> None:
        self.reason = reason
        self.detail = detail
        self.words = words or detail  #: the endpoint's whole message, not for display
        super().__init__(f"{reason}: {detail}")


class FatalApiError(ApiError):
    """A refusal of every request: key, permission, model name, quota."""


class UnjudgedError(ArenaError):
    """A battle without a readable verdict.

    ``reason`` is a short stable word (``refusal``, ``empty``, ``only_reasoning``, ``truncated``,
    ``two_verdicts``, ``contradiction``, ``unreadable``, or an `ApiError` reason);
    ``detail`` one line for people; ``reply`` what the judge wrote; ``cost_usd`` what that cost,
    ``estimated`` whether it is the most that it can have cost.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        reply: str = "",
        cost_usd: float = 0.0,
        estimated: bool = False,
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.reply = reply
        self.cost_usd = cost_usd
        self.estimated = estimated
        super().__init__(f"{reason}: {detail}")


class BudgetSpentError(ArenaError):
    """A budget that the next call could exceed; arena did not make the call."""

    def __init__(self, spent_usd: float, max_usd: float, next_usd: float) -> None:
        self.spent_usd = spent_usd
        self.max_usd = max_usd
        self.next_usd = next_usd
        super().__init__(
            f"budget: ${spent_usd:,.4f} of max_usd = {max_usd:g} are spent, and the next call "
            f"may cost ${next_usd:,.4f}; nothing judged is lost: raise max_usd and run this again"
        )


class GateError(ArenaError):
    """A judge that failed obvious controls; ``figures`` and ``remedy`` are sentences.

    If no control got a verdict, all for one reason, ``figures`` is that reason.
    """

    def __init__(self, judge: str, figures: str, remedy: str, *, answered: bool = True) -> None:
        self.judge = judge
        failed = "failed its controls" if answered else "gave no verdict on any control"
        super().__init__(f"judge {judge} {failed}: {figures}; {remedy}")


class ClusterError(ArenaError):
    """A cluster that cannot be had, differs from this process, or is lost."""


class IncompleteError(ArenaError):
    """A run that stopped with work left; the message names the reason and the next command."""


class UnforeseenError(ArenaError):
    """An unexpected error during a run; arena stores everything received before it raises this."""

    def __init__(self, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "arena" in Path(frame.filename).parts]
        places = [f" ({Path(frame.filename).name}:{frame.lineno})" for frame in ours or frames]
        where = places[-1] if places else ""
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        super().__init__(
            f"unforeseen: {said}{where}; all that was received is kept: run the same command "
            "again, and report this if it stays"
        )
