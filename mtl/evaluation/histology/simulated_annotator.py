"""An annotator who knows the truth and has little time: reviews proposals, draws what is missing.

It looks at one tile after the other. With proposals: the surest first, accepted where it shares more than
half of its union with a nucleus that is not annotated yet, rejected where it fits none; then the missing
nuclei, largest first, are drawn. Without: nuclei are drawn in random order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtl.evaluation.contingency import contingency

Kind = Literal["accept", "reject", "add"]
FITS = 0.5  # IoU


@dataclass(frozen=True)
class Decision:
    """One action on some pixels ``(H, W)``; ``nucleus``: the true id that is meant, 0 for a rejection."""

    kind: Kind
    mask: NDArray[np.bool_]
    nucleus: int


def review(
    proposals: NDArray[np.integer],
    confidence: NDArray[np.floating],
    truth: NDArray[np.integer],
    annotated: Collection[int],
) -> Iterator[Decision]:
    """Decisions on one tile, in order; the caller stops when time is up.

    Args:
        proposals: ids ``(H, W)``, 0 background; confidence: of ids 1, 2, ..., in order.
        truth: ids ``(H, W)``; annotated: those that need nothing more.
    """
    partner = best_partners(proposals, truth)
    done = set(annotated)
    for number in 1 + np.argsort(-np.asarray(confidence), kind="stable"):
        nucleus = partner.get(int(number), 0)
        if nucleus in done and nucleus:
            continue  # seen to be annotated already: no action
        yield Decision("accept" if nucleus else "reject", proposals == number, nucleus)
        done.add(nucleus)
    yield from _drawn(truth, _by_size(truth, done))


def draw_at_random(
    truth: NDArray[np.integer], annotated: Collection[int], rng: np.random.Generator
) -> Iterator[Decision]:
    """Nuclei of one tile that are not annotated yet, outlined in random order."""
    nuclei, done = _by_size(truth, ()), set(annotated)
    # The order is of all nuclei, so that it is the same when it is taken up again half way.
    order = [nuclei[i] for i in rng.permutation(len(nuclei))]
    yield from _drawn(truth, [nucleus for nucleus in order if nucleus not in done])


def best_partners(proposals: NDArray[np.integer], truth: NDArray[np.integer]) -> dict[int, int]:
    """Proposal to the true nucleus with which it shares more than half of their union, if there is one."""
    table = contingency(proposals, truth, background="segment")
    true, found, shared, _ = table.pairs()
    overlap = shared / (table.truth_sizes[true] + table.predicted_sizes[found] - shared)
    fits = (overlap > FITS) & (table.truth_ids[true] != 0) & (table.predicted_ids[found] != 0)
    return {
        int(table.predicted_ids[j]): int(table.truth_ids[i])
        for i, j in zip(true[fits], found[fits], strict=True)
    }


def _by_size(truth: NDArray[np.integer], done: Collection[int]) -> list[int]:
    ids, sizes = np.unique(truth[truth > 0], return_counts=True)
    return [int(ids[i]) for i in np.argsort(-sizes, kind="stable") if int(ids[i]) not in done]


def _drawn(truth: NDArray[np.integer], nuclei: list[int]) -> Iterator[Decision]:
    return (Decision("add", truth == nucleus, nucleus) for nucleus in nuclei)
