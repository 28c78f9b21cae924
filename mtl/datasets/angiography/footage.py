"""From a recording to a model's clip: frames evenly sampled, scaled to a square, padded around the centre.

Nothing is stretched and nothing is cut away: the longer side becomes ``size`` pixels and black bars (0) of
the same width (to a pixel) fill both sides of the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from mtl.errors import DataError, ParameterError

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Footage:
    """A clip of T frames, and where it comes from in its recording.

    Args:
        frames: float32 ``(T, S, S, 3)`` in [0, 1].
        sampled: int64 ``(T,)``: number of each frame in the recording.
        shape: height and width of the recording, pixels.
    """

    frames: np.ndarray
    sampled: np.ndarray
    shape: tuple[int, int]

    @property
    def video(self) -> torch.Tensor:
        """Float32 ``(3, T, S, S)`` in [0, 1]."""
        return torch.from_numpy(np.ascontiguousarray(self.frames.transpose(3, 0, 1, 2)))

    def position_of(self, frame: int) -> int:
        """The position in the clip (0..T-1) that shows what lies nearest to a frame of the recording."""
        return int(np.abs(self.sampled - frame).argmin())

    def box_of(self, box: Box) -> Box:
        """A box (y0, x0, y1, x1) relative to the recording, as one relative to the padded square."""
        side = self.frames.shape[1]
        top, left, height, width = placement(self.shape, side)
        y0, x0, y1, x1 = box
        return (
            (top + y0 * height) / side,
            (left + x0 * width) / side,
            (top + y1 * height) / side,
            (left + x1 * width) / side,
        )


def sample_positions(length: int, n_frames: int) -> np.ndarray:
    """Numbers (int64, ``(n_frames,)``) of evenly spaced frames: the middles of ``n_frames`` equal stretches.

    All frames in order where ``n_frames`` is ``length``; frames are repeated where the recording is shorter.
    """
    if n_frames < 1:
        raise ParameterError(f"n_frames={n_frames}: at least 1 is expected")
    return ((2 * np.arange(n_frames) + 1) * length // (2 * n_frames)).astype(np.int64)


def placement(shape: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a picture of ``shape`` inside the square of ``size`` pixels."""
    longest = max(shape)
    height, width = (max(1, round(side * size / longest)) for side in shape)
    return (size - height) // 2, (size - width) // 2, height, width


def fit_square(image: np.ndarray, size: int) -> np.ndarray:
    """One frame, float32 ``(H, W, 3)``, scaled (bilinear, antialiased) and padded: ``(size, size, 3)``."""
    if image.shape[:2] == (size, size):
        return image
    top, left, height, width = placement(image.shape[:2], size)
    channels_first = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    scaled = interpolate(channels_first, (height, width), mode="bilinear", antialias=True)[0]
    square = np.zeros((size, size, image.shape[2]), np.float32)
    square[top : top + height, left : left + width] = scaled.clamp(0, 1).permute(1, 2, 0).numpy()
    return square


def make_footage(images: Iterable[np.ndarray], n_frames: int, size: int, name: str) -> Footage:
    """Sample and fit frames that come one by one: float32 ``(H, W, 3)`` or ``(H, W)`` in [0, 1].

    Only scaled frames are kept, as 16-bit numbers: 3,000 of 224 pixels take 0.9 GB.
    Raises `DataError`, beginning with ``name``, where there is no frame or the shape changes.
    """
    if size < 1:
        raise ParameterError(f"size={size}: at least 1 pixel is expected")
    kept: list[np.ndarray] = []
    shape: tuple[int, int] = (0, 0)
    for image in images:
        if kept and image.shape[:2] != shape:
            raise DataError(
                f"{name}: frame {len(kept)} has shape {image.shape[:2]}, those before have {shape}"
            )
        shape = (image.shape[0], image.shape[1])
        colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        kept.append(np.round(fit_square(colour, size) * 65535).astype(np.uint16))
    if not kept:
        raise DataError(f"{name}: a clip of zero length; at least one frame is expected")
    sampled = sample_positions(len(kept), n_frames)
    frames = np.stack([kept[number] for number in sampled]).astype(np.float32) / 65535
    return Footage(frames, sampled, shape)


def unit_frames(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Frames of a uint8 array ``(T, H, W)`` or ``(T, H, W, 3)`` one by one, float32 in [0, 1]."""
    for frame in frames:
        yield frame.astype(np.float32) / 255
