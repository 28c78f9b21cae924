r"""Has the space of embeddings collapsed? Alignment, uniformity, effective rank.

Of embeddings :math:`u_i` (video), :math:`v_i` (its report) of length 1 (Wang and Isola, *ICML* 2020):

.. math:: \ell_{align} = \mathbb{E}_i \lVert u_i - v_i \rVert^2, \qquad
          \ell_{uniform} = \log \mathbb{E}_{i \ne j}\, e^{-2 \lVert u_i - u_j \rVert^2} .

Both are better when lower. A space collapsed to a point has perfect alignment and uniformity 0; the largest
possible spread has a uniformity near -4. **Effective rank** (Roy and Vetterli, *EUSIPCO* 2007): of the
singular values :math:`\sigma_k` of the matrix of embeddings

.. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \qquad p_k = \sigma_k \Big/ \sum_l \sigma_l .
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist
from scipy.special import entr, logsumexp

from mtl.errors import DataError

Floats = NDArray[np.float64]
TEMPERATURE = 2.0


def alignment(videos: ArrayLike, reports: ArrayLike) -> float:
    """Mean squared distance of true pairs ``(N, D)``, from 0 (together) to 4 (opposite)."""
    return float(np.mean(pair_distances(videos, reports)))


def pair_distances(videos: ArrayLike, reports: ArrayLike) -> Floats:
    """Squared distance of each true pair ``(N,)``; raises DataError where shapes differ."""
    video, report = _directions(videos), _directions(reports)
    if video.shape != report.shape:
        raise DataError(f"embeddings {video.shape} and {report.shape}: expected one report for each video")
    return ((video - report) ** 2).sum(axis=1)


def uniformity(embeddings: ArrayLike, temperature: float = TEMPERATURE) -> float:
    """Log of the mean Gaussian potential over pairs of distinct rows of ``(N, D)``; raises below 2 rows."""
    directions = _directions(embeddings)
    if len(directions) < 2:
        raise DataError(f"{len(directions)} embeddings: uniformity needs at least 2")
    distances = pdist(directions, "sqeuclidean")
    return float(logsumexp(-temperature * distances) - np.log(len(distances)))


def effective_rank(embeddings: ArrayLike, *, centred: bool = False) -> float:
    """From 1 to min(N, D), of ``(N, D)`` as it is, or ``centred``: less its mean row.

    A space that is a narrow cone has one large singular value (its axis), which centring takes away. Rows
    that are all equal have the centred effective rank 1 by convention.
    """
    matrix = _checked(embeddings)
    values = np.linalg.svd(matrix - centred * matrix.mean(axis=0), compute_uv=False)
    rounding = np.finfo(float).eps * max(matrix.shape) * np.abs(matrix).max(initial=0.0)
    values = values[values > rounding]
    if len(values) == 0:
        return 1.0
    return float(np.exp(entr(values / values.sum()).sum()))


def collapse_monitors(videos: ArrayLike, reports: ArrayLike) -> dict[str, float]:
    """All monitors of N true pairs ``(N, D)``; the effective ranks are centred."""
    sides = {"video": videos, "report": reports}
    spread = {f"uniformity_{name}": uniformity(side) for name, side in sides.items()}
    ranks = {f"effective_rank_{name}": effective_rank(side, centred=True) for name, side in sides.items()}
    return {"alignment": alignment(videos, reports)} | spread | ranks


def _directions(embeddings: ArrayLike) -> Floats:
    matrix = _checked(embeddings)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if bad := int((lengths == 0).sum()):
        raise DataError(f"{bad} of {len(matrix)} embeddings are zero: expected vectors with a direction")
    return matrix / lengths


def _checked(embeddings: ArrayLike) -> Floats:
    matrix = np.asarray(embeddings, float)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DataError(f"embeddings {matrix.shape}: expected (N, D), not empty")
    if bad := int((~np.isfinite(matrix).all(axis=1)).sum()):
        raise DataError(f"{bad} of {len(matrix)} embeddings are not finite")
    return matrix
