"""What other packages take for the same ratings of the same battles."""

from __future__ import annotations

import ast
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from rating_battles import N_MODELS, Forms

Job = Callable[[], object]

ROUNDS = 100
"""Of a peer's bootstrap: what is usual."""


def peer_jobs(forms: Forms, names: str) -> Iterator[tuple[str, str, Job]]:
    """(row, who, job) of the peers that are asked for and installed."""
    peers = {
        "evalica": _evalica,
        "choix": _choix,
        "arena-rank": _arena_rank,
        "fastchat": _fastchat,
    }
    for name in names.split(","):
        try:
            yield from peers[name](forms)
        except ImportError as error:
            print(f"{name} is left out: no {error.name}")


def _evalica(forms: Forms) -> Iterator[tuple[str, str, Job]]:
    import evalica

    outcomes = (evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw)
    winners = [outcomes[code] for code in forms.battles.winner.tolist()]
    index = pd.Index(range(N_MODELS))
    battles = (*forms.codes, winners)
    kernel = {"weights": [1.0] * len(winners), "total": N_MODELS, "win_weight": 1.0}
    scale = {"initial": 1500.0, "base": 10.0, "scale": 400.0, "k": 32.0}
    yield "Elo", "evalica", lambda: evalica.elo(*battles, index=index, **scale)
    yield (
        "Elo",
        "evalica's Rust alone",
        lambda: evalica._brzo.elo(*battles, tie_weight=0.5, **scale, **kernel),  # noqa: SLF001
    )
    yield "Bradley-Terry", "evalica", lambda: evalica.bradley_terry(*battles, index=index)
    if len(winners) <= 100_000:
        yield (
            "Bradley-Terry with intervals",
            f"evalica, {ROUNDS} rounds",
            lambda: evalica.bootstrap(
                evalica.bradley_terry,
                *battles,
                index=index,
                n_resamples=ROUNDS,
                bootstrap_method="percentile",
                random_state=0,
            ),
        )


def _choix(forms: Forms) -> Iterator[tuple[str, str, Job]]:
    import choix

    # It knows no ties: it is given the decided battles alone.
    c = forms.comparisons
    pairs = np.where((c.score == 1)[:, None], np.c_[c.first, c.second], np.c_[c.second, c.first])
    decided = list(map(tuple, pairs[c.score != 0.5].tolist()))
    yield "Bradley-Terry", "choix", lambda: choix.ilsr_pairwise(N_MODELS, decided)


def _arena_rank(forms: Forms) -> Iterator[tuple[str, str, Job]]:
    from arena_rank.models.bradley_terry import BradleyTerry as Peer
    from arena_rank.utils.data_utils import PairDataset

    def rate() -> object:
        data = PairDataset.from_pandas(forms.frame)
        return Peer(n_competitors=len(data.competitors)).compute_ratings_and_cis(data)

    counted = PairDataset.from_pandas(forms.frame)
    yield "Bradley-Terry with intervals", "arena-rank", rate
    yield (
        "Bradley-Terry with intervals",
        "arena-rank, from counts",
        lambda: Peer(n_competitors=N_MODELS).compute_ratings_and_cis(counted),
    )


def _fastchat(forms: Forms) -> Iterator[tuple[str, str, Job]]:
    theirs = _fastchat_functions()
    yield "Elo", "FastChat", lambda: theirs["compute_elo"](forms.frame, K=32, INIT_RATING=1500)
    fitted = theirs["compute_elo_mle_with_tie"]
    if len(forms.frame) <= 1_000_000:  # beyond it, its matrix of battles by models fills memory
        yield "Bradley-Terry", "FastChat", lambda: fitted(forms.frame)
    if len(forms.frame) <= 10_000:
        resample = theirs["get_bootstrap_result"]
        who = f"FastChat, {ROUNDS} rounds"
        yield "Bradley-Terry with intervals", who, lambda: resample(forms.frame, fitted, ROUNDS)


def _fastchat_functions() -> dict[str, Callable[..., object]]:
    """The functions of its module as they are installed, without its import of torch."""
    import sklearn  # noqa: F401 - theirs import it when they are called

    place = "fastchat/serve/monitor/elo_analysis.py"
    tree = ast.parse(Path(metadata.distribution("fschat").locate_file(place)).read_text("utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    names = {"np": np, "pd": pd, "math": math, "defaultdict": defaultdict}
    names["tqdm"] = lambda rounds, **_: rounds
    exec(compile(tree, place, "exec"), names)
    return names
