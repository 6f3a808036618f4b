"""Kill `arena battle` at random moments, resume it, and count what was lost or paid for twice.

::

    python benchmarks/kill.py                # 100 kills, 10 to an experiment
    python benchmarks/kill.py --kills 1000

Each experiment has 120 battles and 72 calls, 8 at once, against a judge on loopback that takes
10 to 20 ms. The process gets SIGKILL after a random number of requests and up to 20 ms; at last
it may end, and its log is held against that of a run which nobody disturbed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from killing import Toll, kill_and_resume

KILLS_EACH = 10


def main() -> int:
    """Print the counts; the exit status is 1 where anything was lost or paid for twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="in steps of 10")
    toll = Toll()
    for seed in range(parser.parse_args().kills // KILLS_EACH):
        with tempfile.TemporaryDirectory() as folder:
            toll += kill_and_resume(Path(folder), KILLS_EACH, seed=seed)
        print(f"after {toll.kills} kills: {toll}", file=sys.stderr)
    print(
        f"{toll.kills} kills, {toll.kept:,} verdicts in the logs then\n"
        f"{toll.lost} of them lost, {toll.asked_again} asked for again\n"
        f"{toll.needed} requests needed, {toll.in_flight} in flight at the kills, "
        f"{toll.asked} sent\n"
        f"{toll.unlike} logs unlike an undisturbed run's"
    )
    return int(bool(toll.lost or toll.asked_again or toll.unlike))


if __name__ == "__main__":
    sys.exit(main())
