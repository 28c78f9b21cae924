r"""Instances from a probability and, where there is one, from the map of the inside of nuclei.

``components``: connected pixels above the threshold are one nucleus. ``watershed``: markers are the connected
pixels where the distance map says "near a centre", :math:`\hat h < \text{marker}`; a component without any is
one nucleus by itself; the map is flooded from the markers inside the thresholded mask, so that nuclei part
where it is highest. For two signed maps the marker-controlled watershed of HoVer-Net (Graham et al. 2019), as
MONAI has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

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
        if not by_watershed or not self.mask.any():
            return self.parts
        if len(self.hv_map) == 1:
            inside = (self.distance < decoding.marker) & self.mask
            return watershed(self.distance, self._markers(inside), mask=self.mask)
        energy, border = self.border_energy
        return watershed(energy, self._markers(self.mask & (border < decoding.marker)), mask=self.mask)

    @cached_property
    def distance(self) -> NDArray[np.float32]:
        """The map, smoothed inside the mask alone: outside, it was never learnt and is no distance."""
        weight = np.maximum(gaussian_filter(self.mask.astype(np.float32), SMOOTHING), 1e-6)
        inside = np.where(self.mask, np.asarray(self.hv_map[0], np.float32), 0)
        return gaussian_filter(inside, SMOOTHING) / weight

    @cached_property
    def border_energy(self) -> tuple[NDArray, NDArray]:
        """Energy to flood, and a border map: high where a signed map jumps back from 1 to -1."""
        from monai.apps.pathology.transforms.post.array import GenerateDistanceMap, GenerateInstanceBorder

        shown = self.mask[None].astype(np.float32)
        border = GenerateInstanceBorder(kernel_size=5)(shown, np.asarray(self.hv_map, np.float32))
        return np.asarray(GenerateDistanceMap()(shown, border))[0], np.asarray(border)[0]

    def _markers(self, inside: NDArray[np.bool_]) -> NDArray:
        """Connected parts of ``inside``, and every component of the mask that has none."""
        markers = label(inside, connectivity=1)
        has_marker = np.zeros(self.parts.max() + 1, bool)
        has_marker[self.parts[inside]] = True
        without = ~has_marker[self.parts] & self.mask
        return np.where(without, self.parts + markers.max(), markers)
