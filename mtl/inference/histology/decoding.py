r"""Instances from a probability and, where there is one, from the map of the inside of nuclei.

``components``: connected pixels above the threshold are one nucleus. ``watershed``: markers are the connected
pixels where the distance map says "near a centre", :math:`\hat h < \text{marker}`; a component without any is
one nucleus by itself; the map is flooded from the markers inside the thresholded mask, so that nuclei part
where it is highest. For two signed maps the marker-controlled watershed of HoVer-Net (Graham et al. 2019), as
MONAI has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter
from skimage.measure import label
from skimage.segmentation import watershed

from mtl.errors import ParameterError
from mtl.inference.segments import drop_small

METHODS = ("components", "watershed")
SMOOTHING = 1.0  # pixels, of the distance map

Instances = NDArray[np.int32]


@dataclass(frozen=True)
class Decoding:
    """How instances are made; every number is to be chosen on validation images.

    Args:
        method: ``components`` or ``watershed``.
        threshold: of the probability.
        marker: of the distance map (below: a marker), or of HoVer-Net's marker map (above).
        min_size: pixels; smaller instances are dropped.

    Raises:
        ParameterError: names the field that is out of range.
    """

    method: str = "watershed"
    threshold: float = 0.5
    marker: float = 0.6
    min_size: int = 20

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ParameterError(f"method: {self.method!r} is not one of {', '.join(METHODS)}")
        for name in ("threshold", "marker"):
            if not 0 < getattr(self, name) < 1:
                raise ParameterError(f"{name} = {getattr(self, name)}: between 0 and 1 is expected")


def decode(
    probability: NDArray[np.floating], hv_map: NDArray[np.floating] | None, decoding: Decoding
) -> Instances:
    """Instance ids ``(H, W)``, 1..N, 0 background.

    probability: ``(H, W)``; hv_map: ``(1, H, W)``, ``(2, H, W)``, or None with ``components``.
    Raises ParameterError where ``watershed`` has no map.
    """
    mask = binary_fill_holes(np.asarray(probability) > decoding.threshold)
    if decoding.method == "components":
        return drop_small(label(mask, connectivity=1), decoding.min_size)
    if hv_map is None:
        raise ParameterError("method 'watershed' needs the network's hv_map: return_hv=True is expected")
    flood = _by_distance if len(hv_map) == 1 else _by_hover
    return drop_small(flood(mask, np.asarray(hv_map, np.float32), decoding), decoding.min_size)


def _by_distance(mask: NDArray[np.bool_], hv_map: NDArray, decoding: Decoding) -> NDArray:
    # Smoothed inside the mask alone: outside, the map was never learnt and is no distance.
    weight = np.maximum(gaussian_filter(mask.astype(np.float32), SMOOTHING), 1e-6)
    distance = gaussian_filter(np.where(mask, hv_map[0], 0), SMOOTHING) / weight
    return watershed(distance, _markers(mask, (distance < decoding.marker) & mask), mask=mask)


def _by_hover(mask: NDArray[np.bool_], hv_map: NDArray, decoding: Decoding) -> NDArray:
    """Border energy is high where a signed map jumps back from 1 to -1."""
    from monai.apps.pathology.transforms.post.array import GenerateDistanceMap, GenerateInstanceBorder

    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    shown = mask[None].astype(np.float32)
    border = GenerateInstanceBorder(kernel_size=5)(shown, hv_map)
    energy = np.asarray(GenerateDistanceMap()(shown, border))[0]
    inside = mask & (np.asarray(border)[0] < decoding.marker)
    return watershed(energy, _markers(mask, inside), mask=mask)


def _markers(mask: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray:
    """Connected parts of ``inside``, and every component of the mask that has none."""
    markers, parts = label(inside, connectivity=1), label(mask, connectivity=1)
    has_marker = np.zeros(parts.max() + 1, bool)
    has_marker[parts[inside]] = True
    without = ~has_marker[parts] & mask
    return np.where(without, parts + markers.max(), markers)
