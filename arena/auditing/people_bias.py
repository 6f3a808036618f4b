"""Measure which models, and which kinds of model, the judge favours more than people do."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from arena.auditing.agreement import by_side
from arena.auditing.audit_input import AuditInput
from arena.auditing.estimates import LEVEL, Floats, clustered_mean, coefficient, sums_by_cluster
from arena.auditing.people import LabelledRows
from arena.auditing.records import AuditMetric, Estimate, Subgroup, missing_metric
from arena.rating.comparisons import Ints
from arena.rating.people.document_grades import (
    GradedDocuments,
    document_weights,
    grade_rectifiers,
    graded_documents,
)
from arena.rating.people.label_estimates import degrees_of_freedom, meat

_MODEL = "model_bias", "most biased for or against one model"
_LEXICAL = "lexical_bias", "favours lexical models more than people do"
_FAMILY = "family_bias", "favours models of its own family more than people do"
_LENGTH = "length_bias", "favours long lists more than people do"

_FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("openai", "gpt", "chatgpt", "o1", "o3", "o4"),
    "google": ("google", "gemini", "gemma", "embeddinggemma"),
    "mistral": ("mistral", "mixtral", "ministral", "magistral", "codestral"),
    "qwen": ("qwen", "qwq"),
    "meta": ("meta", "llama"),
    "cohere": ("cohere",),
    "voyage": ("voyage",),
    "jina": ("jina", "jinaai"),
    "nvidia": ("nemotron", "nemoretriever"),
    "anthropic": ("anthropic", "claude"),
    "deepseek": ("deepseek",),
}
"""Maker → words of its models. Hosts of many makers' models, such as deepinfra, are no makers."""

_GENERIC: Final = frozenset({"openai", "cohere", "jina", "mistral", "voyage", "gemini"})
"""Providers that are makers, unless another base_url is given."""


class Bias(Protocol):
    """Judge minus people, from labels of one unit."""

    @property
    def models(self) -> Sequence[str]:
        """Return the models that labels are about."""

    @property
    def of(self) -> str:
        """Return what is counted."""

    def favour(
        self, group: Collection[str], others: Collection[str], *, level: float = LEVEL
    ) -> Estimate | None:
        """Return how much more the judge favours a group over the rest than people do."""

    def told(self, value: float, who: str) -> str:
        """Return a bias as a sentence."""


@dataclass(frozen=True, slots=True)
class BattleBias:
    """The judge's win rate minus people's on the same battles."""

    rows: LabelledRows
    of = "labelled battles"

    @property
    def models(self) -> Sequence[str]:
        """Return the models of labelled battles."""
        battles = self.rows.battles
        codes = np.unique(np.concatenate([battles.model_a, battles.model_b]))
        return [battles.models[code] for code in codes]

    @property
    def apart(self) -> Floats:
        """Return the judge's score of the list shown first minus people's, (n,)."""
        apart: Floats = (1 + self.rows.judge) / 2 - self.rows.people
        return apart

    def favour(
        self, group: Collection[str], others: Collection[str], *, level: float = LEVEL
    ) -> Estimate | None:
        """Return the group's win rate against the rest by the judge, minus that by people."""
        battles = self.rows.battles
        in_group, in_rest = (
            np.array([model in names for model in battles.models]) for names in (group, others)
        )
        home = in_group[battles.model_a] & in_rest[battles.model_b]
        away = in_group[battles.model_b] & in_rest[battles.model_a]
        met = home | away
        value = np.where(home, self.apart, -self.apart)[met]
        return clustered_mean(value, battles.query[met], self.rows.weight[met], level=level)

    def told(self, value: float, who: str) -> str:
        """Return how many battles more or fewer the judge lets somebody win."""
        more = "more" if value >= 0 else "fewer"
        return f"{who}: the judge gives {abs(100 * value):.0f} of 100 battles {more} than people do"


@dataclass(frozen=True, slots=True)
class GradeBias:
    """The mean DCG of lists by the judge's grades minus that by people's."""

    models: Sequence[str]
    moves: Floats  #: what each query adds to a model's bias, less the mean over models, (Q, m)
    asked: Floats  #: labels of each query, (Q,)
    stratum: Ints  #: the data set of each query, (Q,)
    of = "labels of documents"

    def favour(
        self, group: Collection[str], others: Collection[str], *, level: float = LEVEL
    ) -> Estimate | None:
        """Return how much more of the greatest DCG the judge gives a group than the rest."""
        from scipy.special import stdtrit  # noqa: PLC0415

        contrast = np.zeros(len(self.models))
        for names, sign in ((group, 1), (others, -1)):
            members = np.array([model in names for model in self.models])
            contrast += sign * members / members.sum()
        moves = self.moves @ contrast
        value, n_queries = float(moves.sum()), int(np.count_nonzero(self.asked))
        n = int(self.asked.sum())
        sd = float(np.sqrt(meat(moves[:, None], self.stratum)[0, 0]))
        if n_queries < 2 or not sd:
            return Estimate(value, None, None, n, n_queries)
        df = degrees_of_freedom(moves[:, None], self.asked, self.stratum)
        half = float(stdtrit(df, (1 + level) / 2)) * sd
        return Estimate(value, value - half, value + half, n, n_queries)

    def told(self, value: float, who: str) -> str:
        """Return by how much the judge grades somebody's lists higher or lower."""
        higher = "higher" if value >= 0 else "lower"
        return (
            f"{who}: beside the others, the judge grades these lists {abs(100 * value):.1f}% of "
            f"the greatest DCG {higher} than people do"
        )


def grade_bias(evidence: AuditInput) -> GradeBias | None:
    """Compare people's grades with the judge's; None if it did not grade what they labelled."""
    people, log = evidence.known, evidence.log
    if people is None or not people.documents or not people.gains or log.query_id is None:
        return None
    parts: list[tuple[Sequence[str], GradedDocuments]] = []
    for code, dataset in enumerate(log.datasets):
        own = people.lists.get(dataset, {})
        lists = {model: own[model] for model in log.models if model in own}
        judged = np.unique(log.query_id[log.dataset == code])
        query_ids = [log.query_ids[query] for query in judged.tolist()]
        weights = document_weights(lists, query_ids, top_k=people.top_k)
        graded = graded_documents(weights, dataset, people)
        if len(lists) > 1 and graded is not None and graded.labelled.sum() > 1:
            parts.append((tuple(lists), graded))
    if not parts:
        return None
    models = [model for model in log.models if any(model in names for names, _ in parts)]
    n_sets = np.array([sum(model in names for names, _ in parts) for model in models])
    rows = []
    for names, graded in parts:
        own_moves = grade_rectifiers(graded)
        moves = np.zeros((len(own_moves), len(models)))
        moves[:, [models.index(name) for name in names]] = -own_moves / len(own_moves)
        rows.append(moves / n_sets)
    sizes = [len(moves) for moves in rows]
    asked = np.concatenate([graded.asked for _, graded in parts])
    return GradeBias(models, np.concatenate(rows), asked, np.repeat(np.arange(len(rows)), sizes))


def bias_figures(bias: Bias | None, evidence: AuditInput) -> list[AuditMetric]:
    """Return the bias for each model, for lexical models and for the judge's own family."""
    if bias is None:
        because = "no labels of people can be compared with the judge"
        return [
            missing_metric(*names, because, "difference") for names in (_MODEL, _LEXICAL, _FAMILY)
        ]
    return [_by_model(bias), _lexical(bias, evidence), _family(bias, evidence)]


def length_bias_figure(rows: LabelledRows | None, evidence: AuditInput) -> AuditMetric:
    """Return the correlation of judge minus people with how much longer a list is.

    It is taken about 0, and lengths are logarithms, so it does not depend on which list of a
    battle is called the first.
    """
    if rows is None:
        return missing_metric(*_LENGTH, "people labelled no battles", "coefficient")
    words = by_side(evidence, rows.battles, "words")
    if words is None:
        because = "the lengths of the lists are not beside the log"
        return missing_metric(*_LENGTH, because, "coefficient")
    longer = np.log1p(words[0]) - np.log1p(words[1])
    known = np.flatnonzero(~np.isnan(longer))
    x, y, weight = longer[known], BattleBias(rows).apart[known], rows.weight[known]
    sums = np.stack([x * y, x * x, y * y], axis=1) * weight[:, None]
    estimate = coefficient(
        sums_by_cluster(sums, rows.battles.query[known]), _correlation, n=len(known)
    )
    if estimate is None:
        because = "the judge never differs from people, or all lists are equally long"
        return missing_metric(*_LENGTH, because, "coefficient")
    meaning = "correlation of judge minus people with the lists' lengths; 0: length plays no part"
    return AuditMetric(*_LENGTH, "coefficient", estimate, "labelled battles", meaning)


def _correlation(sums: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        value: Floats = sums[:, 0] / np.sqrt(sums[:, 1] * sums[:, 2])
    return value


def _by_model(bias: Bias) -> AuditMetric:
    """Return the largest bias of one model; all intervals hold at once (Bonferroni)."""
    models = bias.models
    level = 1 - (1 - LEVEL) / len(models)
    estimates = {
        model: estimate
        for model in models
        if (estimate := bias.favour({model}, set(models) - {model}, level=level)) is not None
    }
    if not estimates:
        return missing_metric(*_MODEL, "no two models were compared", "difference")
    order = sorted(estimates, key=lambda model: -abs(estimates[model].value))
    sure = [model for model in order if _is_sure(estimates[model])]
    parts = tuple(
        Subgroup(model, estimate.value, estimate.n, estimate.lower, estimate.upper)
        for model in order
        for estimate in [estimates[model]]
    )
    first = order[0]
    told = f"sure of {', '.join(sure)}" if sure else "no model's bias is sure"
    meaning = (
        f"{bias.told(estimates[first].value, first)}; {told} (intervals hold for all {len(models)} "
        "models at once)"
    )
    return AuditMetric(*_MODEL, "difference", estimates[first], bias.of, meaning, parts)


def _is_sure(estimate: Estimate) -> bool:
    if estimate.lower is None or estimate.upper is None:
        return False
    return estimate.lower > 0 or estimate.upper < 0


def _lexical(bias: Bias, evidence: AuditInput) -> AuditMetric:
    lexical = {name: _is_lexical(section) for name, section in _sections(evidence).items()}
    return _contrast(_LEXICAL, bias, lexical, "lexical models", "a contender is lexical")


def _family(bias: Bias, evidence: AuditInput) -> AuditMetric:
    config = evidence.config
    judges = config.get("judges") or [config.get("judge") or {}]
    judge_families = {_family_of(judge) for judge in judges}
    if len(judge_families) != 1 or None in judge_families:
        because = "the family of the judge is not known from the configuration"
        return missing_metric(*_FAMILY, because, "difference")
    families = {name: _family_of(section) for name, section in _sections(evidence).items()}
    related = {
        name: None if its is None else its in judge_families for name, its in families.items()
    }
    who = "models of its own family"
    return _contrast(_FAMILY, bias, related, who, "a contender is of the judge's family")


def _contrast(
    names: tuple[str, str],
    bias: Bias,
    member: Mapping[str, bool | None],
    who: str,
    member_text: str,
) -> AuditMetric:
    """Compare members of a group with the others; a model of unknown group is left out."""
    models = bias.models
    group, others = (
        {model for model in models if member.get(model) is is_member} for is_member in (True, False)
    )
    if not group or not others:
        because = f"the configuration does not tell that {member_text} and another is not"
        return missing_metric(*names, because, "difference")
    estimate = bias.favour(group, others)
    if estimate is None:
        return missing_metric(*names, f"no label compares {who} with others", "difference")
    sure = "" if _is_sure(estimate) else "; the interval includes 0"
    meaning = f"{bias.told(estimate.value, f'{who} ({len(group)} of {len(models)})')}{sure}"
    return AuditMetric(*names, "difference", estimate, bias.of, meaning)


def _sections(evidence: AuditInput) -> dict[str, Mapping[str, Any]]:
    """Return model → its section of the arena.toml."""
    sections = evidence.config.get("models", ())
    return {evidence.aliases.get(s["name"], s["name"]): s for s in sections}


def _is_lexical(section: Mapping[str, Any]) -> bool | None:
    """Return whether a contender ranks by words; None for a program or a run that does not say."""
    if "provider" in section:
        return bool(section["provider"] == "bm25")
    if "rerank" in section or "fuse" in section:
        return False
    said = f"{section['name']} {section.get('command', '')}".casefold()
    return True if "bm25" in said else None


def _family_of(section: Mapping[str, Any]) -> str | None:
    """Return the maker of a section's model; None if the section does not tell."""
    provider = section.get("provider") or section.get("rerank")
    words = re.findall(
        r"[a-z0-9]+", str(section.get("model") or section.get("name", "")).casefold()
    )
    if provider in _GENERIC and "base_url" not in section:
        words.insert(0, provider)
    for word in words:
        for family, own in _FAMILIES.items():
            if any(word == name or re.fullmatch(rf"{name}\d+", word) for name in own):
                return family
    return None
