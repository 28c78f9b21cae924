r"""How well hidden tubelets are foretold.

.. math:: L = \frac{1}{|M|\,P} \sum_{n \in M} \lVert \hat y_n - y_n \rVert^2

over the hidden tubelets :math:`M` only, with :math:`P` numbers each (pixels normalised per tubelet:
predicting their mean, 0, costs 1 wherever there is any structure).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtl.errors import ParameterError
from mtl.losses.angiography.captioning import mean_over


def masked_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error, a scalar.

    Args:
        prediction, target: ``(B, M, P)`` of hidden tubelets, or of all with a ``mask`` ``(B, M)`` bool, True
            where hidden. No gradient flows into ``target``.

    Raises:
        ParameterError: shapes that do not fit, or nothing hidden (on a GPU, which would have to be waited
            for, the loss is 0 then).
    """
    if prediction.shape != target.shape or prediction.ndim != 3 or 0 in prediction.shape:
        raise ParameterError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)}: two of (B, M, P), not "
            "empty, are expected"
        )
    if mask is not None and mask.shape != prediction.shape[:2]:
        raise ParameterError(f"mask has shape {tuple(mask.shape)}; {tuple(prediction.shape[:2])} is expected")
    if mask is not None and mask.device.type == "cpu" and not mask.any():
        raise ParameterError("mask: nothing is hidden; one tubelet or more is expected")
    double = prediction.dtype == torch.float64
    error = (prediction if double else prediction.float()) - target.detach()
    each = error.square().mean(dim=-1)
    return each.mean() if mask is None else mean_over(each, mask)
