"""Stale battles: those in the log that the present configuration would not play."""

from __future__ import annotations

from collections.abc import Sequence

from arena.experiment.experiment import PreparedExperiment
from arena.experiment.pending import planned
from arena.judging.judge import Judge
from arena.progress import Reporter
from arena.store.folder import Folder
from arena.store.id_index import IdSet
from arena.store.shards import WHOLE, Shard
from arena.store.superseded import set_aside


def move_stale_battles(
    prepared: PreparedExperiment,
    judges: Sequence[Judge],
    reporter: Reporter,
    *,
    shard: Shard = WHOLE,
) -> int:
    """Take battles out of the log that this configuration would not play.

    A changed prompt, judge, corpus or list makes other battles of them, and rating both kinds
    together would mix two experiments. Their replies stay, so changing back costs nothing.

    Args:
        prepared: the experiment.
        judges: all that play it.
        reporter: told how many battles were moved, and where.
        shard: the part of the plan to count.

    Returns:
        How many battles this part of the plan has.

    Raises:
        LogError: another process writes this experiment's log.
    """
    files = Folder(prepared.experiment.folder)
    has_log = bool(files.logs())
    if not has_log and shard.name is None:
        return prepared.n_matchups * len(judges)
    battle_ids, n_of_shard = IdSet(), 0
    for battle_id, _, _ in planned(prepared.matchups, prepared.lists, judges):
        battle_ids.add(battle_id)
        n_of_shard += shard.holds(battle_id)
    if has_log and (n_moved := set_aside(files.path, battle_ids)):
        reporter.say(
            f"note: {n_moved:,} battles of an earlier configuration were moved to "
            f"{files.superseded}"
        )
    return n_of_shard
