r"""The one preprocessing of the study, for training and for the predictor alike.

native slice -> head mask -> z-score inside it, clipped -> crop to the head -> pad to a square -> resize.

$$z = \mathrm{clip}\!\left(\frac{x - \mu_M}{\sigma_M},\,-c,\,c\right) \text{ inside the mask } M,
\qquad z = b \text{ outside}$$

Cropping, padding and blanking the background take away what would tell one data source, or one class, from
another without a look at the brain: picture size, borders, frames, captions. $M$ is the *head*: the skull
stays in, because taking it out reliably needs a network of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from mtl.datasets.brain_mri.head import box_of, head_mask
from mtl.errors import DataError, ParameterError


@dataclass(frozen=True)
class Geometry:
    """Where the prepared square lies in the native picture.

    ``shape`` is the native ``(H, W)``; ``top``, ``left``, ``height``, ``width`` the crop in native pixels;
    ``size`` the side of the prepared square, whose centre is the centre of the crop.
    """

    shape: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    size: int

    @property
    def side(self) -> int:
        """Side of the padded square in native pixels."""
        return max(self.height, self.width)

    @property
    def offset(self) -> tuple[int, int]:
        """Rows and columns of padding before the crop inside the square."""
        return (self.side - self.height) // 2, (self.side - self.width) // 2


@dataclass(frozen=True)
class BrainNormalisation:
    """z-score inside the head, clipped, background constant; optionally cropped to the head.

    ``clip``: largest absolute value after the z-score. ``background``: the constant outside the head mask
    (0 is the mean of the head and also what a convolution pads with). ``crop``: cut to the head's bounding
    box (False: only pad to a square). ``margin``: rim around the box, as a share of its longer side.
    ``threshold``: how far above the background level the head begins, as a share of the range up to the 99th
    percentile.
    """

    clip: float = 5.0
    background: float = 0.0
    crop: bool = True
    margin: float = 0.02
    threshold: float = 0.12

    def __post_init__(self) -> None:
        rules = {"clip": self.clip > 0, "margin": 0 <= self.margin < 1, "threshold": 0 < self.threshold < 1}
        rules["background"] = abs(self.background) <= self.clip
        for name, holds in rules.items():
            if not holds:
                raise ParameterError(f"normalisation {name}={getattr(self, name)} is out of range")

    def brain_mask(self, image: np.ndarray) -> np.ndarray:
        """Mask of the head, bool ``(H, W)``; raises `DataError` for an image with nothing in it."""
        return head_mask(_checked(image), self.threshold)

    def normalise(self, image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """z-score inside the head: float32 ``(H, W)`` in ``[-clip, clip]``, ``background`` outside.

        Raises `DataError` for NaN, infinity, a wrong shape or a constant image.
        """
        image = _checked(image)
        mask = head_mask(image, self.threshold) if mask is None else mask
        inside = image[mask].astype(np.float64)
        deviation = inside.std()
        if deviation == 0:
            raise DataError("the image is constant inside the head: there is nothing to normalise")
        scaled = np.clip((image - inside.mean()) / deviation, -self.clip, self.clip)
        return np.where(mask, scaled, self.background).astype(np.float32)

    def prepare(self, image: np.ndarray, size: int) -> tuple[np.ndarray, Geometry]:
        """Make a native slice ``(H, W)`` the network's input: float32 ``(size, size)``, and where it lies.

        The resize is antialiased (bilinear over the footprint of the output pixel). Raises `DataError` as
        `normalise` does.
        """
        image = _checked(image)
        mask = head_mask(image, self.threshold)
        geometry = self._geometry(mask, size)
        square = _square(self.normalise(image, mask), geometry, self.background)
        return _resize(square, (size, size)), geometry

    def prepare_mask(self, mask: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Carry a native mask ``(H, W)`` along: uint8 ``(size, size)``, 1 where over half the pixel is in."""
        if mask.shape != geometry.shape:
            raise DataError(
                f"a mask of shape {mask.shape} does not lie on an image of shape {geometry.shape}"
            )
        square = _square((mask > 0).astype(np.float32), geometry, 0.0)
        area = _resize(square, (geometry.size, geometry.size), Image.Resampling.BOX)
        return (area > 0.5).astype(np.uint8)

    def restore(self, prepared: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Carry a prepared mask or map ``(size, size)`` back to native pixels, 0 outside the square.

        Floating input (probabilities) stays float32; bool and integer masks come back as uint8 of 0/1.
        """
        side, (top, left) = geometry.side, geometry.offset
        square = _resize(prepared.astype(np.float32), (side, side))
        native = np.zeros(geometry.shape, np.float32)
        window = square[top : top + geometry.height, left : left + geometry.width]
        rows = slice(geometry.top, geometry.top + geometry.height)
        native[rows, geometry.left : geometry.left + geometry.width] = window
        return native if np.issubdtype(prepared.dtype, np.floating) else (native > 0.5).astype(np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """The parameters as plain data, for storage beside the model."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BrainNormalisation:
        """Build from plain data; an unknown key raises `ParameterError`."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ParameterError(f"unknown normalisation parameter {', '.join(sorted(unknown))}")
        return cls(**values)

    def _geometry(self, mask: np.ndarray, size: int) -> Geometry:
        height, width = mask.shape
        if not self.crop:
            return Geometry((height, width), 0, 0, height, width, size)
        top, left, bottom, right = box_of(mask)
        rim = round(self.margin * max(bottom - top, right - left))
        top, left = max(top - rim, 0), max(left - rim, 0)
        bottom, right = min(bottom + rim, height), min(right + rim, width)
        return Geometry((height, width), top, left, bottom - top, right - left, size)


def _checked(image: np.ndarray) -> np.ndarray:
    """The image as float32, or a `DataError` that says what is wrong with it."""
    if image.ndim != 2 or min(image.shape) < 2:
        raise DataError(f"expected a grey slice (H, W), not an array of shape {image.shape}")
    if not np.isfinite(image).all():
        raise DataError("the image has NaN or infinite values")
    if image.min() == image.max():
        raise DataError(f"the image is constant (every pixel is {image.flat[0]}): there is no brain in it")
    return image.astype(np.float32, copy=False)


def _square(image: np.ndarray, geometry: Geometry, fill: float) -> np.ndarray:
    """Crop and pad to the square of ``geometry``."""
    top, left = geometry.offset
    square = np.full((geometry.side, geometry.side), fill, np.float32)
    rows = slice(geometry.top, geometry.top + geometry.height)
    window = image[rows, geometry.left : geometry.left + geometry.width]
    square[top : top + geometry.height, left : left + geometry.width] = window
    return square


def _resize(
    image: np.ndarray, shape: tuple[int, int], how: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Antialiased resize of a float32 array; Pillow widens the kernel when it shrinks."""
    picture = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.array(picture.resize((shape[1], shape[0]), how), dtype=np.float32)
