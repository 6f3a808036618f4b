"""The cap holds, whatever a server bills and however runs end: by the server's own count."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import LoopbackServer
from spenders import USAGES, Manners, Spender, run, run_at_once, write_capped

from arena.experiment.spending import spent_usd
from arena.store.log_lines import read_battles

MANNERS = st.builds(
    Manners,
    thinks=st.sampled_from([0, 0, 300, 3000, 8000]),
    usage=st.sampled_from(["honest", *USAGES]),
    limits=st.sampled_from(["kept", "ignored", "refused"]),
    dense=st.booleans(),
    lost=st.sampled_from([0.0, 0.0, 0.2]),
    failing=st.sampled_from([0.0, 0.1]),
    unreadable=st.sampled_from([0.0, 0.3]),
    seed=st.integers(1, 5),
)
KINDS = st.lists(st.sampled_from(["json", "letter", "pointwise"]), min_size=1, max_size=2)
RUNS = st.lists(
    st.tuples(
        st.none() | st.sampled_from([(1, 2), (2, 2), (1, 3), (3, 3)]),
        st.none() | st.integers(1, 12),
    ),
    min_size=1,
    max_size=4,
)


@given(MANNERS, KINDS, RUNS, st.floats(0.0005, 0.2), st.booleans())
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_no_server_bills_more_than_the_cap_and_one_call(
    manners: Manners,
    kinds: list[str],
    runs: list[tuple[tuple[int, int] | None, int | None]],
    cap_usd: float,
    by_option: bool,  # noqa: FBT001, drawn
) -> None:
    spender = Spender(manners)
    with tempfile.TemporaryDirectory() as folder, LoopbackServer(spender) as server:
        own = [None if by_option else cap_usd / len(kinds) for _ in kinds]
        config = write_capped(Path(folder), server.base_url, kinds, own)
        for shard, kill_at in runs:
            options = {"max_usd": cap_usd} if by_option else {}
            run(config, spender, kill_at=kill_at, shard=shard, **options)
        logs = config.parent / "runs" / "x"
        booked_usd = sum(spent_usd(logs).values())
        for log in logs.glob("battles*.jsonl"):
            list(read_battles(log))

    assert spender.billed_usd <= cap_usd + spender.dearest_usd + 1e-9
    assert booked_usd >= spender.billed_usd - 1e-9


def test_shards_at_the_same_time_hold_a_common_cap_at_their_first_calls(tmp_path: Path) -> None:
    spender = Spender(Manners(thinks=5000, limits="ignored", delay_s=0.8))
    with LoopbackServer(spender) as server:
        config = write_capped(tmp_path, server.base_url, ["json"], [0.006])
        run(config, spender, kill_at=None, limit=1, max_usd=0.0001)  # retrieves, and asks nothing
        run_at_once(config, [{"shard": (number, 4)} for number in range(1, 5)])

    assert spender.n_requests == 1  # it was likely cheap, and is dearer than a part, and the whole
