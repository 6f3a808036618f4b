"""Names of retrieval metrics as ir_measures writes them: ``nDCG@10``, ``RR(rel=2)@10``."""

from __future__ import annotations

import difflib
from typing import Any, Final

DEEPEST_METRIC: Final = 1000
"""Greatest cutoff of a metric: runs keep as many documents of a ranking as the metrics need."""

_LONGEST_NAME: Final = 200


def parse_metric(name: str) -> Any:
    """Return the measure of ir_measures that a name stands for.

    The relevance threshold ``rel`` may be a fraction, as grades may be. ir_measures itself takes
    whole numbers only.

    Raises:
        ValueError: there is no such measure, a parameter does not fit, or no installed package
            computes it; one line says which, and suggests near names.
    """
    import ir_measures  # noqa: PLC0415 - a tenth of a second to import

    try:
        measure = ir_measures.parse_measure(name.strip()[:_LONGEST_NAME])
    except NameError:
        word = name.strip().partition("(")[0].partition("@")[0].strip()
        raise ValueError(f"no metric {name!r}; {_nearest(word, name)}") from None
    except (ValueError, RecursionError, MemoryError):
        example = "expected a name such as nDCG@10, RR(rel=2)@10 or AP@100"
        raise ValueError(f"cannot read the metric {name[:60]!r}; {example}") from None
    _check(name, measure)
    return measure


def depth_of(measure: Any) -> int | None:
    """Return the cutoff of a measure; None if it reads whole lists."""
    cutoff = measure.params.get("cutoff")
    return None if cutoff is None else int(cutoff)


def threshold_of(measure: Any) -> float | None:
    """Return the least grade that is relevant to a measure; None for measures of graded gains."""
    info = measure.SUPPORTED_PARAMS.get("rel")
    if info is None:
        return None
    threshold = measure.params.get("rel", info.default)
    return threshold if isinstance(threshold, int | float) else None


def _check(name: str, measure: Any) -> None:
    threshold, cutoff = measure.params.get("rel", 1), measure.params.get("cutoff", 1)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not threshold > 0:
        raise ValueError(f"{name}: rel is {threshold!r}; expected a grade above 0")
    if isinstance(cutoff, bool) or not isinstance(cutoff, int) or not 1 <= cutoff <= DEEPEST_METRIC:
        raise ValueError(f"{name}: the cutoff is {cutoff!r}; expected 1 to {DEEPEST_METRIC:,}")
    plain = measure(rel=1) if isinstance(threshold, float) else measure
    try:
        plain.validate_params()
    except AssertionError as error:
        parameter, _, value = str(error).removeprefix("invalid param ").partition("=")
        if parameter == "cutoff":
            raise ValueError(f"{name}: needs a cutoff, such as {name}@10") from None
        if value.startswith("<"):  # the object that stands for nothing
            raise ValueError(f"{name}: needs {parameter}=, see https://ir-measur.es") from None
        raise ValueError(f"{name}: {error}") from None
    _check_computed(name, plain)


def _check_computed(name: str, measure: Any) -> None:
    from ir_measures import DefaultPipeline  # noqa: PLC0415
    from ir_measures.measures import SumAgg  # noqa: PLC0415

    if isinstance(measure.aggregator(), SumAgg):
        raise ValueError(f"{name}: is a sum over queries, no mean; choose another")  # noqa: TRY004
    pipeline: Any = DefaultPipeline
    if pipeline.supports(measure):
        return
    packages = [
        " ".join(told.split())
        for provider in pipeline.providers
        if provider.supports(measure) and (told := provider.install_instructions())
    ]
    remedy = f"; {packages[0]}" if packages else ""
    raise ValueError(f"{name}: no installed package computes it{remedy}")


def _nearest(word: str, name: str) -> str:
    """Return the nearest known name with the rest of what was written, else all names."""
    import ir_measures  # noqa: PLC0415

    registry = ir_measures.measures.registry
    names_of = {key.lower(): measure.__name__ for key, measure in registry.items() if key.isascii()}
    names_of |= _OTHER_NAMES
    # trec_eval and mteb write ndcg_cut_10, ndcg_at_10, mrr@10 and recall_5.
    stem = word.lower().replace("_cut", "").replace("_at", "").rstrip("_0123456789")
    near = (
        [stem] if stem in names_of else difflib.get_close_matches(stem, names_of, n=2, cutoff=0.6)
    )
    names = list(dict.fromkeys(names_of[key] for key in near))
    if not names:
        return f"known: {', '.join(dict.fromkeys(names_of.values()))}"
    digits = name[len(name.rstrip("0123456789")) :]
    suffix = f"@{digits}" if digits else ""
    return f"did you mean {' or '.join(f'{key}{suffix}' for key in names)}?"


_OTHER_NAMES: Final = {
    "recall": "R",
    "hit": "Success",
    "hits": "Success",
    "hit_rate": "Success",
    "hitrate": "Success",
    "precision": "P",
    "recip_rank": "RR",
}
"""What other tools call a measure, in lower case."""
