"""Slices of an image and overlays of labels as small PNG files: what travels to the browser."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from mtl.errors import DataError, ParameterError

# Okabe and Ito (2008), "Color Universal Design". The mask has sky blue for itself, light on grey and on H&E.
MASK_COLOUR = "#56B4E9"
INSTANCE_COLOURS = ("#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")
POSITIVE_COLOUR, NEGATIVE_COLOUR = "#0072B2", "#D55E00"
INSIDE = 120  # alpha of an object's inside; its border has 255, so it shows at every opacity
SMALL = 4096  # labels below need no sorting
MOST_COLOURS = 127  # two entries each in a PNG's palette of 256


@dataclass(frozen=True)
class Picture:
    """An image or a volume, and the grey values that are shown black and white.

    ``voxels``: ``(Z,Y,X)`` or ``(Z,Y,X,3)``. ``flat``: one image, given without z.
    """

    voxels: np.ndarray
    flat: bool
    window: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        return self.voxels.shape[:3]

    def pixels(self, z: int) -> np.ndarray:
        """``(Y,X)`` or ``(Y,X,3)`` uint8: slice ``z`` as it is shown; what is not finite is black."""
        values = self.voxels[z]
        if values.dtype == np.uint8 and self.window == (0.0, 255.0):
            return values
        low, high = self.window
        exact = np.float32 if values.dtype.itemsize < 4 or values.dtype == np.float32 else np.float64
        scaled = np.nan_to_num((values.astype(exact) - low) * (255.0 / (high - low)))
        return np.rint(scaled.clip(0, 255)).astype(np.uint8)

    def png(self, z: int) -> bytes:
        """Slice ``z`` as a PNG file."""
        return png_bytes(Image.fromarray(np.ascontiguousarray(self.pixels(z))))

    def stack(self, labels: Any, name: str) -> np.ndarray:
        """``labels`` as ``(Z,Y,X)``; ``name`` is for the message.

        Raises:
            DataError: neither bool nor whole numbers, or not of the image's shape.
        """
        labels = np.asarray(labels)
        expected = self.shape[1:] if self.flat else self.shape
        if labels.shape != expected:
            raise DataError(f"{name} has shape {labels.shape}; the image's {expected} is expected")
        if labels.dtype.kind not in "bui":
            raise DataError(f"{name} is {labels.dtype}; bool or whole numbers are expected")
        return labels.reshape(self.shape)


def checked_picture(image: Any, window: tuple[float, float] | None = None) -> Picture:
    """An image ``(Y,X)`` or ``(Y,X,3)`` or a volume ``(Z,Y,X)`` or ``(Z,Y,X,3)``, ready to be shown.

    ``window``: the grey values shown as black and white. By default 0 to 255 for uint8, 0 to 1 for floats
    that lie within, else the lowest to the highest finite value. A last axis of length 3 is colour.

    Raises:
        DataError: other axes, no pixels, or neither bool nor numbers.
        ParameterError: ``window`` is not two numbers, the lower one first.
    """
    try:
        voxels = np.asarray(image)
    except ValueError as error:
        raise DataError(f"an image of rows of different lengths ({error})") from error
    spatial = voxels.shape[:-1] if voxels.ndim > 2 and voxels.shape[-1] == 3 else voxels.shape
    if len(spatial) not in (2, 3) or not voxels.size:
        raise DataError(f"an image of shape {voxels.shape}: (Y,X), (Y,X,3), (Z,Y,X) or (Z,Y,X,3) is expected")
    if voxels.dtype.kind not in "buif":
        raise DataError(f"an image of {voxels.dtype}: whole numbers, floats or bool are expected")
    flat = len(spatial) == 2
    return Picture(voxels[None] if flat else voxels, flat, checked_window(voxels, window))


def checked_window(voxels: np.ndarray, window: tuple[float, float] | None) -> tuple[float, float]:
    """``window``, or the default for these voxels; always (lower, higher)."""
    if window is not None:
        try:
            low, high = (float(value) for value in window)
        except (TypeError, ValueError):
            low = high = np.nan
        if not -np.inf < low < high < np.inf:
            raise ParameterError(
                f"window = {window!r}: two grey values (black, white), both finite, are expected"
            )
        return low, high
    if voxels.dtype == np.uint8:
        return 0.0, 255.0
    finite = voxels[np.isfinite(voxels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if voxels.dtype.kind in "bf" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + max(1.0, 1e-6 * abs(low)))


def overlay_png(labels: np.ndarray, colours: Mapping[int, str] | None = None) -> bytes:
    """Labels ``(Y,X)``, 0 for nothing, as a PNG with transparency: objects with a firmer border.

    ``colours``: "#rrggbb" of some labels; the others take turns in ``INSTANCE_COLOURS``.
    """
    palette, indices = coloured(labels, colours or {})
    picture = Image.fromarray(np.where(indices > 0, 2 * indices - 1 + border(labels), 0), "P")
    shades = [ImageColor.getrgb(colour) for colour in palette for _ in range(2)]
    picture.putpalette([0, 0, 0, *(value for shade in shades for value in shade)])
    return png_bytes(picture, transparency=bytes([0, *([INSIDE, 255] * len(palette))]))


def coloured(labels: np.ndarray, colours: Mapping[int, str]) -> tuple[list[str], np.ndarray]:
    """The palette, and for every pixel the place of its colour therein from 1 on; 0 for nothing."""
    palette = list(dict.fromkeys([*INSTANCE_COLOURS, *colours.values()]))
    for colour in palette:
        try:
            ImageColor.getrgb(colour)
        except (AttributeError, ValueError):
            raise ParameterError(f'colour of an instance {colour!r}: "#rrggbb" is expected') from None
    if len(palette) > MOST_COLOURS:
        raise ParameterError(f"{len(palette)} colours of instances; at most {MOST_COLOURS} can be shown")
    found, inverse = occurring(labels)
    turns = len(INSTANCE_COLOURS)
    places = [
        0 if not label else palette.index(colours[label]) + 1 if label in colours else (label - 1) % turns + 1
        for label in found.tolist()
    ]
    return palette, np.asarray(places, dtype=np.uint8)[inverse].reshape(labels.shape)


def occurring(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that cover all labels, and where every pixel's is among them; small ones need no sorting."""
    small = labels.view(np.uint8) if labels.dtype == bool else labels
    if labels.size and small.min() >= 0 and small.max() < SMALL:
        return np.arange(int(small.max()) + 1), small
    return np.unique(labels, return_inverse=True)


def border(labels: np.ndarray) -> np.ndarray:
    """``(Y,X)`` bool: pixels of an object of which one of the four neighbours belongs to something else."""
    edge = np.zeros(labels.shape, dtype=bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = labels[one] != labels[other]
        edge[one] |= differs
        edge[other] |= differs
    return edge & (labels != 0)


def png_bytes(picture: Image.Image, **options: Any) -> bytes:
    """A PNG file, packed for speed rather than size."""
    target = io.BytesIO()
    picture.save(target, format="png", compress_level=1, **options)
    return target.getvalue()
