"""Controls of every table: reports written without the clip, or with another one's.

* ``most frequent``: the commonest training report, whatever the clip.
* ``nearest``: the report of the training clip (or report) with the nearest embedding.
* ``shuffled``: what the captioner says of a clip of another study. It keeps everything that the captioner
  knows of reports and takes away only what the video says; captions that do not beat it ignore the video.
* ``blank``: what the captioner says of a black clip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError, ParameterError, ProtocolError
from mtl.evaluation.angiography.retrieval import cosine_similarity
from mtl.evaluation.angiography.summary import require_lengths


def most_frequent_report(train_reports: Sequence[str]) -> str:
    """The commonest report, the first of them among equals; raises DataError where there is none."""
    if len(train_reports) == 0:
        raise DataError("no training report: the most frequent one is undefined")
    return Counter(train_reports).most_common(1)[0][0]


def nearest_training_reports(
    embeddings: ArrayLike, train_embeddings: ArrayLike, train_reports: Sequence[str]
) -> list[str]:
    """Report of the training item with the largest cosine, for each of N; the first among equals.

    embeddings: ``(N, D)`` of the clips; train_embeddings: ``(M, D)`` of training clips, or of their reports
    in the same space. Raises DataError where M embeddings and reports differ.
    """
    train = np.asarray(train_embeddings, float)
    require_lengths(train_embeddings=train, train_reports=train_reports)
    return [train_reports[i] for i in cosine_similarity(embeddings, train).argmax(axis=1)]


def shuffle_across_studies(
    studies: Sequence[Hashable], seed: int = 0, within: Sequence[Hashable] | None = None
) -> NDArray[np.intp]:
    """Permutation ``(N,)``: clip i is replaced by clip ``permutation[i]``, which is of another study.

    Args:
        within: of the N clips (for example the view): a clip is replaced by one of the same value, so that
            this is not what gives the exchange away.

    Raises:
        ProtocolError: a study has more than half of the clips, so that some clip must keep its study.
        DataError: lengths differ, or no clip.
    """
    strata = [None] * len(studies) if within is None else within
    require_lengths(studies=studies, within=strata)
    rng, labels = np.random.default_rng(seed), pd.factorize(pd.Series(list(studies)))[0]
    permutation = np.empty(len(labels), np.intp)
    codes, names = pd.factorize(pd.Series(list(strata), dtype=object), use_na_sentinel=False)
    for code in range(len(names)):
        members = np.flatnonzero(codes == code)
        permutation[members] = members[_derangement(labels[members], rng, names[code])]
    return permutation


def blank_clip(shape: Sequence[int], value: float = 0.0) -> NDArray[np.float32]:
    """A clip (or batch) of one grey value in [0, 1], float32; 0 is black."""
    if not 0 <= value <= 1:
        raise ParameterError(f"value = {value}: expected a grey value in [0, 1]")
    return np.full(tuple(shape), value, np.float32)


def _derangement(labels: NDArray, rng: np.random.Generator, stratum: Hashable) -> NDArray[np.intp]:
    """Places (n,) such that no place keeps its label.

    Items in random order, equal labels together, are turned by at least the largest label's count and by at
    most n less that count: nothing can land on its own label.
    """
    n, largest = len(labels), int(np.bincount(labels).max())
    if 2 * largest > n:
        where = "" if pd.isna(stratum) else f" with {stratum!r}"
        raise ProtocolError(
            f"one study has {largest} of the {n} clips{where}: at most half can all go to another study"
        )
    in_random_order = rng.permutation(int(labels.max()) + 1)[labels]
    order = np.lexsort((rng.random(n), in_random_order))
    replaced = np.empty(n, np.intp)
    replaced[order] = np.roll(order, int(rng.integers(largest, n - largest + 1)))
    return replaced
