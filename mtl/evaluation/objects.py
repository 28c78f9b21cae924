r"""Objects found or not: AP at an IoU of 50 % and panoptic quality.

A true and a predicted instance match where their IoU exceeds one half, which at most one partner can
(Kirillov et al. 2019, *Panoptic segmentation*):

.. math:: AP_{50} = \frac{TP}{TP + FP + FN}, \qquad
    PQ = \frac{\sum_{TP} IoU}{TP + FP/2 + FN/2} = \underbrace{\frac{\sum_{TP} IoU}{TP}}_{SQ}
    \cdot \underbrace{\frac{TP}{TP + FP/2 + FN/2}}_{RQ}

:math:`AP_{50}` is the form of the Data Science Bowl 2018 and of StarDist: without scores there is no curve to
average over. **Crumbs**: an instance below ``min_size`` counted voxels is no miss and no false alarm, and a
match of a true crumb does not count; a small prediction may still match a true object that is large enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtl.evaluation.contingency import Contingency
from mtl.evaluation.weighted import ratio

Floats = NDArray[np.float64]
OBJECT_METRICS = ("ap50", "pq", "sq", "rq")


@dataclass(frozen=True)
class ObjectCounts:
    """What was found in each block: true and false positives, false negatives, IoU of the matches; each (B,).

    An object belongs to the block that holds most of it (a match: of its true part).
    """

    tp: Floats
    fp: Floats
    fn: Floats
    iou: Floats


def count_objects(table: Contingency, min_size: int = 0) -> ObjectCounts:
    """Match the instances of a table; ``min_size`` in counted voxels."""
    truth, predicted, shared, _ = table.pairs()
    true_sizes, predicted_sizes = table.truth_sizes, table.predicted_sizes
    overlap = shared / (true_sizes[truth] + predicted_sizes[predicted] - shared)
    true_objects, predicted_objects = table.truth_ids != 0, table.predicted_ids != 0
    matched = (overlap > 0.5) & true_objects[truth] & predicted_objects[predicted]
    true_home = _home(table, table.truth, len(true_sizes))
    predicted_home = _home(table, table.predicted, len(predicted_sizes))

    large = true_objects & (true_sizes >= min_size)
    missed = large.copy()
    missed[truth[matched]] = False
    false = predicted_objects & (predicted_sizes >= min_size)
    false[predicted[matched]] = False
    found = matched & large[truth]

    def per_block(blocks: NDArray[np.int64], weights: NDArray | None = None) -> Floats:
        return np.bincount(blocks, weights, minlength=table.n_blocks).astype(float)

    home = true_home[truth[found]]
    return ObjectCounts(
        tp=per_block(home),
        fp=per_block(predicted_home[false]),
        fn=per_block(true_home[missed]),
        iou=per_block(home, overlap[found]),
    )


def object_metrics(counts: ObjectCounts, weights: Floats | None = None) -> dict[str, Floats]:
    """Every figure of ``OBJECT_METRICS``, each (R,), under block weights (R, B); None: all blocks once.

    NaN where no object is there to be counted (``sq``: none matched).
    """
    weights = np.ones((1, len(counts.tp))) if weights is None else weights
    tp, fp, fn, iou = (weights @ column for column in (counts.tp, counts.fp, counts.fn, counts.iou))
    return {
        "ap50": ratio(tp, tp + fp + fn),
        "pq": ratio(iou, tp + fp / 2 + fn / 2),
        "sq": ratio(iou, tp),
        "rq": ratio(tp, tp + fp / 2 + fn / 2),
    }


def _home(table: Contingency, column: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Block (length,) that holds most of each instance; the first of equals."""
    home = np.zeros(length, np.int64)
    parts = table.by_block(column, length).tocoo()
    order = np.lexsort((-parts.row, parts.data))  # the last write wins: most voxels, then the first block
    home[parts.col[order]] = parts.row[order]
    return home
