"""The folder of an experiment: the only module that knows what its files are called.

A new folder holds these files, where ``-2of8`` stands in the names of a shard's log alone::

    arena.toml  manifest.json               what was run
    battles.jsonl  battles-2of8.jsonl       verdicts; failures*.jsonl: matchups without one
    replies.jsonl  grades.jsonl             what judges wrote, and what it cost
    spending.json                           the most that a run under way may have spent
    batches.jsonl  batches-2of8.jsonl       each step of each job at a provider
    batches/                                input files of these jobs
    labels.jsonl                            what people say
    superseded.jsonl                        battles of an earlier configuration
    learned.json                            what endpoints have taught
    leaderboard.json  leaderboard.csv       as of the last rating
    retrieval/<dataset>/<model>.trec .json  a run, and what it took
    retrieval/<dataset>/metrics.json  named_metrics.json  per_query.json  shown.jsonl
    shared.jsonl                            what the workers of a cluster need to judge
    report/                                 the site
    rejudged/<name>/                        the same battles by another judge: such a folder again
    drift/<number>/                         old battles by the same judge, asked once more
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arena.files import safe_filename
from arena.store.shards import WHOLE, Shard

_LOG_FILES: Final = {
    "battles": ".jsonl",
    "replies": ".jsonl",
    "failures": ".jsonl",
    "grades": ".jsonl",
    "spending": ".json",
    "batches": ".jsonl",
}
"""The beginning of a name → its end; between them stands the suffix of the log."""

_PAID: Final = ("replies", "grades", "spending")
"""Files that tell what was spent."""


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of one log: that of the whole plan, or that of a shard."""

    folder: Path
    suffix: str = ""  #: ``-2of8`` for a shard; files that were renamed by hand may have any other

    @property
    def battles(self) -> Path:
        """Return where verdicts are, in plan order."""
        return self._file("battles")

    @property
    def replies(self) -> Path:
        """Return where everything that judges wrote is, in the order in which it came."""
        return self._file("replies")

    @property
    def failures(self) -> Path:
        """Return where matchups without a verdict are."""
        return self._file("failures")

    @property
    def grades(self) -> Path:
        """Return where the grades of single documents are."""
        return self._file("grades")

    @property
    def claims(self) -> Path:
        """Return where a run under way writes the most that it may have spent."""
        return self._file("spending")

    @property
    def ledger(self) -> Path:
        """Return where the steps of its jobs at a provider are."""
        return self._file("batches")

    @property
    def lock(self) -> Path:
        """Return the file that the one process that writes this log locks."""
        return self.folder / f".battles{self.suffix}.lock"

    def _file(self, kind: str) -> Path:
        return self.folder / f"{kind}{self.suffix}{_LOG_FILES[kind]}"


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of an experiment; it may be missing, and so may each of its files."""

    path: Path

    def log(self, shard: Shard = WHOLE) -> LogFiles:
        """Return the files of the log that a shard writes."""
        return LogFiles(self.path, shard.suffix)

    def logs(self) -> list[LogFiles]:
        """Return the logs that hold battles, or a file for them."""
        return self._logs(("battles",))

    def paid_logs(self) -> list[LogFiles]:
        """Return the logs that tell what was spent."""
        return self._logs(_PAID)

    def ledger_logs(self) -> list[LogFiles]:
        """Return the logs that have jobs at a provider."""
        return self._logs(("batches",))

    def all_battles(self) -> list[Path]:
        """Return the files of all logs that hold battles, by name."""
        return self._all("battles")

    def all_replies(self) -> list[Path]:
        """Return the files of all logs that hold replies, by name."""
        return self._all("replies")

    def all_failures(self) -> list[Path]:
        """Return the files of all logs that hold failures, by name."""
        return self._all("failures")

    def all_grades(self) -> list[Path]:
        """Return the files of all logs that hold grades, by name."""
        return self._all("grades")

    @property
    def is_experiment(self) -> bool:
        """Return whether `arena battle` has begun to write here."""
        return self.manifest.is_file()

    @property
    def manifest(self) -> Path:
        """Return where it stands what was run, and how judges did in their gate."""
        return self.path / "manifest.json"

    @property
    def config(self) -> Path:
        """Return where the copy of the arena.toml is."""
        return self.path / "arena.toml"

    @property
    def superseded(self) -> Path:
        """Return where battles of earlier configurations are moved to."""
        return self.path / "superseded.jsonl"

    @property
    def superseded_lock(self) -> Path:
        """Return the file that the process that moves such battles locks."""
        return self.path / ".superseded.lock"

    @property
    def labels(self) -> Path:
        """Return where it stands what people say of documents and battles."""
        return self.path / "labels.jsonl"

    @property
    def labels_lock(self) -> Path:
        """Return the file that a process locks while it writes labels."""
        return self.path / ".labels.lock"

    @property
    def label_claims(self) -> Path:
        """Return where it stands which items are before whom right now."""
        return self.path / ".labels.claims.json"

    @property
    def turn_lock(self) -> Path:
        """Return the file that a shard locks while only one of its calls may be under way."""
        return self.path / ".alone.lock"

    @property
    def learned(self) -> Path:
        """Return where it is kept what endpoints have taught."""
        return self.path / "learned.json"

    def batch_input(self, job: str) -> Path:
        """Return where the input file of a batch job is until the job is collected."""
        return self.path / "batches" / f"{job}.jsonl"

    @property
    def leaderboard(self) -> Path:
        """Return where the last leaderboard is, with all that is known."""
        return self.path / "leaderboard.json"

    @property
    def leaderboard_csv(self) -> Path:
        """Return where the last leaderboard is, as a table."""
        return self.path / "leaderboard.csv"

    @property
    def report(self) -> Path:
        """Return the folder of the site."""
        return self.path / "report"

    def rejudged(self, name: str) -> Path:
        """Return the folder of the same battles by another judge."""
        return self.path / "rejudged" / safe_filename(name)

    @property
    def origin(self) -> Path | None:
        """Return the folder whose battles are judged again in this one; None in any other."""
        above = self.path.resolve().parent
        is_rejudged = above.name == "rejudged" and Folder(above.parent).is_experiment
        return above.parent if is_rejudged else None

    def drift_check(self, number: int) -> Path:
        """Return the folder in which old battles were judged once more, counted from 1."""
        return self.path / "drift" / str(number)

    @property
    def drift_matchups(self) -> Path:
        """Return where the fixed set of matchups is that such checks judge."""
        return self.path / "drift" / "matchups.json"

    def drift_checks(self) -> list[Path]:
        """Return the folders of all such checks, the first one first."""
        numbers = [int(p.name) for p in self.path.glob("drift/*") if p.name.isdecimal()]
        return [self.drift_check(number) for number in sorted(numbers)]

    def run(self, dataset: str, model: str) -> Path:
        """Return where a model's run on a data set is, as a TREC file."""
        return self._retrieval(dataset) / f"{safe_filename(model)}.trec"

    def run_stats(self, dataset: str, model: str) -> Path:
        """Return where it stands what that run took."""
        return self._retrieval(dataset) / f"{safe_filename(model)}.json"

    def metrics(self, dataset: str) -> Path:
        """Return where the metrics of all runs on a data set are."""
        return self._retrieval(dataset) / "metrics.json"

    def named_metrics(self, dataset: str) -> Path:
        """Return where the metrics that arena.toml names are, query by query."""
        return self._retrieval(dataset) / "named_metrics.json"

    def per_query(self, dataset: str) -> Path:
        """Return where the figures of each list that judges are shown are."""
        return self._retrieval(dataset) / "per_query.json"

    def shown(self, dataset: str) -> Path:
        """Return where the texts that judges are shown are."""
        return self._retrieval(dataset) / "shown.jsonl"

    @property
    def shared(self) -> Path:
        """Return where it is what all workers of a cluster need of the data sets."""
        return self.path / "shared.jsonl"

    def rated(self) -> list[Path]:
        """Return the files that a leaderboard is made of, as far as they are there."""
        return [
            *self.all_battles(),
            *self.all_failures(),
            *filter(Path.is_file, [self.manifest, self.labels]),
            *self.path.glob("retrieval/*/*.json"),
        ]

    def published(self) -> list[Path]:
        """Return the files that a site is made of, as far as they are there, by name."""
        single = [self.manifest, self.config, self.leaderboard]
        files = [*self.rated(), *self.all_replies(), *single]
        files += self.path.glob("retrieval/*/shown.jsonl")
        return sorted({file for file in files if file.is_file()})

    def _retrieval(self, dataset: str) -> Path:
        return self.path / "retrieval" / safe_filename(dataset)

    def _all(self, kind: str) -> list[Path]:
        return sorted(self.path.glob(f"{kind}*{_LOG_FILES[kind]}"))

    def _logs(self, kinds: tuple[str, ...]) -> list[LogFiles]:
        suffixes = {
            path.name.removeprefix(kind).removesuffix(_LOG_FILES[kind])
            for kind in kinds
            for path in self._all(kind)
        }
        return [LogFiles(self.path, suffix) for suffix in sorted(suffixes)]


def run_template(model: str) -> str:
    """Return the path of a model's runs from the folder, with ``{dataset}`` as in arena.toml."""
    return f"retrieval/{{dataset}}/{safe_filename(model)}.trec"


def verdict_cache(cache: Path) -> Path:
    """Return where, in the folder of what may be deleted, all experiments keep their replies."""
    return cache / "verdicts.sqlite"
