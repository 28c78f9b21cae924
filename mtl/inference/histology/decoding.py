r"""Instances from a probability and, where there is one, from the map of the inside of nuclei.

``components``: connected pixels above the threshold are one nucleus. ``shape``: touching ones part
between the peaks of the distance :math:`d` to the edge of the thresholded mask (Vincent and Soille 1991),
for which no map is needed. ``watershed``: they part between the valleys of the network's distance map
:math:`\hat h`, which is low near centres. Either way a height (:math:`d`, or :math:`1 - \hat h`) is
flooded inside the mask from its peaks, which are ``min_distance`` pixels apart; a component without any
is one nucleus by itself. For two signed maps ``watershed`` is the marker-controlled one of HoVer-Net
(Graham et al. 2019), as MONAI has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter
from skimage.feature import peak_local_max
from skimage.measure import label
from skimage.segmentation import watershed

from mtl.errors import ParameterError
from mtl.inference.segments import drop_small

METHODS = ("components", "shape", "watershed")
SMOOTHING = 1.0  # pixels, of what is flooded

Instances = NDArray[np.int32]


@dataclass(frozen=True)
class Decoding:
    """How instances are made; every number is to be chosen on validation images.

    Args:
        method: ``components``, ``shape`` or ``watershed``.
        threshold: of the probability.
        min_distance: pixels between two peaks; without effect on ``components`` and on two signed maps.
        marker: of the border map of two signed maps: what lies below is a marker.
        min_size: pixels; smaller instances are dropped.

    Raises:
        ParameterError: names the field that is out of range.
    """

    method: str = "watershed"
    threshold: float = 0.5
    min_distance: int = 5
    marker: float = 0.4
    min_size: int = 20

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ParameterError(f"method: {self.method!r} is not one of {', '.join(METHODS)}")
        for name in ("threshold", "marker"):
            if not 0 < getattr(self, name) < 1:
                raise ParameterError(f"{name} = {getattr(self, name)}: between 0 and 1 is expected")
        if self.min_distance < 1:
            raise ParameterError(f"min_distance = {self.min_distance}: at least 1 pixel is expected")


def decode(
    probability: NDArray[np.floating], hv_map: NDArray[np.floating] | None, decoding: Decoding
) -> Instances:
    """Instance ids ``(H, W)``, 1..N, 0 background.

    probability: ``(H, W)``; hv_map: ``(1, H, W)``, ``(2, H, W)``, or None with ``components``.
    Raises ParameterError where ``watershed`` has no map.
    """
    return next(decode_each(probability, hv_map, [decoding]))


def decode_each(
    probability: NDArray[np.floating], hv_map: NDArray[np.floating] | None, decodings: Iterable[Decoding]
) -> Iterator[Instances]:
    """As ``decode`` by each of the decodings; what those of one threshold share is worked out once."""
    above: dict[float, _Foreground] = {}
    for decoding in decodings:
        found = above.setdefault(decoding.threshold, _Foreground(probability, hv_map, decoding.threshold))
        yield drop_small(found.instances(decoding), decoding.min_size)


class _Foreground:
    """What lies above a threshold, and what floods it; each worked out when it is first asked for."""

    def __init__(
        self, probability: NDArray[np.floating], hv_map: NDArray[np.floating] | None, threshold: float
    ) -> None:
        self.probability, self.hv_map, self.threshold = probability, hv_map, threshold

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        return binary_fill_holes(np.asarray(self.probability) > self.threshold)

    @cached_property
    def parts(self) -> NDArray:
        """Its connected components."""
        return label(self.mask, connectivity=1)

    def instances(self, decoding: Decoding) -> NDArray:
        by_watershed = decoding.method == "watershed"
        if by_watershed and self.hv_map is None:
            raise ParameterError("method 'watershed' needs the network's hv_map: return_hv=True is expected")
        if decoding.method == "components" or not self.mask.any():
            return self.parts
        if by_watershed and len(self.hv_map) == 2:
            energy, border = self.border_energy
            markers = _with_every_part(self.mask & (border < decoding.marker), self.parts)
            return watershed(energy, markers, mask=self.mask)
        height = self.valleys if by_watershed else self.depth
        return flooded_from_peaks(height, self.mask, decoding.min_distance, self.parts)

    @cached_property
    def depth(self) -> NDArray[np.float64]:
        """Pixels from the edge of the mask."""
        return depth_of(self.mask)

    @cached_property
    def valleys(self) -> NDArray[np.float32]:
        """1 - map, smoothed inside the mask alone: outside, it was never learnt and is no distance."""
        weight = np.maximum(gaussian_filter(self.mask.astype(np.float32), SMOOTHING), 1e-6)
        inside = np.where(self.mask, 1 - np.asarray(self.hv_map[0], np.float32), 0)
        return gaussian_filter(inside, SMOOTHING) / weight

    @cached_property
    def border_energy(self) -> tuple[NDArray, NDArray]:
        """Energy to flood, and a border map: high where a signed map jumps back from 1 to -1."""
        from monai.apps.pathology.transforms.post.array import GenerateDistanceMap, GenerateInstanceBorder

        shown = self.mask[None].astype(np.float32)
        border = GenerateInstanceBorder(kernel_size=5)(shown, np.asarray(self.hv_map, np.float32))
        return np.asarray(GenerateDistanceMap()(shown, border))[0], np.asarray(border)[0]


def depth_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each pixel ``(H, W)`` from the edge of the mask, slightly smoothed."""
    return gaussian_filter(distance_transform_edt(mask), SMOOTHING)


def flooded_from_peaks(
    height: NDArray[np.floating], mask: NDArray[np.bool_], min_distance: int, parts: NDArray | None = None
) -> NDArray[np.int32]:
    """The mask ``(H, W)`` parted between peaks of ``height``; 0 outside.

    min_distance: pixels between two peaks. parts: connected components of the mask, where they are at hand.
    """
    peaks = peak_local_max(height, min_distance=min_distance, labels=mask.astype(int), exclude_border=False)
    inside = np.zeros(mask.shape, bool)
    inside[tuple(peaks.T)] = True
    markers = _with_every_part(inside, label(mask, connectivity=1) if parts is None else parts)
    return watershed(-height, markers, mask=mask)


def _with_every_part(inside: NDArray[np.bool_], parts: NDArray) -> NDArray:
    """Connected parts of ``inside`` as markers, and every component of ``parts`` that has none."""
    markers = label(inside, connectivity=1)
    has_marker = np.zeros(parts.max() + 1, bool)
    has_marker[parts[inside]] = True
    without = ~has_marker[parts] & (parts > 0)
    return np.where(without, parts + markers.max(), markers)
