"""Seeded watershed, the baseline that a network has to beat: on smoothed intensity, or on its own boundary.

Both are one procedure on a map that is high inside of cells and low on membranes: the image itself (stained
membranes are dark), or the predicted foreground probability. Seeds are the deepest points of the inside;
basins are flooded from there (Beucher and Lantuejoul 1979, scikit-image), and basins that too weak a wall
parts are merged if so wished. The parameters are tuned on a validation part (`mtl.evaluation.em.tuning`), the
same for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from mtl.errors import DataError, ParameterError
from mtl.inference.em.weak_walls import merge_across_weak_walls
from mtl.inference.segments import drop_small, grow


def watershed_grid(spacing: Sequence[float]) -> list[dict[str, list[float | None]]]:
    """The grids that both watersheds are tuned over: lengths in multiples of the finest voxel side, in nm.

    Few seeds, each of which is to be an instance; or many, and basins merged across weak walls.
    """
    finest = min(spacing)
    few = {
        "sigma": [finest, 2 * finest, 4 * finest],
        "seed_distance": [5 * finest, 10 * finest, 20 * finest, 40 * finest],
        "membrane_share": [None, 0.2, 0.35, 0.5],
    }
    many = {
        "sigma": [finest, 2 * finest],
        "seed_distance": [5 * finest, 10 * finest],
        "wall_share": [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4],
    }
    return [few, many]


def watershed_instances(
    inside: NDArray[np.floating],
    spacing: Sequence[float],
    *,
    sigma: float,
    seed_distance: float,
    membrane_share: float | None = None,
    wall_share: float | None = None,
    min_size: int = 50,
) -> NDArray[np.int32]:
    """Instances (*sp), ids 1..K; no voxel is background.

    inside (*sp) float: high inside of cells, low on membranes (image, or foreground probability).
    spacing: nm along each axis. sigma: Gaussian smoothing (nm; 0: none). seed_distance: a seed is the
    highest voxel within this distance (nm).
    membrane_share: share of the voxels, the lowest after smoothing, taken for membrane; what is flooded then
    is the distance (nm) to them; None: the smoothed map itself.
    wall_share: basins are merged, the weakest wall first, while the map along a wall is on average above this
    quantile of the map; None: none are merged.
    min_size: smaller segments (voxels) go to their neighbours.
    Raises DataError where the spacing does not fit; ParameterError for values out of range.
    """
    _check(inside, spacing, sigma, seed_distance, membrane_share=membrane_share, wall_share=wall_share)
    smooth = np.asarray(inside, np.float32)
    if sigma > 0:
        smooth = ndimage.gaussian_filter(smooth, [sigma / s for s in spacing])
    depth = smooth if membrane_share is None else _distance(smooth, spacing, membrane_share)
    seeds = _seeds(depth, spacing, seed_distance)
    labels = watershed(-depth, seeds)
    if wall_share is not None:
        labels = merge_across_weak_walls(labels, inside, float(np.quantile(inside, wall_share)))
    labels = drop_small(labels, min_size)
    return grow(labels, np.ones(labels.shape, bool))


def _distance(smooth: NDArray, spacing: Sequence[float], share: float) -> NDArray[np.float32]:
    """Distance (nm) to the membrane, slightly smoothed: plateaus would give many equal maxima."""
    cell = smooth > np.quantile(smooth, share)
    distance = edt.edt(np.ascontiguousarray(cell), anisotropy=tuple(spacing))
    return ndimage.gaussian_filter(distance, [min(spacing) / s for s in spacing])


def _seeds(depth: NDArray, spacing: Sequence[float], distance: float) -> NDArray[np.int32]:
    """Maxima within ``distance`` (nm), numbered; touching ones of a plateau are one."""
    reach = [int(distance // s) for s in spacing]
    window = tuple(2 * n + 1 for n in reach)
    highest = ndimage.maximum_filter(depth, window) == depth
    return ndimage.label(highest, np.ones((3,) * depth.ndim))[0]


def _check(
    inside: NDArray, spacing: Sequence[float], sigma: float, seed_distance: float, **shares: float | None
) -> None:
    if np.ndim(spacing) != 1 or len(spacing) != inside.ndim or not min(spacing) > 0:
        raise DataError(f"spacing {spacing} for a map of {inside.ndim} dimensions: expected nm per axis")
    if np.isnan(inside).any():
        raise DataError("the map holds NaN: expected numbers")
    if not (sigma >= 0 and seed_distance > 0):
        raise ParameterError(
            f"sigma = {sigma}, seed_distance = {seed_distance}: expected 0 or more, and more"
        )
    for name, share in shares.items():
        if share is not None and not 0 < share < 1:
            raise ParameterError(f"{name} = {share}: expected a number between 0 and 1, or None")
