"""Pictures without the head: what a classifier could learn from the surroundings alone.

If such pictures tell the classes apart, the score of whole pictures is suspect (Maguolo and Nanni,
Information Fusion 2021, blacked out the lungs of chest X-rays and still told the data sets apart). Background
here is what lies outside `head_mask`, widened by a rim, so that no pixel of the skin is left.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from mtl.datasets.brain_mri.normalisation import BrainNormalisation

RIM = 0.02


def widened_head(image: np.ndarray, normalisation: BrainNormalisation) -> np.ndarray:
    """The head and a rim around it (2 % of the shorter side, at least 1 pixel), bool ``(H, W)``."""
    reach = max(1, round(RIM * min(image.shape)))
    return ndimage.binary_dilation(normalisation.brain_mask(image), iterations=reach)


def native_background(image: np.ndarray, size: int, normalisation: BrainNormalisation) -> np.ndarray:
    """Native slice ``(H, W)`` with the head blanked: float32 ``(size, size)``, grey values as scanned.

    Not normalised on purpose: padding, frames, captions, noise and grey scale stay. Nor scaled by anything
    measured on the whole picture: a bright tumour would then dim its background and so show in it. The head
    is 0 before the picture is resized, so that nothing of it bleeds out. Raises `DataError` for an image
    with nothing in it.
    """
    blanked = np.where(widened_head(image, normalisation), 0, image).astype(np.float32)
    return _resized(blanked, size)


def prepared_background(image: np.ndarray, size: int, normalisation: BrainNormalisation) -> np.ndarray:
    """What the study's own preparation leaves of the background: float32 ``(size, size)``.

    The slice is normalised, then its head is blanked with the background's constant. Raises `DataError` as
    ``BrainNormalisation.prepare`` does.
    """
    normalised = normalisation.normalise(image)
    blanked = np.where(widened_head(image, normalisation), normalisation.background, normalised)
    return _resized(blanked.astype(np.float32), size)


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX), dtype=np.float32)
