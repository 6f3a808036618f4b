"""An experiment with its data, its runs and its prompts, ready for battle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from arena.config import Config
from arena.experiment.material import Experiment, Material
from arena.experiment.plan import count_matchups, plan_matchups
from arena.experiment.play import Lists
from arena.judging.judge import Judge
from arena.judging.judges import prompt_name
from arena.judging.prompt import Prompt, load_prompt
from arena.records import Matchup, Run


@dataclass(frozen=True, slots=True)
class Prepared:
    """An experiment, ready for battle."""

    experiment: Experiment
    material: Material
    runs: Sequence[Run]
    lists: Lists
    prompts: Mapping[str, Prompt | None]  #: judge → its template; None for one that is no LLM
    own_judges: Mapping[str, Judge] = field(default_factory=dict)
    """Judges that no arena.toml describes, such as functions of the user's, by name."""

    @property
    def config(self) -> Config:
        """The experiment's arena.toml."""
        return self.experiment.config

    @property
    def matchups(self) -> Iterator[Matchup]:
        """The whole plan, lazily; every judge plays it."""
        return plan_matchups(
            [model.name for model in self.config.models],
            self.material.queries,
            orders=self.config.experiment.orders,
            seed=self.config.experiment.seed,
        )

    @property
    def n_matchups(self) -> int:
        """How many matchups the plan has."""
        return count_matchups(
            len(self.config.models), self.material.queries, orders=self.config.experiment.orders
        )


def prepare(
    experiment: Experiment,
    material: Material,
    runs: Sequence[Run],
    prompts: Mapping[str, Prompt | None],
) -> Prepared:
    """Put together what battles need."""
    lists = Lists(material.datasets, runs, top_k=experiment.config.experiment.top_k)
    return Prepared(experiment, material, runs, lists, prompts)


def load_prompts(experiment: Experiment) -> dict[str, Prompt | None]:
    """Each judge's template, by the judge's name.

    Raises:
        ConfigError: a template is missing, or not as it should be.
    """
    folder = experiment.source.parent
    return {
        judge.log_name: None
        if judge.kind == "qrels"
        else load_prompt(prompt_name(judge), folder=folder)
        for judge in experiment.config.judges
    }
