r"""How a map of evidence lies on the tumour and on the head: figures of one case.

For a map :math:`A \ge 0` over pixels, a tumour mask :math:`M` and the head :math:`H` (sets of pixels):

.. math::
   \mathrm{hit} = \bigl[\arg\max A \in M\bigr], \qquad
   \mathrm{IoU}_s = \frac{|\{A \ge s \max A\} \cap M|}{|\{A \ge s \max A\} \cup M|}, \qquad
   E(R) = \frac{\sum_{R} A}{\sum A}

*hit* is the pointing game (Zhang et al., IJCV 2018), there with a tolerance of 15 pixels, here with none
unless said; a point thrown blindly into the head hits with probability :math:`|M \cap H| / |H|`.
:math:`E(M)` is the energy-based pointing game (Wang et al., Score-CAM, CVPR workshops 2020) and needs no
threshold; :math:`1 - E(H)` is the share of the evidence outside the head, where there is nothing to see.

A map that is the same everywhere (all zero: nothing speaks for the class) points nowhere: all of its figures
are NaN, to be counted by whoever averages them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, stats

from mtl.errors import DataError, ParameterError
from mtl.evaluation.segmentation import iou

#: Share of a map's maximum from which on a pixel belongs to it; fixed beforehand.
SHARE_OF_MAXIMUM = 0.5
#: What rounding leaves of a map that is the same everywhere, as a share of its maximum.
FLAT = 1e-6


def points_somewhere(cam: ArrayLike) -> bool:
    """Whether a map ``(H, W)`` is defined: not the same everywhere.

    Raises DataError for a map that is not 2-D, not finite or negative somewhere.
    """
    cam = np.asarray(cam)
    if cam.ndim != 2 or not np.isfinite(cam).all() or cam.min() < 0:
        raise DataError(f"map of shape {cam.shape}: expected finite (H,W) without negative values")
    return bool(cam.max() - cam.min() > FLAT * cam.max())


def pointing_hit(cam: ArrayLike, mask: ArrayLike, tolerance: float = 0.0) -> float:
    """Share of the map's maxima within ``tolerance`` pixels of the mask: 1 or 0 where there is one maximum.

    cam, mask: (H,W). Counting tied maxima by share is the expected score of picking one blindly. NaN for a
    map that points nowhere or an empty mask. Raises DataError for unequal shapes.
    """
    cam, mask = _pair(cam, mask)
    if not points_somewhere(cam) or not mask.any():
        return float("nan")
    return float(near(mask, tolerance)[cam == cam.max()].mean())


def hit_by_chance(mask: ArrayLike, head: ArrayLike, tolerance: float = 0.0) -> float:
    """Pointing hit of a point thrown blindly into the head; masks (H,W). NaN if either is empty."""
    mask, head = _pair(mask, head)
    if not (mask.any() and head.any()):
        return float("nan")
    return float(near(mask, tolerance)[head].mean())


def map_iou(cam: ArrayLike, mask: ArrayLike, share: float = SHARE_OF_MAXIMUM) -> float:
    """IoU of the mask with the pixels that reach ``share`` of the map's maximum; NaN as in ``pointing_hit``.

    Raises ParameterError for a share outside (0, 1], DataError for unequal shapes.
    """
    if not 0 < share <= 1:
        raise ParameterError(f"share = {share}, expected a number above 0 and up to 1")
    cam, mask = _pair(cam, mask)
    if not points_somewhere(cam) or not mask.any():
        return float("nan")
    return iou(cam >= share * cam.max(), mask)


def energy_inside(cam: ArrayLike, region: ArrayLike) -> float:
    """Share of the map's sum within a region (H,W); NaN for a map that points nowhere or an empty region."""
    cam, region = _pair(cam, region)
    if not points_somewhere(cam) or not region.any():
        return float("nan")
    return float(cam[region].sum(dtype=np.float64) / cam.sum(dtype=np.float64))


def map_figures(
    cam: ArrayLike, mask: ArrayLike | None, head: ArrayLike, tolerance: float
) -> dict[str, float]:
    """All figures of one map.

    cam, head: (H,W); mask: (H,W), or None where it is unknown; tolerance: pixels of ``pointing_hit_near``.
    Returns ``undefined`` (1 where the map points nowhere), ``pointing_hit``, ``pointing_hit_near``, ``iou``,
    ``energy_inside`` (NaN where the mask is unknown or empty) and ``energy_outside_head``.
    """
    mask = np.zeros(np.shape(cam), bool) if mask is None else mask
    return {
        "undefined": float(not points_somewhere(cam)),
        "pointing_hit": pointing_hit(cam, mask),
        "pointing_hit_near": pointing_hit(cam, mask, tolerance),
        "iou": map_iou(cam, mask),
        "energy_inside": energy_inside(cam, mask),
        "energy_outside_head": 1.0 - energy_inside(cam, head),
    }


def centre_prior(head: ArrayLike) -> NDArray[np.float64]:
    r"""The map of somebody who only knows where the head is: highest at its centre, fading outwards.

    :math:`\exp(-\tfrac12 (x-\mu)^\top \Sigma^{-1} (x-\mu))` with mean and covariance of the head's pixels.
    head: (H,W) mask; returns (H,W) in (0, 1]. Raises DataError where the head is empty or a line.
    """
    head = np.asarray(head, dtype=bool)
    pixels = np.argwhere(head).astype(float)
    covariance = np.cov(pixels.T) if len(pixels) > 2 else np.zeros((2, 2))
    if np.linalg.matrix_rank(covariance) < 2:
        raise DataError(f"a head of {len(pixels)} pixels has no extent: there is no centre to point to")
    offsets = np.indices(head.shape).reshape(2, -1).T - pixels.mean(axis=0)
    squared = np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(covariance), offsets)
    return np.exp(-squared / 2).reshape(head.shape)


def rank_similarity(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Spearman correlation of two maps of each case: (n,h,w) twice -> (n,); NaN where one is constant."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 3:
        raise DataError(f"maps {first.shape} and {second.shape}: expected one shape (n,h,w)")
    a, b = (stats.rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    correlation = np.full(len(a), np.nan)
    return np.divide((a * b).sum(axis=1), spread, out=correlation, where=spread > 0)


def near(mask: ArrayLike, tolerance: float) -> NDArray[np.bool_]:
    """Pixels within ``tolerance`` (Euclidean, pixels) of a mask (H,W); the mask itself at 0.

    Raises ParameterError for a negative tolerance.
    """
    if tolerance < 0:
        raise ParameterError(f"tolerance = {tolerance}, expected 0 or more pixels")
    mask = np.asarray(mask, dtype=bool)
    if tolerance == 0 or not mask.any():
        return mask
    return ndimage.distance_transform_edt(~mask) <= tolerance


def _pair(cam: ArrayLike, mask: ArrayLike) -> tuple[NDArray, NDArray[np.bool_]]:
    cam, mask = np.asarray(cam), np.asarray(mask)
    if cam.shape != mask.shape:
        raise DataError(f"map {cam.shape} and mask {mask.shape}: expected one shape")
    return cam, mask > 0
