"""Compute latent semantic analysis: TF-IDF, projected on a corpus's leading singular vectors.

Source: Deerwester et al. 1990,
https://doi.org/10.1002/(SICI)1097-4571(199009)41:6%3C391::AID-ASI1%3E3.0.CO;2-9
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LSA_DIMENSIONS = 256
"""As many as are kept where the config does not say."""


@dataclass(frozen=True, slots=True)
class LatentSpace:
    """What a corpus taught: where its words lie in a space of few dimensions."""

    columns: Mapping[str, int]  #: word → its row in ``axes``
    rarity: NDArray[np.float64]  #: inverse document frequency, (n_words,)
    axes: NDArray[np.float64]  #: (n_words, dim), columns of length 1

    @property
    def dimensions(self) -> int:
        """Return how many numbers a vector has."""
        return int(self.axes.shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return text vectors, ``(n_texts, dim)``; words that the corpus lacks are ignored."""
        weighted = _tf_idf([_count(text) for text in texts], self.columns, self.rarity)
        vectors: NDArray[np.float32] = (weighted @ self.axes).astype(np.float32)
        return vectors


def fit_lsa(texts: Sequence[str], dimensions: int) -> LatentSpace | None:
    """Fit a space on texts; the same texts in the same order give the same space.

    It has fewer ``dimensions`` than asked if there are fewer texts or words.

    Returns:
        None if there is no word in the texts.
    """
    counts = [_count(text) for text in texts]
    frequency = Counter(word for count in counts for word in count)
    if not frequency:
        return None
    columns = {word: column for column, word in enumerate(sorted(frequency))}
    present_in = np.array([frequency[word] for word in columns])
    rarity = 1 + np.log((1 + len(texts)) / (1 + present_in))
    axes = _leading_axes(_tf_idf(counts, columns, rarity), dimensions)
    return LatentSpace(columns, rarity, axes)


def _count(text: str) -> Counter[str]:
    """Count runs of letters and digits of any script, in lower case."""
    return Counter(re.findall(r"[^\W_]+", text.lower()))


def _tf_idf(
    counts: Sequence[Counter[str]], columns: Mapping[str, int], rarity: NDArray[np.float64]
) -> Any:
    """Return rows of ``(1 + log count) · rarity`` and length 1, sparse ``(n_texts, n_words)``."""
    from scipy.sparse import csr_array  # noqa: PLC0415

    entries_of = [
        [(columns[word], n) for word, n in count.items() if word in columns] for count in counts
    ]
    starts = np.cumsum([0, *map(len, entries_of)])
    entries = np.array([entry for row in entries_of for entry in row], dtype=np.int64).reshape(
        -1, 2
    )
    places, rows = entries[:, 0], np.repeat(np.arange(len(entries_of)), np.diff(starts))
    values = (1 + np.log(entries[:, 1])) * rarity[places]
    lengths = np.sqrt(np.bincount(rows, values**2, minlength=len(entries_of)))
    return csr_array(
        (values / lengths[rows], places, starts), shape=(len(entries_of), len(columns))
    )


def _leading_axes(weighted: Any, dimensions: int) -> NDArray[np.float64]:
    """Return the right singular vectors of the largest singular values, ``(n_words, dim)``.

    The sign of each is arbitrary, so arena fixes it: the largest entry is positive.
    """
    from scipy.sparse.linalg import svds  # noqa: PLC0415

    smaller = min(weighted.shape)
    if dimensions >= smaller:
        axes = np.linalg.svd(weighted.toarray(), full_matrices=False)[2]
    else:
        # From a fixed start, because ARPACK takes a random one; it sorts from small to large.
        start = np.ones(smaller)
        axes = svds(weighted, k=dimensions, v0=start, return_singular_vectors="vh")[2][::-1]
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    return np.ascontiguousarray((axes * signs[:, None]).T)
