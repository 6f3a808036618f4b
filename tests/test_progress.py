"""Progress: what a night's log file shows."""

from __future__ import annotations

from arena.progress import Plain
from arena.terminal import dollars, duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run_stage(*updates: tuple[float, int, str], total: int) -> list[str]:
    lines: list[str] = []
    clock = Clock()
    with Plain(lines.append, clock=clock).stage("battles", total) as stage:
        for after, done, detail in updates:
            clock.now += after
            stage.update(done, detail)
    return lines


def test_a_long_stage_writes_a_line_now_and_then_and_one_at_the_end() -> None:
    updates = [(1.0, done, "") for done in range(1, 31)]

    lines = run_stage(*updates, total=30)

    assert len(lines) == 3
    assert lines[-1] == "battles: 30/30, 0:30"


def test_a_line_says_rate_time_left_and_detail() -> None:
    lines = run_stage((0, 0, ""), (10, 50, "$0.25, 1 failed"), total=100)

    assert lines == ["battles: 50/100, 5.0/s, 0:10 left, $0.25, 1 failed"]


def test_battles_found_done_on_resume_do_not_count_into_the_rate() -> None:
    lines = run_stage((0, 900, ""), (10, 950, ""), total=1000)

    assert lines == ["battles: 950/1,000, 5.0/s, 0:10 left"]


def test_a_stage_cut_short_says_where_it_ended() -> None:
    lines = run_stage((0, 0, ""), (2, 7, ""), total=10)

    assert lines == ["battles: 7/10, 3.5/s, 0:01 left"]


def test_durations_read_as_clocks() -> None:
    assert [duration(s) for s in (0, 95, 7322)] == ["0:00", "1:35", "2:02:02"]


def test_small_sums_are_shown_to_a_hundredth_of_a_cent() -> None:
    shown = [dollars(amount) for amount in (0, 0.0123, 0.0999, 0.1, 0.5, 1234.5)]

    assert shown == ["$0.00", "$0.0123", "$0.0999", "$0.10", "$0.50", "$1,234.50"]
