"""What the histology losses can be told: eight weights and a few thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mtl.errors import ParameterError

#: Loss to the field of ``LossConfig`` that weighs it, in the order of the study's text.
ALPHAS = {
    "segmentation": "alpha_seg",
    "edge": "alpha_edge",
    "hv": "alpha_hv",
    "recon": "alpha_recon",
    "obj_emb": "alpha_obj_emb",
    "pixel_con": "alpha_pixel_con",
    "total_var": "alpha_var",
    "small_hole": "alpha_small_hole",
}
LOSSES = tuple(ALPHAS)


@dataclass(frozen=True)
class LossConfig:
    """Weights and thresholds; a loss of weight 0 is not computed.

    Args:
        alpha_*: weight of each loss in ``total``.
        confident, unlikely: unlabelled pixels above and below these probabilities are pseudo-labels.
        pseudo_weight: of a pseudo-labelled pixel, where an outlined one has 1.
        background_weight: of the background term.
        clean_up: drop components and fill holes of pseudo-labels below ``smallest`` pixels (asks the device).
        temperature: of both contrastive losses.
        image_weight, batch_weight: of the two levels of the prototype loss.
        negative_below: an unlabelled pixel with a lower probability may be a negative of ``pixel_con``.
        most_pixels: positives, and negatives, of ``pixel_con`` per image.
        hv_gradient: weight of the gradient term for two signed maps.
        closing: ``small_hole`` as the distance to the soft closing instead of the local disagreement.

    Raises:
        ParameterError: names the field that is out of range.
    """

    alpha_seg: float = 2.0
    alpha_edge: float = 10.0
    alpha_hv: float = 1.0
    alpha_recon: float = 0.5
    alpha_obj_emb: float = 0.5
    alpha_pixel_con: float = 0.1
    alpha_var: float = 0.1
    alpha_small_hole: float = 0.1
    confident: float = 0.9
    unlikely: float = 0.2
    pseudo_weight: float = 0.3
    background_weight: float = 0.05
    clean_up: bool = False
    smallest: int = 100
    temperature: float = 0.1
    image_weight: float = 1.0
    batch_weight: float = 0.5
    negative_below: float = 0.1
    most_pixels: int = 512
    hv_gradient: float = 2.0
    closing: bool = False

    def __post_init__(self) -> None:
        for name in (*ALPHAS.values(), "pseudo_weight", "background_weight", "image_weight", "batch_weight",
                     "hv_gradient"):  # fmt: skip
            if not 0 <= getattr(self, name) < math.inf:
                raise ParameterError(f"{name} = {getattr(self, name)}: a finite number from 0 on is expected")
        if not 0 <= self.unlikely < self.confident <= 1:
            raise ParameterError(
                f"unlikely={self.unlikely} must lie below confident={self.confident}, both in [0, 1]"
            )
        if not 0 < self.temperature < math.inf:
            raise ParameterError(f"temperature = {self.temperature}: a finite number above 0 is expected")
        if not 0 <= self.negative_below <= 1:
            raise ParameterError(f"negative_below = {self.negative_below}: a probability is expected")
        if self.smallest < 0:
            raise ParameterError(f"smallest = {self.smallest}: pixels, 0 or more, are expected")
        if self.most_pixels < 2:
            raise ParameterError(f"most_pixels = {self.most_pixels}: 2 at least are expected")

    @property
    def weights(self) -> dict[str, float]:
        """Loss to its weight, in order; those of weight 0 left out."""
        return {loss: getattr(self, alpha) for loss, alpha in ALPHAS.items() if getattr(self, alpha) > 0}
