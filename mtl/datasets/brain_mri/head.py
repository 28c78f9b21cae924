"""Where the head is: foreground against black, grey or white surroundings, frames and captions.

Pictures from the web carry white bars, frames, ruler ticks and letters, and their background may be black,
grey or white. The background is therefore what is *connected to the rim* and dark, or white and in a corner;
the head is the largest thing that remains.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

WORKING_SIDE = 192
MIN_SHARE = 0.04
RIM = 0.03
CORNER = 0.1
CLOSING = 2


def head_mask(image: np.ndarray, threshold: float = 0.12) -> np.ndarray:
    """Mask of the head in a grey slice, bool ``(H, W)``.

    Worked out on a copy of at most 192 pixels a side. ``threshold``: how far above the background level the
    head begins, as a share of the range up to the 99th percentile. Where nothing is left (a slice that fills
    its frame without any edge), everything is head.
    """
    small = _shrunk(image)
    surface = _without_white(small)
    surface = np.where(surface < 0, surface, ndimage.median_filter(surface, 3))
    level = _background_level(surface)
    top = np.percentile(surface, 99)
    dark = surface <= level + threshold * max(top - level, 1e-6)
    bright = ndimage.binary_closing(np.pad(~dark, CLOSING), iterations=CLOSING)[
        CLOSING:-CLOSING, CLOSING:-CLOSING
    ]
    outside = _reaching(~bright | (surface < 0), _rim(surface.shape))
    mask = _largest(~outside)
    if mask.mean() < MIN_SHARE:
        mask = np.ones_like(mask)
    full = Image.fromarray(mask.astype(np.float32)).resize(image.shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(full) > 0.5


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Bounding box ``(top, left, bottom, right)`` of a mask, the last two exclusive."""
    (rows,), (columns,) = np.nonzero(mask.any(1)), np.nonzero(mask.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _shrunk(image: np.ndarray) -> np.ndarray:
    ratio = min(1.0, WORKING_SIDE / max(image.shape))
    size = [max(2, round(side * ratio)) for side in image.shape[::-1]]
    picture = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BOX))


def _without_white(image: np.ndarray) -> np.ndarray:
    """Scaled to 0..1; flat saturated areas in a corner (paper, bars, frames) become -1."""
    low, high = image.min(), image.max()
    scaled = (image - low) / (high - low)
    thick = ndimage.binary_opening(np.pad(scaled > 0.93, 8, mode="edge"), iterations=5)[8:-8, 8:-8]
    rim = _rim(image.shape, CORNER)
    corners = rim.all(0, keepdims=True) & rim.all(1, keepdims=True)
    paper = _reaching(thick, corners)
    return np.where(ndimage.binary_dilation(paper, iterations=2), -1.0, scaled).astype(np.float32)


def _background_level(surface: np.ndarray) -> float:
    """Grey level of the surroundings: dark for the rim, and dark for the picture; paper left out."""
    inside = surface >= 0
    rim = surface[_rim(surface.shape) & inside]
    everywhere = float(np.percentile(surface[inside], 15))
    return min(float(np.percentile(rim, 35)), everywhere) if rim.size else everywhere


def _rim(shape: tuple[int, ...], share: float = RIM) -> np.ndarray:
    """The outermost strip of a picture: background begins here, also where a thin frame is drawn round it."""
    width = max(1, round(share * min(shape)))
    rim = np.ones(shape, bool)
    rim[width:-width, width:-width] = False
    return rim


def _reaching(mask: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The components of ``mask`` that reach ``where``."""
    labels, _ = ndimage.label(mask)
    return np.isin(labels, np.unique(labels[where & mask]))


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest component after thin things (ticks, letters, arrows) are opened away, holes filled."""
    radius = max(1, min(mask.shape) // 64)
    opened = ndimage.binary_opening(np.pad(mask, radius, mode="edge"), iterations=radius)
    opened = opened[radius:-radius, radius:-radius]
    labels, count = ndimage.label(opened)
    if count == 0:
        return opened
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(labels == sizes.argmax())
