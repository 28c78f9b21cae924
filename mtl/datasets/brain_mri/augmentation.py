"""Random but repeatable changes of a prepared slice: placement, grey scale, noise, sharpness.

The placement is one affine map, applied to image and mask alike (bilinear for the image, nearest neighbour
for the mask); it costs one `grid_sample`, well under a millisecond at 128 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import affine_grid, grid_sample


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the changes; every draw comes from the generator given to `__call__`.

    ``flip``: probability of a left-right mirror. ``degrees``, ``scale``, ``shift`` (share of the side) and
    ``shear``: half-widths of uniform draws. ``gamma`` (log), ``contrast`` (relative), ``brightness`` and
    ``noise`` (in standard deviations of the head): grey-scale changes inside the head. ``blur``: largest
    Gaussian width in pixels, applied to one slice in four. ``background`` and ``clip`` are those of the
    normalisation: the background stays constant, values stay in range.
    """

    flip: float = 0.5
    degrees: float = 12.0
    scale: float = 0.12
    shift: float = 0.05
    shear: float = 0.06
    gamma: float = 0.2
    contrast: float = 0.15
    brightness: float = 0.15
    noise: float = 0.08
    blur: float = 0.8
    background: float = 0.0
    clip: float = 5.0

    def __call__(
        self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Change a prepared image, float32 ``(S, S)``, and its mask, uint8 ``(S, S)`` or ``None``.

        The draws do not depend on whether there is a mask.
        """
        image = self._recoloured(image, rng)
        matrix = self._matrix(rng)
        moved = _placed(image - self.background, matrix, "bilinear") + self.background
        if mask is None:
            return moved, None
        return moved, (_placed(mask.astype(np.float32), matrix, "nearest") > 0.5).astype(np.uint8)

    def _recoloured(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        head = image != self.background
        low, high = float(image.min()), float(image.max())
        span = max(high - low, 1e-6)
        curved = np.power((image - low) / span, np.exp(rng.uniform(-self.gamma, self.gamma))) * span + low
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        offset = rng.uniform(-self.brightness, self.brightness)
        grain = rng.uniform(0, self.noise) * rng.standard_normal(image.shape, dtype=np.float32)
        width = rng.uniform(0, self.blur) if rng.random() < 0.25 else 0.0
        changed = curved * gain + offset + grain
        sharp = gaussian_filter(changed, width) if width > 0.2 else changed
        return np.where(head, np.clip(sharp, -self.clip, self.clip), self.background).astype(np.float32)

    def _matrix(self, rng: np.random.Generator) -> np.ndarray:
        """The inverse map (output to input coordinates in [-1, 1]), float32 ``(2, 3)``."""
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
        zoom = np.exp(rng.uniform(-self.scale, self.scale))
        shear = rng.uniform(-self.shear, self.shear)
        mirror = -1.0 if rng.random() < self.flip else 1.0
        shift = 2 * rng.uniform(-self.shift, self.shift, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ np.array([[mirror, shear], [0.0, 1.0]]) / zoom
        return np.column_stack([linear, shift]).astype(np.float32)


def _placed(image: np.ndarray, matrix: np.ndarray, mode: str) -> np.ndarray:
    """Sample an array ``(S, S)`` through an affine map, 0 outside."""
    tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None]
    grid = affine_grid(torch.from_numpy(matrix)[None], list(tensor.shape), align_corners=False)
    return grid_sample(tensor, grid, mode=mode, padding_mode="zeros", align_corners=False)[0, 0].numpy()
