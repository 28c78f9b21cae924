r"""Random changes that leave a nucleus a nucleus: flips, quarter turns, other stains, another light.

Colours are changed as optical densities :math:`D = -\ln I` (Beer and Lambert): with the stains of Ruifrok and
Johnston (2001) as the rows of :math:`M`, :math:`D = c M`, every stain's amount is scaled and shifted,

.. math:: c'_s = \alpha_s c_s + \beta_s, \qquad \alpha_s \sim U(1 - a, 1 + a), \quad \beta_s \sim U(-b, b),

as Tellez et al. (*Medical Image Analysis* 2019) do it, who find that large changes carry a network to other
laboratories, and most of all large changes of hue and saturation: the part of :math:`D` that has no hue,
its mean over the channels, stays, the rest is turned about it by :math:`\theta \sim U(-\pi h, \pi h)` and
scaled by :math:`U(1 - s, 1 + s)`. White stays white, and what absorbs most of the light still does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage.color import hed_from_rgb, rgb_from_hed

DARKEST = 1 / 255


@dataclass(frozen=True)
class StainAugmentation:
    """What is drawn for one patch.

    Args:
        scale: ``a`` above; shift: ``b`` above, as optical density.
        gamma: light is raised to a power between 1 / (1 + gamma) and 1 + gamma.
        hue: ``h`` above, 1: any hue; saturation: ``s`` above, 1: from grey to twice as much.
        turns: flips and quarter turns.
    """

    scale: float = 0.2
    shift: float = 0.05
    gamma: float = 0.6
    hue: float = 1.0
    saturation: float = 1.0
    turns: bool = True

    def turn(self, arrays: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """The same flip and quarter turns of arrays ``(P, P, ...)``."""
        if not self.turns:
            return arrays
        quarters, flipped = int(rng.integers(4)), bool(rng.integers(2))
        turned = [np.rot90(array, quarters, axes=(0, 1)) for array in arrays]
        return [array[:, ::-1] for array in turned] if flipped else turned

    def recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Float32 ``(H, W, 3)`` in [0, 1] with other stains."""
        if self.scale == self.shift == self.gamma == self.hue == self.saturation == 0:
            return image
        alpha = rng.uniform(1 - self.scale, 1 + self.scale, 3)
        beta = rng.uniform(-self.shift, self.shift, 3)
        power = (1 + rng.uniform(0, self.gamma)) ** rng.choice([-1, 1])
        angle = np.pi * rng.uniform(-self.hue, self.hue)
        tint = hue_turn(angle, rng.uniform(1 - self.saturation, 1 + self.saturation))
        # D' = (D M^-1 diag(alpha) + beta) M T: one matrix and one offset.
        change = hed_from_rgb @ np.diag(alpha) @ rgb_from_hed @ tint
        density = -np.log(np.maximum(image, DARKEST))
        offset = (beta @ rgb_from_hed @ tint).astype(np.float32)
        changed = (density @ change.astype(np.float32) + offset) * power
        return np.exp(-np.maximum(changed, 0)).astype(np.float32)


def hue_turn(angle: float, saturation: float) -> np.ndarray:
    """Matrix ``T`` (3, 3) for rows ``D``: what is not grey turns by ``angle`` and is scaled."""
    grey = np.full((3, 3), 1 / 3)
    across = np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]]) / np.sqrt(3)
    return grey + saturation * (np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * across)
