r"""Where overlapping patches lie along one axis, and how much each of them counts at every voxel.

Along an axis a patch of :math:`p` voxels counts with a Gaussian of its own :math:`\sigma = s\,p`, never less
than a floor, divided by what all patches over the voxel count together:

.. math:: g(i) = \max\Big(\exp\frac{-(i - (p-1)/2)^2}{2\sigma^2},\ \mathrm{floor}\Big), \qquad
          w_k(i) = \frac{g(i)}{\sum_j g(i + a_k - a_j)}

with :math:`a_k` the first voxel of patch :math:`k`. Patches lie on a grid, so the product over the axes sums
to one at every voxel as well: nothing has to be divided afterwards, and no volume of weights is kept. One
sigma for all axes, made for a short one, would push the weights over most of a long one below the smallest
number that float32 has, and zero by zero is no blend.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mtl.errors import ParameterError


@dataclass(frozen=True)
class AxisTiles:
    """Patches along one axis.

    Args:
        size: voxels of the axis.
        patch: voxels of a patch; an axis shorter than this counts as padded to one patch.
        overlap: share of a patch that its neighbour covers too, at least, 0 to below 1.
        sigma_scale: the Gaussian's standard deviation over ``patch``.
        floor: smallest weight before the division, above 0 and at most 1.

    Raises:
        ParameterError: names what is out of range.
    """

    size: int
    patch: int
    overlap: float = 0.25
    sigma_scale: float = 0.125
    floor: float = 0.01

    def __post_init__(self) -> None:
        if self.size < 1 or self.patch < 1:
            raise ParameterError(
                f"an axis of {self.size} voxels in patches of {self.patch}: both must be >= 1"
            )
        if not 0 <= self.overlap < 1:
            raise ParameterError(f"overlap = {self.overlap} must be at least 0 and below 1")
        if not self.sigma_scale > 0:
            raise ParameterError(f"sigma_scale = {self.sigma_scale} must be above 0")
        if not 0 < self.floor <= 1:
            raise ParameterError(f"floor = {self.floor} must be above 0 and at most 1")

    @property
    def padded(self) -> int:
        """Voxels that the patches cover together."""
        return max(self.size, self.patch)

    @property
    def step(self) -> int:
        """Voxels from one patch to the next."""
        return max(1, int(self.patch * (1 - self.overlap)))

    @cached_property
    def starts(self) -> list[int]:
        """First voxel of every patch; the last patch ends with the axis."""
        return [*range(0, self.padded - self.patch, self.step), self.padded - self.patch]

    @cached_property
    def weights(self) -> np.ndarray:
        """``(patches, patch)`` float32: what each voxel of each patch counts."""
        offsets = np.arange(self.patch) - (self.patch - 1) / 2
        bell = np.exp(-(offsets**2) / (2 * (self.sigma_scale * self.patch) ** 2)).clip(min=self.floor)
        total = np.zeros(self.padded)
        for start in self.starts:
            total[start : start + self.patch] += bell
        return np.stack([bell / total[a : a + self.patch] for a in self.starts]).astype(np.float32)
