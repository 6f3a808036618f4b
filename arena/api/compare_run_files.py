"""Two TREC run files, judged as an arena.toml says: for `arena compare OLD NEW arena.toml`."""

from __future__ import annotations

from pathlib import Path

from arena.api.compare import compare
from arena.api.data import load_dataset
from arena.api.runs import read_run
from arena.config import load_config
from arena.errors import UsageError
from arena.files import safe_filename


def judge_run_files(
    old: Path, new: Path, config: Path, *, max_usd: float | None = None, progress: bool = False
) -> tuple[str, str, Path]:
    """Compare two run files on the data set of an arena.toml by its judges.

    The log is kept beside the arena.toml, so that the same call pays for nothing twice. The
    models of the arena.toml play no part.

    Returns:
        The names of both models, and the folder of the log.

    Raises:
        ConfigError: the arena.toml has a mistake.
        DataError: a run file is malformed, or about other queries or documents.
        UsageError: the arena.toml has several data sets, or a run file is missing.
        ApiError, GateError, LogError: as `arena.compare`.
    """
    for path in (old, new):
        if not path.is_file():
            raise UsageError(f"{path}: no such run file; expected a TREC run")
    settings = load_config(config)
    if len(settings.datasets) != 1:
        names = ", ".join(dataset.name for dataset in settings.datasets)
        raise UsageError(f"{config}: {names}; a run file is about one data set")
    a, b = old.stem, new.stem
    if a == b:
        a, b = str(old.with_suffix("")), str(new.with_suffix(""))
    data = load_dataset(settings.datasets[0])
    folder = config.parent / "runs" / safe_filename(f"{settings.experiment.name}-{a}-{b}")
    compare(
        [read_run(old, data, name=a), read_run(new, data, name=b)],
        judge=settings.judges,
        queries=settings.experiment.queries,
        seed=settings.experiment.seed,
        top_k=settings.experiment.top_k,
        orders=settings.experiment.orders,
        log=folder,
        max_usd=max_usd,
        progress=progress,
    )
    return a, b, folder
