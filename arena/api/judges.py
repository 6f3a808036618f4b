"""Judges for a notebook: an LLM, the relevance grades, or a function of your own."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, cast, get_args, runtime_checkable
from weakref import WeakKeyDictionary

from arena.api.arguments import checked_keywords, whole_number, wrong_type
from arena.api.own_model import is_async
from arena.api.user_loop import settled
from arena.config import JudgeConfig
from arena.digest import content_hash
from arena.endpoint.coroutines import in_thread
from arena.errors import UnjudgedError, UsageError
from arena.records import Document, JudgeInput, JudgeKind, Probs, Query, Side, Verdict
from arena.redaction import blank
from arena.terminal import one_line

Answer = Side | Verdict
JudgeFunction = Callable[[Query, tuple[Document, ...], tuple[Document, ...]], Any]
"""Query, first list, second list → ``"first"``, ``"second"``, ``"tie"`` or a `Verdict`, or an
awaitable of that."""

_SIDES: Final = ("first", "second", "tie")
_EXPECTED: Final = 'expected "first", "second" or "tie", or an arena.Verdict with arena.Probs'
_CONCURRENCY: Final = 16


@runtime_checkable
class Judge(Protocol):
    """The protocol of a judge.

    ``kind`` is optional (``"pairwise"`` by default). A judge of kind ``"pointwise"`` sees no list
    first, so arena estimates no advantage of the first place for it.
    """

    @property
    def name(self) -> str:
        """Return the judge's name in the log."""

    @property
    def fingerprint(self) -> str:
        """Return a hash of every setting that can change a verdict; a change judges again."""

    async def judge(self, judge_input: JudgeInput, /) -> Verdict:
        """Judge a query and two lists.

        Raises:
            UnjudgedError: no verdict, with its reason.
        """


JudgeLike = JudgeConfig | Mapping[str, Any] | Judge | JudgeFunction
"""The types that `compare` accepts as a judge."""


class OwnJudge:
    """A user's judge as the experiment sees it: no prompt, no endpoint and no cost."""

    prompt = ""
    is_llm = False

    def __init__(
        self,
        ask: Callable[[JudgeInput], Any],
        *,
        name: str,
        fingerprint: str,
        concurrency: int = _CONCURRENCY,
        kind: JudgeKind = "pairwise",
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.kind = kind
        self.concurrency = concurrency
        self._ask = ask
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._turns = WeakKeyDictionary()

    def request_key(self, judge_input: JudgeInput) -> str:
        """Return a key that is equal for the same query and lists."""
        lists = [
            [(d.doc_id, d.title, d.text) for d in side]
            for side in (judge_input.first, judge_input.second)
        ]
        query = (judge_input.query.query_id, judge_input.query.text)
        return content_hash(self.fingerprint, judge_input.dataset, query, lists)

    def calls(self, judge_input: JudgeInput) -> Mapping[str, Any]:
        """Return nothing, because no endpoint gets a request."""
        del judge_input
        return {}

    async def judge(self, judge_input: JudgeInput) -> Verdict:
        """Call the user's judge and check its answer.

        Raises:
            UnjudgedError: the user's code raised an error, or answered something else.
        """
        async with self._turn():
            try:
                answer = self._ask(judge_input)
                if inspect.isawaitable(answer):
                    answer = await settled(answer)
                else:
                    await asyncio.sleep(0)  # A plain function gives Ctrl-C no other chance.
            except UnjudgedError:
                raise
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise UnjudgedError("exception", "the judge was cancelled") from None
            except Exception as error:
                said = blank(one_line(f"{type(error).__name__}: {error}"))
                raise UnjudgedError("exception", said) from error
        return _verdict(answer)

    def _turn(self) -> asyncio.Semaphore:
        # A semaphore belongs to one loop. Several comparisons may run at once, each in its own.
        loop = asyncio.get_running_loop()
        return self._turns.setdefault(loop, asyncio.Semaphore(self.concurrency))


def llm_judge(model: str, **settings: Any) -> JudgeConfig:
    """Describe an LLM judge of an OpenAI-compatible endpoint.

    Args:
        model: what the endpoint calls the model.
        settings: further keys of a ``[judge]`` section of an arena.toml: ``base_url``,
            ``api_key_env``, ``kind``, ``prompt``, ``temperature``, ``max_usd`` and so on.

    Returns:
        What `compare` takes as a judge. Nothing is asked yet.

    Raises:
        ConfigError: a setting is unknown or has a wrong value.
    """
    return checked_keywords(JudgeConfig, {"model": model, **settings}, "llm_judge")


def qrels_judge() -> JudgeConfig:
    """Describe the judge that compares the DCG of the two lists by the data set's own grades."""
    return JudgeConfig(kind="qrels")


def function_judge(
    function: JudgeFunction, name: str, *, concurrency: int | None = None
) -> OwnJudge:
    """Make a judge of a function, under a name that stands for what it does.

    Args:
        function: ``(query, first, second)`` → ``"first"``, ``"second"``, ``"tie"`` or a `Verdict`;
            sync or async. It is called in a thread of arena's own; async ones share one event
            loop, so that a client serves several comparisons.
        name: what the log calls it. Its verdicts are kept under this name: give another one
            when the function changes, and it judges again.
        concurrency: how many calls may be under way at once; if absent, 16 of an async
            function, and one of a plain function. Several calls of a plain function run in
            threads, so it must be safe there.

    Returns:
        What `compare` takes as a judge.

    Raises:
        ConfigError: the name is none that a log can hold.
        UsageError: the function does not take three arguments.
    """
    if concurrency is None:
        concurrency = _CONCURRENCY if is_async(function) else 1
    concurrency = whole_number(concurrency, "concurrency")
    _check_arguments(function)
    checked_keywords(JudgeConfig, {"name": name, "model": "function"}, "function_judge")

    def ask(judge_input: JudgeInput) -> Any:
        return function(judge_input.query, judge_input.first, judge_input.second)

    return OwnJudge(
        _in_threads(ask) if concurrency > 1 and not is_async(function) else ask,
        name=name,
        fingerprint=content_hash("function", name),
        concurrency=concurrency,
    )


def judges_of(judge: JudgeLike | Sequence[JudgeLike], *, logged: bool) -> list[Any]:
    """Return each judge as a `JudgeConfig`, or as an `OwnJudge`.

    Args:
        judge: one judge, or a panel.
        logged: whether verdicts are kept, under fingerprints that must be stable.

    Raises:
        ConfigError: a section has a mistake.
        UsageError: something is no judge, or a log needs a name.
    """
    several = isinstance(judge, Sequence) and not isinstance(judge, str)
    given = list(judge) if several else [judge]  # type: ignore[arg-type]
    if not given:
        raise UsageError("judge: an empty list; give one judge, or several for a panel")
    return [_judge_of(one, logged=logged) for one in given]


def section_of(judge: JudgeConfig | OwnJudge) -> JudgeConfig:
    """Return the section of a judge; that of your own function has its name, and costs nothing."""
    if isinstance(judge, JudgeConfig):
        return judge
    section = {
        "name": judge.name,
        "model": judge.name,
        "gate": False,
        "concurrency": judge.concurrency,
        "price_per_1m_input_tokens": 0.0,
        "price_per_1m_output_tokens": 0.0,
    }
    return checked_keywords(JudgeConfig, section, "judge")


def _judge_of(given: Any, *, logged: bool) -> JudgeConfig | OwnJudge:
    if isinstance(given, JudgeConfig | OwnJudge):
        return given
    if isinstance(given, Mapping):
        return checked_keywords(JudgeConfig, given, "judge")
    if isinstance(given, Judge) and not isinstance(given, type):
        kind = cast("JudgeKind", getattr(given, "kind", "pairwise"))
        _check_object(given, kind)
        return OwnJudge(given.judge, name=given.name, fingerprint=given.fingerprint, kind=kind)
    if not callable(given):
        model = one_line(given, most=80) if isinstance(given, str) else "model"
        raise UsageError(
            f"judge: of type {type(given).__name__}; expected a function (query, first, second), "
            f'arena.llm_judge("{model}"), arena.qrels_judge(), or a dict as in [judge]'
        )
    if logged:
        raise UsageError(
            "judge: a log keeps verdicts under the judge's name, and this function has none that "
            'would tell when it changes; give judge=arena.function_judge(judge, "my-judge-v1")'
        )
    called = getattr(given, "__name__", type(given).__name__)
    return function_judge(given, called if called.isidentifier() else "judge")


def _check_object(judge: Judge, kind: object) -> None:
    """Check what the log stores of a judge."""
    for name in ("name", "fingerprint"):
        if not isinstance(value := getattr(judge, name), str):
            raise wrong_type(value, f"judge: {name}", "a string")
    if kind not in get_args(JudgeKind):
        listed = ", ".join(get_args(JudgeKind))
        raise UsageError(f"judge: kind is {kind!r}; expected one of {listed}")


def _in_threads(ask: Callable[[JudgeInput], Any]) -> Callable[[JudgeInput], Any]:
    """Return a function that calls another one in a thread for each call."""

    def attempt(judge_input: JudgeInput) -> tuple[Any, Exception | None]:
        try:
            return ask(judge_input), None
        except Exception as error:  # noqa: BLE001, a future cannot hold a StopIteration
            return None, error

    async def call(judge_input: JudgeInput) -> Any:
        result = in_thread(lambda: attempt(judge_input))
        answer, error = await asyncio.wrap_future(result)
        if error is not None:
            raise error
        return await settled(answer)

    return call


def _check_arguments(function: Callable[..., Any]) -> None:
    if not callable(function):
        raise UsageError(f"judge: of type {type(function).__name__}; expected a function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # written in C, say: it tells nothing of its arguments
    try:
        signature.bind("query", "first", "second")
    except TypeError as error:
        raise UsageError(
            f"judge: takes {signature}; expected (query, first, second): {error}"
        ) from None


def _verdict(answer: Any) -> Verdict:
    """Return the verdict in an answer.

    Raises:
        UnjudgedError: there is none.
    """
    if isinstance(answer, str) and answer in _SIDES:
        return Verdict(cast("Side", str(answer)))
    if isinstance(answer, Verdict) and answer.winner in _SIDES:
        if answer.probs is not None:
            _check_probs(answer.probs)
        return answer
    raise UnjudgedError("no_verdict", f"the judge returned {_short(answer)}; {_EXPECTED}")


def _check_probs(probs: Probs) -> None:
    shares = (probs.first, probs.second, probs.tie)
    sound = all(isinstance(p, float | int) and 0 <= p <= 1 for p in shares)
    if not sound or not math.isclose(math.fsum(shares), 1, abs_tol=1e-6):
        what = f"the judge returned the probabilities {_short(shares)}"
        raise UnjudgedError("no_verdict", f"{what}; expected three from 0 to 1 that sum to 1")


def _short(value: object) -> str:
    try:
        return one_line(repr(value), most=120)
    except Exception:  # noqa: BLE001, a repr is the user's code, too
        return f"something of type {type(value).__name__}"
