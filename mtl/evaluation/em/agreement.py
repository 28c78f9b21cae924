r"""Agreement of two segmentations as clusterings: adapted Rand error and variation of information.

With :math:`n_{ij}` voxels shared by true instance i and predicted segment j, :math:`t_i` and :math:`s_j`
their sums and n all counted voxels (Arganda-Carreras et al. 2015, *Front. Neuroanat.* 9:142; Meila 2007, *J.
Multivariate Anal.* 98:873):

.. math::
    \text{ARE} = 1 - \frac{\sum_{ij} n_{ij}^2 - n}{\tfrac12 (\sum_i t_i^2 - n) + \tfrac12 (\sum_j s_j^2 - n)}

    \text{VOI split} = H(\text{pred} \mid \text{gt}) = -\sum_{ij} \frac{n_{ij}}{n} \log_2 \frac{n_{ij}}{t_i},
    \qquad
    \text{VOI merge} = H(\text{gt} \mid \text{pred}) = -\sum_{ij} \frac{n_{ij}}{n} \log_2 \frac{n_{ij}}{s_j}

Precision is the share of the *predicted* pairs of voxels that are true pairs (falls with merges), recall the
share of the true pairs that are predicted (falls with splits). scikit-image 0.26 returns these two under
each other's name. A pair of a voxel with itself is not counted. VOI is in bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from mtl.evaluation.contingency import Contingency
from mtl.evaluation.weighted import ratio

Floats = NDArray[np.float64]
CLUSTERING_METRICS = (
    "adapted_rand", "rand_precision", "rand_recall", "voi_split", "voi_merge", "voi",
)  # fmt: skip
CHUNK_ELEMENTS = 2**22  # of the resampled pair table: 32 MiB


def clustering_metrics(table: Contingency, weights: Floats | None = None) -> dict[str, Floats]:
    """Every figure of ``CLUSTERING_METRICS``, each (R,), under block weights (R, B); None: all blocks once.

    A resample is the table in which every block counts as often as it was drawn, under the ids of the whole
    volume. NaN where nothing is left, or no pair of voxels.
    """
    weights = np.ones((1, table.n_blocks)) if weights is None else weights
    truth, _, _, which = table.pairs()
    joint = table.by_block(which, len(truth))
    true_parts = table.by_block(table.truth, len(table.truth_ids))
    predicted_parts = table.by_block(table.predicted, len(table.predicted_ids))
    step = max(1, CHUNK_ELEMENTS // max(1, joint.shape[1]))
    chunks = [
        _figures(*(part.T.dot(rows.T).T for part in (joint, true_parts, predicted_parts)))
        for rows in (weights[start : start + step] for start in range(0, len(weights), step))
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in CLUSTERING_METRICS}


def _figures(joint: Floats, truth: Floats, predicted: Floats) -> dict[str, Floats]:
    """From counts (R, pairs), (R, T) and (R, P)."""
    total = joint.sum(axis=1)
    same, true_pairs, predicted_pairs = ((c**2).sum(axis=1) - total for c in (joint, truth, predicted))
    entropy = {"joint": joint, "truth": truth, "predicted": predicted}
    entropy = {name: xlogy(c, c).sum(axis=1) / np.log(2) for name, c in entropy.items()}
    split = np.maximum(ratio(entropy["truth"] - entropy["joint"], total), 0)  # rounding may fall below 0
    merge = np.maximum(ratio(entropy["predicted"] - entropy["joint"], total), 0)
    return {
        "adapted_rand": 1 - ratio(2 * same, true_pairs + predicted_pairs),
        "rand_precision": ratio(same, predicted_pairs),
        "rand_recall": ratio(same, true_pairs),
        "voi_split": split,
        "voi_merge": merge,
        "voi": split + merge,
    }
