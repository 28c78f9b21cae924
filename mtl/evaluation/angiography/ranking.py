r"""Where the first relevant candidate stands: ranks and the measures made of them, exact under ties.

Candidates of equal similarity have no order. Every measure is therefore its **expectation over all orders of
the tied candidates**, in closed form: with :math:`a` candidates above the group that holds the first
relevant one, :math:`g` in that group, :math:`r` of them relevant, the first relevant stands at place
:math:`a + X` with

.. math:: P(X > k) = \binom{g-r}{k} \Big/ \binom{g}{k}, \qquad
          E[X] = \frac{g+1}{r+1}, \qquad
          R@K = 1 - P(X > K - a).

NDCG gives every candidate of a tied group the mean discount of the group's places. So a constant similarity
scores exactly chance: neither 1 (optimistic ranks) nor 0 (pessimistic ones).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from mtl.errors import DataError, ParameterError

NDCG_AT = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FirstRelevant:
    """Of each query ``(Q,)``: candidates above the tied group of the first relevant, its size, its hits."""

    above: NDArray[np.int64]
    group: NDArray[np.int64]
    relevant: NDArray[np.int64]

    @property
    def rank(self) -> Floats:
        """Expected rank of the first relevant candidate, from 1."""
        return self.above + (self.group + 1) / (self.relevant + 1)

    def recall(self, k: int) -> Floats:
        """Probability that a relevant candidate is among the first ``k``."""
        return 1 - self._beyond(k - self.above)

    def reciprocal_rank(self) -> Floats:
        """Expected 1 / rank: summed over the places that the first relevant may take."""
        total, places = np.zeros(len(self.group)), int((self.group - self.relevant).max()) + 1
        for place in range(1, places + 1):
            total += (self._beyond(place - 1) - self._beyond(place)) / (self.above + place)
        return total

    def _beyond(self, k: int | NDArray) -> Floats:
        """P(X > k), from log-factorials; 1 for k <= 0, 0 where fewer than k candidates are not relevant."""
        rest = self.group - self.relevant
        taken = np.clip(k, 0, rest)
        logs = gammaln(rest + 1) - gammaln(rest - taken + 1)
        logs -= gammaln(self.group + 1) - gammaln(self.group - taken + 1)
        return np.where(np.asarray(k) > rest, 0.0, np.exp(logs))


def first_relevant(similarity: ArrayLike, relevant: ArrayLike) -> FirstRelevant:
    """Place of the first relevant candidate of every query.

    Args:
        similarity: ``(Q, C)``, higher is nearer; equal values are ties.
        relevant: bool ``(Q, C)``.

    Raises:
        DataError: shapes differ, a similarity is not finite, or a query has no relevant candidate.
    """
    scores, wanted = checked(similarity, relevant)
    best = np.where(wanted, scores, -np.inf).max(axis=1, keepdims=True)
    tied = scores == best
    return FirstRelevant((scores > best).sum(1), tied.sum(1), (tied & wanted).sum(1))


def chance(relevant: ArrayLike) -> FirstRelevant:
    """The same of a similarity that knows nothing: all candidates tied."""
    wanted = np.asarray(relevant, bool)
    return first_relevant(np.zeros(wanted.shape), wanted)


def ndcg(similarity: ArrayLike, relevant: ArrayLike, k: int = NDCG_AT) -> Floats:
    r"""Expected NDCG@k ``(Q,)``, binary gains: :math:`\sum_{i \le k} rel_i / \log_2(i + 1)`, over the best.

    Raises as ``first_relevant``.
    """
    scores, wanted = checked(similarity, relevant)
    discount = np.where(np.arange(scores.shape[1]) < k, 1 / np.log2(np.arange(scores.shape[1]) + 2), 0.0)
    order = np.argsort(-scores, axis=1, kind="stable")
    gained = [
        _gain(row[places], hit[places], discount)
        for row, hit, places in zip(scores, wanted, order, strict=True)
    ]
    return np.array(gained) / discount.cumsum()[wanted.sum(1) - 1]


def checked(similarity: ArrayLike, relevant: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Both as arrays ``(Q, C)``; raises DataError as ``first_relevant``."""
    scores, wanted = np.asarray(similarity, float), np.asarray(relevant, bool)
    if scores.ndim != 2 or scores.shape != wanted.shape or 0 in scores.shape:
        raise DataError(f"similarity {scores.shape} and relevance {wanted.shape}: expected (Q, C)")
    if bad := int((~np.isfinite(scores)).sum()):
        raise DataError(f"{bad} of {scores.size} similarities are not finite: was an embedding NaN?")
    if lost := int((~wanted.any(1)).sum()):
        raise DataError(f"{lost} of {len(wanted)} queries have no relevant candidate, expected one")
    return scores, wanted


def check_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """The Ks, rising and once each; raises ParameterError for one below 1."""
    if not ks or min(ks) < 1:
        raise ParameterError(f"ks = {list(ks)}: expected ranks of at least 1")
    return tuple(sorted(set(ks)))


def _gain(scores: Floats, hits: NDArray[np.bool_], discount: Floats) -> float:
    """DCG of one query's candidates, best first; tied ones share the mean discount of their places."""
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    sizes = np.diff(np.r_[starts, len(scores)])
    shared = np.add.reduceat(discount, starts) / sizes
    return float((np.add.reduceat(hits.astype(float), starts) * shared).sum())
