"""The baseline that has learnt nothing: Otsu's threshold and a watershed on the distance inside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects

from mtl.errors import DataError
from mtl.inference.histology.decoding import depth_of, flooded_from_peaks
from mtl.inference.segments import drop_small

DARK = 0.3  # median brightness below which a picture is taken as fluorescence: bright nuclei on black


def otsu_nuclei(
    image: NDArray[np.uint8], min_distance: int = 5, sigma: float = 1.0, min_size: int = 20
) -> NDArray[np.int32]:
    """Instance ids ``(H, W)``, 1..N, of an image uint8 ``(H, W, 3)``.

    Stained tissue is thresholded in its haematoxylin (Ruifrok and Johnston 2001), a dark picture in its
    brightness; touching nuclei part between the peaks of the distance inside the mask (Vincent and Soille
    1991).

    Args:
        min_distance: pixels between two peaks.
        sigma: smoothing before the threshold, in pixels.
        min_size: pixels; smaller instances are dropped.

    Raises:
        DataError: an image that is not uint8 ``(H, W, 3)``.
    """
    stain = gaussian_filter(nuclear_stain(image), sigma)
    if np.ptp(stain) == 0:
        return np.zeros(stain.shape, np.int32)
    mask = binary_fill_holes(stain > threshold_otsu(stain))
    mask = remove_small_objects(mask, max_size=max(min_size - 1, 0))
    return drop_small(flooded_from_peaks(depth_of(mask), mask, min_distance), min_size)


def nuclear_stain(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What is high in nuclei, ``(H, W)``: haematoxylin, or brightness where the picture is dark."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"image {image.dtype} {image.shape}: uint8 (H, W, 3) is expected")
    brightness = image.mean(axis=2) / 255
    return brightness if np.median(brightness) < DARK else rgb2hed(image)[..., 0]
