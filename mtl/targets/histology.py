r"""What the second decoder regresses: where in its nucleus a pixel lies. All nuclei at once, by their ids.

With the centroid :math:`c_k` of nucleus :math:`k` and :math:`r(x) = \lVert x - c_k \rVert` in pixels,

.. math:: h(x) = \frac{(r(x) + 10)^2}{\max_{x' \in k} (r(x') + 10)^2}

is the *distance map*: 1 at the nucleus' farthest pixel, least at its centre. The *HoVer maps* of Graham et
al. (*Medical Image Analysis* 2019) are the horizontal and the vertical offset from the centroid, each divided
by its largest size on the same side, so that every nucleus runs from -1 to 1. The centroid is the mean
position, as in the paper's text and in MONAI; the paper's code rounds it to a pixel. Background is 0 in all
maps.

Nuclei that touch have two centroids, because maps are made from instance ids and not from a mask.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtl.targets.instances import Instances, instances_of

OFFSET = 10.0  # pixels
PIXELS = (1.0, 1.0)

Maps = NDArray[np.float32]


def distance_map(instances: ArrayLike) -> Maps:
    """``(1, H, W)`` in [0, 1] from integer ids ``(H, W)``, 0 background. Raises `DataError`."""
    found = instances_of(instances, PIXELS)
    places, number, (y, x) = _foreground(found)
    centres = found.centroids.astype(np.float32)
    squared = (np.hypot(y - centres[number, 0], x - centres[number, 1]) + np.float32(OFFSET)) ** 2
    largest = np.zeros(len(found.counts), np.float32)
    np.maximum.at(largest, number, squared)
    maps = np.zeros((1, *found.ids.shape), np.float32)
    maps.reshape(-1)[places] = squared / largest[number]
    return maps


def hover_maps(instances: ArrayLike) -> Maps:
    """``(2, H, W)`` in [-1, 1], horizontal first, from integer ids ``(H, W)``. Raises `DataError`."""
    found = instances_of(instances, PIXELS)
    places, number, position = _foreground(found)
    maps = np.zeros((2, *found.ids.shape), np.float32)
    for axis, offsets in enumerate(reversed(position)):  # x, then y
        centre, low, high = found.centroids[:, 1 - axis], *_extent(found, 1 - axis)
        away = offsets - centre[number]  # float64: a short side makes its rounding large
        below, above = _inverse(centre - low)[number], _inverse(high - centre)[number]
        maps[axis].reshape(-1)[places] = away * np.where(away < 0, below, above)
    return maps


#: By name, as parameters have it.
HV_MAPS: dict[str, Callable[[ArrayLike], Maps]] = {"distance": distance_map, "hover": hover_maps}


def _foreground(found: Instances) -> tuple[NDArray, NDArray, tuple[NDArray, NDArray]]:
    """Flat index, number and position (y, x) of every pixel of a nucleus."""
    places = np.flatnonzero(found.ids)
    y, x = np.divmod(places.astype(np.int32), np.int32(found.ids.shape[1]))
    return places, found.ids.reshape(-1)[places], (y.astype(np.float32), x.astype(np.float32))


def _extent(found: Instances, axis: int) -> tuple[NDArray, NDArray]:
    """First and last index of every number along an axis."""
    low, high = np.zeros(len(found.counts)), np.zeros(len(found.counts))
    for number, box in found.boxes:
        low[number], high[number] = box[axis].start, box[axis].stop - 1
    return low, high


def _inverse(length: NDArray) -> NDArray[np.float64]:
    """1 / length, and 0 where there is none: a nucleus of one column has no horizontal offset."""
    return np.divide(1, length, out=np.zeros_like(length), where=length > 1e-6)
