"""Stale battles: those in the log that the present configuration would not play."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arena.experiment.experiment import PreparedExperiment
from arena.experiment.pending import planned
from arena.judging.judge import Judge
from arena.progress import Reporter
from arena.records import Battle
from arena.store.battle_log import BattleLog
from arena.store.folder import Folder
from arena.store.id_index import IdSet
from arena.store.log_lines import ReplyPlace
from arena.store.shards import WHOLE, Shard


def open_log(  # noqa: PLR0913, the experiment, and who is told what is in its log
    prepared: PreparedExperiment,
    judges: Sequence[Judge],
    reporter: Reporter,
    *,
    shard: Shard = WHOLE,
    seen: Callable[[Battle], None] | None = None,
    replied: Callable[[ReplyPlace], None] | None = None,
) -> tuple[BattleLog, int]:
    """Open the log, and move battles out of it that this configuration would not play.

    A changed prompt, judge, corpus or list makes other battles of them, and rating both kinds
    together would mix two experiments. Their replies stay, so changing back costs nothing.

    Args:
        prepared: the experiment.
        judges: all that play it.
        reporter: told how many battles were moved, and where.
        shard: the part of the plan to write.
        seen: as for `BattleLog`.
        replied: as for `BattleLog`.

    Returns:
        The log, and how many battles this part of the plan has.

    Raises:
        LogError: another process writes this experiment's log.
        DataError: a log file is damaged; names file and line.
    """
    files = Folder(prepared.experiment.folder)
    battle_ids, n_planned = None, prepared.n_matchups * len(judges)
    if files.logs() or shard.name is not None:
        battle_ids, n_planned = planned_ids(prepared, judges, shard=shard)
    log = BattleLog(files.path, shard=shard, planned=battle_ids, seen=seen, replied=replied)
    if log.n_superseded:
        reporter.say(
            f"note: {log.n_superseded:,} battles of an earlier configuration were moved to "
            f"{files.superseded}"
        )
    return log, n_planned


def planned_ids(
    prepared: PreparedExperiment, judges: Sequence[Judge], *, shard: Shard = WHOLE
) -> tuple[IdSet, int]:
    """Return the ids of all planned battles, and how many of them a shard plays."""
    battle_ids, n_of_shard = IdSet(), 0
    for battle_id, _, _ in planned(prepared.matchups, prepared.lists, judges):
        battle_ids.add(battle_id)
        n_of_shard += shard.holds(battle_id)
    return battle_ids, n_of_shard
