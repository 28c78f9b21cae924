"""What the predictor says about one slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mtl.datasets.brain_mri.normalisation import Geometry
from mtl.inference.brain_mri.uncertainty import Uncertainty

if TYPE_CHECKING:
    from mtl.inference.brain_mri.response import PredictionResponse

LABELS = ("no tumour", "tumour")


@dataclass(frozen=True, eq=False)
class Prediction:
    """One slice, ``None`` for what was not asked for or, below the threshold, not decoded.

    ``image`` is the native grey slice, float32 ``(H, W)``; ``geometry`` says where the network's square lies
    in it. ``tumor_prob`` is the calibrated tumour probability, ``cls_logits`` ``(2,)`` the logits before
    calibration. ``seg_logits`` ``(S, S)`` and ``prepared_mask`` bool ``(S, S)`` lie in the network's square,
    ``mask`` bool ``(H, W)`` and ``grad_cam`` float32 ``(H, W)`` (0 or more, not scaled) on the native slice.
    ``classification_threshold`` and ``mask_threshold`` are those that were used.
    """

    image: NDArray[np.float32]
    geometry: Geometry
    classification_threshold: float
    mask_threshold: float
    tumor_prob: float | None = None
    cls_logits: NDArray[np.float32] | None = None
    seg_logits: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    prepared_mask: NDArray[np.bool_] | None = None
    grad_cam: NDArray[np.float32] | None = None
    uncertainty: Uncertainty | None = None

    @property
    def mask_probability(self) -> NDArray[np.float32] | None:
        """Tumour probability of every pixel of the network's square, ``(S, S)``."""
        return None if self.seg_logits is None else expit(self.seg_logits)

    @property
    def predicted_class(self) -> int | None:
        """1 where the tumour probability reaches the threshold, else 0."""
        return None if self.tumor_prob is None else int(self.tumor_prob >= self.classification_threshold)

    @property
    def predicted_label(self) -> str | None:
        """``tumour`` or ``no tumour``."""
        return None if self.predicted_class is None else LABELS[self.predicted_class]

    @property
    def mask_available(self) -> bool:
        """Whether there is a mask to be shown: none is where the classification says "no tumour"."""
        return self.mask is not None and self.predicted_class != 0

    @property
    def tumor_area_pixels(self) -> int | None:
        """Pixels of the native mask, where one is shown."""
        return int(self.mask.sum()) if self.mask_available else None

    @property
    def tumor_percentage(self) -> float | None:
        """Share of the native slice that the mask takes, in percent of all its pixels."""
        return 100 * self.tumor_area_pixels / self.mask.size if self.mask_available else None

    def to_response(self) -> PredictionResponse:
        """The prediction as it is served: plain values and pictures in base64."""
        from mtl.inference.brain_mri.response import response_of

        return response_of(self)
