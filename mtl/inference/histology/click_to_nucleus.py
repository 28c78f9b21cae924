"""A nucleus that was missed, from one click on it: what the network half believes around the click."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mtl.errors import ParameterError

SHARE = 0.5  # of the probability at the click
FAINTEST = 0.1  # probability at a click from which there is something to follow
RADIUS = 14.0  # pixels, where no nucleus is known whose size could be taken


def nucleus_around(
    probability: NDArray[np.floating],
    place: tuple[int, int],
    taken: NDArray[np.bool_],
    radius: float = RADIUS,
    min_size: int = 20,
) -> NDArray[np.bool_]:
    """Mask ``(H, W)`` of the pixels around a click that are like it.

    Connected to the click, at most ``radius`` pixels away, with at least half of the probability there, and
    not ``taken``; holes are filled, and where that leaves enough thin connections are cut by an opening.

    Args:
        probability: ``(H, W)`` of a nucleus. place: (y, x). taken: ``(H, W)``, pixels of other nuclei.

    Raises:
        ParameterError: the click is outside or in a nucleus, the network sees nothing there, or fewer than
            ``min_size`` pixels are found.
    """
    if not all(0 <= p < side for p, side in zip(place, probability.shape, strict=True)):
        raise ParameterError(f"pixel {place} is outside of the tile of shape {probability.shape}")
    if taken[place]:
        raise ParameterError(f"pixel {place} lies in a nucleus that is outlined already")
    y, x = np.ogrid[: probability.shape[0], : probability.shape[1]]
    near = (y - place[0]) ** 2 + (x - place[1]) ** 2 <= radius**2
    like = near & ~taken & (probability >= SHARE * probability[place])
    if not probability[place] >= FAINTEST:
        raise ParameterError(
            f"at pixel {place} the network sees no nucleus (probability {probability[place]:.2f}): draw its "
            "outline instead"
        )
    mask = ndimage.binary_fill_holes(_part_at(like, place)) & ~taken
    opened = ndimage.binary_opening(mask, iterations=2)
    if opened[place] and (part := _part_at(opened, place)).sum() >= min_size:
        mask = ndimage.binary_dilation(part, iterations=2, mask=mask)
    if mask.sum() < min_size:
        raise ParameterError(
            f"around pixel {place} the network sees {int(mask.sum())} pixels of a nucleus, fewer than "
            f"{min_size}: draw its outline instead"
        )
    return mask


def _part_at(mask: NDArray[np.bool_], place: tuple[int, int]) -> NDArray[np.bool_]:
    parts, _ = ndimage.label(mask)
    return parts == parts[place] if parts[place] else np.zeros_like(mask)
