"""Random but repeatable changes of a crop: the grid's own symmetries, and the grey scale.

Only moves that carry the voxel grid onto itself are used: flips, and exchanges of axes with equal spacing
(together all 90-degree rotations and their mirror images). Labels need no interpolation, and spacing and
membrane width stay true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Symmetry:
    """One move of the grid: output axis i is input axis ``axes[i]``, then reversed where ``flips[i]``."""

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """The moved array, contiguous."""
        step = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return np.ascontiguousarray(array.transpose(self.axes)[step])

    def source_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Size of the input that gives an output of ``size``."""
        lengths = [0] * len(size)
        for axis, length in zip(self.axes, size, strict=True):
            lengths[axis] = int(length)
        return tuple(lengths)


def identity(n_axes: int) -> Symmetry:
    """The move that changes nothing."""
    return Symmetry(tuple(range(n_axes)), (False,) * n_axes)


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the changes; every draw comes from the generator that is passed in.

    ``flips`` and ``rotations`` switch the moves; ``gamma`` (log), ``contrast`` (relative) and ``brightness``
    (of the range [0, 1]) are half-widths of uniform draws; ``noise`` is the largest standard deviation;
    ``blur`` the largest Gaussian width in voxels within the plane, applied to one crop in four.
    """

    flips: bool = True
    rotations: bool = True
    gamma: float = 0.2
    contrast: float = 0.2
    brightness: float = 0.1
    noise: float = 0.04
    blur: float = 0.8

    def draw_symmetry(
        self, spacing: Sequence[float], size: Sequence[int], limits: Sequence[int], rng: np.random.Generator
    ) -> Symmetry:
        """A random move that keeps ``spacing`` and whose input of the crop ``size`` fits into ``limits``."""
        choices = [
            axes
            for axes in permutations(range(len(size)))
            if all(spacing[a] == spacing[i] for i, a in enumerate(axes))
            and all(size[i] <= limits[a] for i, a in enumerate(axes))
        ]
        axes = choices[rng.integers(len(choices))]
        flips = tuple(bool(flip) for flip in rng.random(len(size)) < 0.5)
        return Symmetry(
            axes if self.rotations else tuple(range(len(size))),
            flips if self.flips else (False,) * len(size),
        )

    def recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change the grey scale of an image float32 ``(*sp)`` in [0, 1]; the result stays in it."""
        curved = np.power(image, np.float32(np.exp(rng.uniform(-self.gamma, self.gamma))))
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        middle = float(curved.mean())
        changed = (curved - middle) * gain + middle + rng.uniform(-self.brightness, self.brightness)
        width = rng.uniform(0, self.blur) if rng.random() < 0.25 else 0.0
        if width > 0.2:
            changed = gaussian_filter(changed, [0.0] * (image.ndim - 2) + [width, width])
        grain = rng.uniform(0, self.noise) * rng.standard_normal(image.shape, dtype=np.float32)
        return np.clip(changed + grain, 0, 1).astype(np.float32)
