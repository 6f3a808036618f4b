"""A cluster that fails: workers, scheduler and driver die; nothing is lost or paid for twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dask_workers import NEEDS_DASK, dask_process, free_port, two_workers
from experiments import QUIET, llm, write_experiment
from killing import named_verdict, names
from loopback import Answer, LoopbackServer
from programs import Program, start_arena
from replies import read_replies
from worker_killing import CONCURRENCY, RANKINGS, kill_workers

from arena.cluster.connect import (
    Cluster,
    check_workers,
    each_ended,
    workers_of,
)
from arena.cluster.judge import battle_on_cluster
from arena.cluster.read_logs import ClusterLogReader
from arena.cluster.worker import ShardTask, look
from arena.errors import ClusterError
from arena.experiment.battle_options import BattleOptions
from arena.store.log_lines import read_battles

pytestmark = [NEEDS_DASK, pytest.mark.xdist_group("cluster failures")]

FOUR = {model: RANKINGS[model] for model in "abcd"}
N_BATTLES = 72
HERE = os.getpid()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_workers(tmp_path_factory.mktemp("cache")) as two:
        yield two


@pytest.fixture
def address(cluster: Cluster) -> str:
    """The address of a scheduler with two workers."""
    cluster.client.wait_for_workers(2, timeout=60)
    return str(cluster.client.scheduler.address)


class Judge(LoopbackServer):
    """Answers ten calls at once, and those that come after them when they are let go."""

    def __init__(self) -> None:
        super().__init__(self._judge)
        self.later_s = 0.0  #: what a call takes that comes when the others were let go
        self._goes_on = threading.Event()

    def let_go(self) -> None:
        """Answer what is held back."""
        self._goes_on.set()

    def _judge(self, request: dict[str, Any], attempt: int) -> Answer:
        if self._goes_on.is_set():
            time.sleep(self.later_s)
        elif len(self.requests) > 10:
            self._goes_on.wait(60)
        return named_verdict(request, attempt)


def write(folder: Path, server: LoopbackServer) -> Path:
    judge = llm(server.base_url, f"concurrency = {CONCURRENCY}")
    return write_experiment(folder, judge=judge, rankings=FOUR)


def start(config: Path, where: str, *, own_group: bool = False) -> Program:
    environment = {"ARENA_CACHE": str(config.parent / "cache")}
    words = ("battle", config.name if own_group else config, "--cluster", where)
    return start_arena(*words, cwd=config.parent, env=environment, own_group=own_group)


def wait_until_held(server: Judge, process: Program) -> None:
    """Wait until there are calls that the judge holds back."""
    until = time.monotonic() + 60
    while len(server.requests) < 14 and process.poll() is None:
        assert time.monotonic() < until, f"{len(server.requests)} requests in 60 s"
        time.sleep(0.005)


def wait_for(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def battle_ids(config: Path) -> list[str]:
    files = (config.parent / "runs" / "x").glob("battles*.jsonl")
    return [battle.id for path in files for battle in read_battles(path)]


def n_paid(config: Path) -> int:
    files = (config.parent / "runs" / "x").glob("replies*.jsonl")
    return sum(bool(reply.id) for path in files for reply in read_replies(path))


def check_whole(config: Path, server: LoopbackServer, n_repeated: int) -> None:
    """Each battle is in the logs once, and only calls that were on the wire were paid again."""
    ids = battle_ids(config)
    assert len(ids) == len(set(ids)) == N_BATTLES
    assert len(set(names(server.requests))) == N_BATTLES
    assert len(server.requests) <= N_BATTLES + n_repeated


def check_lines(stderr: str) -> None:
    assert "Traceback" not in stderr
    assert "distributed." not in stderr


def test_workers_killed_at_random_moments_lose_and_repeat_no_verdict(
    tmp_path: Path, cluster: Cluster
) -> None:
    toll = kill_workers(tmp_path, cluster, 3, seed=1)

    assert toll.kills == 3
    assert toll.logged == toll.distinct == toll.n_battles
    assert toll.asked <= toll.most_asked


def test_a_killed_driver_leaves_tasks_that_stop_and_the_next_run_asks_nothing_again(
    tmp_path: Path, cluster: Cluster, address: str
) -> None:
    with Judge() as server:
        config = write(tmp_path, server)
        server.later_s = 0.5  # so that a task that looks each 0.1 s begins few calls more
        with start(config, address) as killed:
            wait_until_held(server, killed)
            killed.send_signal(signal.SIGKILL)
        wait_for(lambda: not tasks_of(cluster))
        server.let_go()
        wait_for(lambda: not server.in_flight and not running_on(cluster))
        n_asked = len(server.requests)

        with start(config, address) as process:
            _, stderr = process.communicate()

        assert n_asked < N_BATTLES
        assert process.returncode == 0, stderr
        # The calls under way were finished and kept.
        check_whole(config, server, n_repeated=0)


def tasks_of(cluster: Cluster) -> list[str]:
    """Return the tasks that somebody wants, as the scheduler knows them."""
    return cluster.client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))


def running_on(cluster: Cluster) -> int:
    """Return how many tasks the workers run, also those that nobody wants any more."""
    threads = cluster.client.run(lambda dask_worker: len(dask_worker.active_threads))
    return sum(threads.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_finishes_the_calls_under_way_on_all_workers(
    tmp_path: Path, address: str, number: signal.Signals
) -> None:
    with Judge() as server:
        config = write(tmp_path, server)
        server.later_s = 0.3
        with start(config, address) as process:
            wait_until_held(server, process)
            process.send_signal(number)
            stderr = process.read_until("stopping: finishing the calls under way; press Ctrl-C")
            server.let_go()
            printed, after = process.communicate()
        n_asked = len(server.requests)

    assert process.returncode == 1
    check_lines(stderr + after)
    assert f"go on with: arena battle {config} --cluster {address}" in after.splitlines()[-1]
    assert f"{N_BATTLES} battles" not in printed
    assert "Elo" in printed
    assert n_paid(config) == n_asked == len(server.requests)


def test_ctrl_c_in_a_terminal_reaches_no_worker_and_the_same_command_goes_on(
    tmp_path: Path, address: str
) -> None:
    with Judge() as server:
        config = write(tmp_path, server)
        server.later_s = 0.3
        with start(config, "local:1", own_group=True) as process:
            wait_until_held(server, process)
            process.interrupt_group()
            stderr = process.read_until("stopping: finishing the calls under way")
            server.let_go()
            stderr += process.communicate()[1]
        assert n_paid(config) == len(server.requests) < N_BATTLES
        server.later_s = 0.0
        with start(config, address) as again:
            printed, after = again.communicate()

        check_whole(config, server, n_repeated=0)
    assert (process.returncode, again.returncode) == (1, 0)
    check_lines(stderr + after)
    assert "cluster: 1 worker; dashboard: http" in stderr
    assert stderr.splitlines()[-1].startswith("error: stopped at")
    assert f"{N_BATTLES} battles" in printed


def test_a_lost_scheduler_is_one_line_and_the_same_command_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    port = free_port()
    where = f"tcp://127.0.0.1:{port}"
    with Judge() as server, ExitStack() as stack:
        config = write(tmp_path, server)
        first = stack.enter_context(dask_process("scheduler", port))
        worker = stack.enter_context(dask_process("worker", port))
        with start(config, where) as process:
            wait_until_held(server, process)
            first.kill()
            first.join()
            time.sleep(0.2)  # the worker hears of it, and looks each 0.1 s
            server.later_s = 1.0
            server.let_go()
            _, stderr = process.communicate()
        worker.join(60)
        n_asked, n_kept = len(server.requests), n_paid(config)
        assert worker.exitcode == 0, "a worker stops by itself"
        (begun,) = config.parent.glob("runs/x/battles-*of2.jsonl")
        n_begun = len(list(read_battles(begun)))
        server.later_s = 0.0

        stack.enter_context(dask_process("scheduler", port))
        stack.enter_context(dask_process("worker", port))
        with start(config, where) as again:
            _, after = again.communicate()

        assert process.returncode == 1
        check_lines(stderr)
        (line,) = [line for line in stderr.splitlines() if line.startswith("error:")]
        assert "the connection to the scheduler is lost; nothing judged is lost" in line
        assert again.returncode == 0, after
        check_whole(config, server, n_repeated=n_asked - n_kept)
        assert 0 < n_begun < len(list(read_battles(begun))), "it stopped amid the shard"


def dies(task: ShardTask) -> None:
    """Kill the worker, as too little memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_shard_that_always_ends_its_worker_is_one_line(
    tmp_path: Path, cluster: Cluster, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.cluster.judge.play_shard", dies)
    cluster.client.run_on_scheduler(_allow, 1)
    with LoopbackServer(named_verdict) as server:
        config = write(tmp_path, server)

        with pytest.raises(ClusterError, match=r"shard \dof2 ended 2 workers in turn") as caught:
            battle_on_cluster(config, QUIET, BattleOptions(cluster=address), cluster)

    assert "\n" not in str(caught.value)
    assert "the same command goes on" in str(caught.value)
    assert server.requests == []
    cluster.client.run_on_scheduler(_allow, 5)


def _allow(n_failures: int, dask_scheduler: Any = None) -> None:
    dask_scheduler.allowed_failures = n_failures


def _another(what: str, pid: int) -> dict[str, str]:
    return {} if os.getpid() == pid else {what: "0.1"}


def _without_folder(source: str, pid: int) -> dict[str, str]:
    return look(source if os.getpid() == pid else f"{source}.elsewhere")


@pytest.mark.parametrize("what", ["arena", "Python", "Dask"])
@pytest.mark.usefixtures("address")
def test_a_worker_with_another_version_is_named(cluster: Cluster, what: str) -> None:
    with pytest.raises(ClusterError, match=rf"worker tcp://\S+ has {what} 0\.1, and here it is"):
        check_workers(cluster, partial(_another, what, HERE))


@pytest.mark.usefixtures("address")
def test_a_worker_that_does_not_see_the_folder_is_named(tmp_path: Path, cluster: Cluster) -> None:
    config = write_experiment(tmp_path)

    with pytest.raises(ClusterError, match=r"worker tcp://\S+: sees no such file"):
        check_workers(cluster, partial(_without_folder, str(config), HERE))


def test_the_logs_of_a_worker_that_dies_are_read_again(tmp_path: Path, cluster: Cluster) -> None:
    cluster.client.wait_for_workers(2, timeout=60)
    row = {"model_a": "x", "model_b": "y", "winner": "model_a"}
    files = [tmp_path / f"{number}.jsonl" for number in range(6)]
    for number, file in enumerate(files):
        file.write_text((json.dumps({**row, "query_id": f"q{number}"}) + "\n") * (number + 1))

    logs = ClusterLogReader(cluster, QUIET)(files, {}, with_ids=True)
    read = [next(logs)]
    # Four logs are with the workers, most of them read: what was read is lost with a worker.
    os.kill(next(iter(cluster.client.run(os.getpid).values())), signal.SIGKILL)
    read += logs

    assert [len(log) for log in read] == [1, 2, 3, 4, 5, 6]
    assert [log.words["query_id"] for log in read] == [(f"q{number}",) for number in range(6)]


@pytest.mark.usefixtures("address")
def test_a_stopped_worker_is_named_after_a_bounded_wait(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import as_completed

    (worker, pid), (other, _) = sorted(cluster.client.run(os.getpid).items())
    os.kill(pid, signal.SIGSTOP)
    try:
        with monkeypatch.context() as brief:
            brief.setattr("arena.cluster.connect._ANSWER_S", 0.1)
            with pytest.raises(ClusterError, match=rf"worker {worker} does not answer within"):
                check_workers(cluster, dict)
        monkeypatch.setattr("arena.cluster.connect._SILENT_S", 0.3)
        monkeypatch.setattr("arena.cluster.connect._NOBODY_S", 3)  # and a look each 50 ms
        lines: list[str] = []
        task = cluster.client.submit(time.sleep, 0.7, workers=[other])
        list(each_ended(cluster.client, as_completed([task]), "", log=lines.append))
        assert sum(f"worker {worker} is silent" in line for line in lines) == 1
    finally:
        os.kill(pid, signal.SIGCONT)

    check_workers(cluster, dict)


@pytest.mark.usefixtures("address")
def test_tasks_that_no_worker_can_run_end_after_a_bounded_wait(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import as_completed

    monkeypatch.setattr("arena.cluster.connect._NOBODY_S", 0.3)
    one, other = (cluster.client.submit(abs, -n, resources={"GPU": 1}) for n in (1, 2))
    tasks = as_completed([one, other, cluster.client.submit(abs, -3)])

    ended = each_ended(cluster.client, tasks, "go on", resource="GPU")

    assert next(ended).result() == 3
    with pytest.raises(ClusterError, match=r"no worker with the resource GPU was there.*go on"):
        next(ended)


def _set_key() -> None:
    os.environ["A_SHARDS_KEY"] = "sk-0"


def test_a_shard_that_fails_on_one_worker_is_played_by_another(
    tmp_path: Path, cluster: Cluster, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    reporter = SimpleNamespace(log=lines.append, stage=QUIET.stage)
    monkeypatch.setenv("A_SHARDS_KEY", "sk-0")
    broken, sound = sorted(workers_of(cluster.client))
    cluster.client.run(_set_key, workers=[sound])
    # As if the worker without a key had come after the others were checked.
    monkeypatch.setattr("arena.cluster.judge.check_workers", lambda *_: None)
    with LoopbackServer(named_verdict) as server:
        keys = f'concurrency = {CONCURRENCY}\napi_key_env = "A_SHARDS_KEY"'
        config = write_experiment(tmp_path, judge=llm(server.base_url, keys), rankings=FOUR)
        options = BattleOptions(cluster=address)
        battle_on_cluster(config, reporter, options, cluster).check()

        check_whole(config, server, n_repeated=0)
    notes = [line for line in lines if line.startswith("note: shard")]
    assert 1 <= len(notes) <= 6
    assert all(f"on {broken}: A_SHARDS_KEY is not set" in note for note in notes)
