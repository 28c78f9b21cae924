r"""Two measures of nuclei that no other study has.

**Aggregated Jaccard index** (Kumar et al., *IEEE Transactions on Medical Imaging* 2017): every true nucleus
:math:`G_i` takes the predicted one :math:`P_{j(i)}` with the largest IoU; the predicted ones that no true
nucleus takes are added to the union,

.. math:: AJI = \frac{\sum_i |G_i \cap P_{j(i)}|}{\sum_i |G_i \cup P_{j(i)}| + \sum_{j\ \text{not taken}}
|P_j|} .

As in the paper, two true nuclei may take the same predicted one.

**Detection**: a true and a predicted nucleus match where their centres lie within a radius, each at most
once, as many as possible and, among these matchings, with the least sum of distances; F1 = 2 TP / (2 TP + FP
+ FN).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from mtl.evaluation.contingency import Contingency
from mtl.evaluation.weighted import ratio

Centres = NDArray[np.float64]


def aggregated_jaccard(table: Contingency) -> float:
    """AJI of one image, from a table with ``background="segment"``; NaN without a nucleus on either side."""
    truth, predicted, shared, _ = table.pairs()
    true_sizes, predicted_sizes = table.truth_sizes.copy(), table.predicted_sizes.copy()
    nuclei = (table.truth_ids[truth] != 0) & (table.predicted_ids[predicted] != 0)
    truth, predicted, shared = truth[nuclei], predicted[nuclei], shared[nuclei]
    union = true_sizes[truth] + predicted_sizes[predicted] - shared
    order = np.lexsort((-(shared / union), truth))  # by true nucleus, its best partner first
    first = order[np.unique(truth[order], return_index=True)[1]]
    inter, joint = shared[first].sum(), union[first].sum()
    true_sizes[table.truth_ids == 0] = 0
    predicted_sizes[table.predicted_ids == 0] = 0
    alone = true_sizes.sum() - true_sizes[truth[first]].sum()  # true nuclei that meet no predicted one
    predicted_sizes[predicted[first]] = 0
    return float(ratio(np.array(inter, float), np.array(joint + alone + predicted_sizes.sum(), float)))


def detection_counts(predicted: Centres, truth: Centres, radius: float) -> tuple[int, int, int]:
    """True positives, false positives, false negatives of centres ``(n, 2)`` in pixels, within ``radius``."""
    if len(predicted) == 0 or len(truth) == 0:
        return 0, len(predicted), len(truth)
    distance = cdist(truth, predicted)
    # A pair too far apart costs more than all near ones together: so as many as possible are matched.
    too_far = radius * (min(distance.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(distance <= radius, distance, too_far))
    matched = int((distance[rows, columns] <= radius).sum())
    return matched, len(predicted) - matched, len(truth) - matched


def centres(instances: NDArray[np.integer]) -> Centres:
    """Mean position (y, x) of every nucleus of ``(H, W)``: ``(n, 2)``, by rising id."""
    y, x = np.nonzero(instances)
    ids, which = np.unique(instances[y, x], return_inverse=True)
    counts = np.bincount(which, minlength=len(ids))
    return np.stack(
        [np.bincount(which, weights=axis, minlength=len(ids)) / counts for axis in (y, x)], axis=1
    )
