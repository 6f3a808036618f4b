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
        The log, and how many battles this part of the plan has, with those of earlier draws.

    Raises:
        LogError: another process writes this experiment's log.
        DataError: a log file is damaged; names file and line.
    """
    files = Folder(prepared.experiment.folder)
    battle_ids, n_planned = None, prepared.n_matchups * len(judges)
    if files.logs() or shard.name is not None:
        battle_ids, n_planned = planned_ids(prepared, judges, shard=shard)
    n_in_log = 0

    def count(battle: Battle) -> None:
        nonlocal n_in_log
        n_in_log += shard.holds(battle.id)
        if seen:
            seen(battle)

    log = BattleLog(files.path, shard=shard, planned=battle_ids, seen=count, replied=replied)
    # Battles of an earlier draw are in no plan, and count. Which these are is known only once the
    # log is open and stale battles have left it.
    if n_in_log and prepared.is_sparse:
        own = planned(prepared.matchups, prepared.lists, judges, shard=shard)
        n_planned = n_in_log + sum(battle_id not in log.battle_ids for battle_id, _, _ in own)
    if log.n_superseded:
        reporter.log(
            f"note: {log.n_superseded:,} battles of an earlier configuration were moved to "
            f"{files.superseded}"
        )
    return log, n_planned


def planned_ids(
    prepared: PreparedExperiment, judges: Sequence[Judge], *, shard: Shard = WHOLE
) -> tuple[IdSet, int]:
    """Return the ids of all battles that may be in the log, and how many a shard plays.

    Of a sparse plan all pairs may be in the log. Which pairs it draws depends on the models, and
    battles that an earlier draw has paid for are as good.
    """
    battle_ids, n_of_shard = IdSet(), 0
    for battle_id, _, _ in planned(prepared.all_matchups, prepared.lists, judges):
        battle_ids.add(battle_id)
        n_of_shard += shard.holds(battle_id)
    if prepared.is_sparse:
        own = planned(prepared.matchups, prepared.lists, judges, shard=shard)
        n_of_shard = sum(1 for _ in own)
    return battle_ids, n_of_shard
