r"""What the second decoder and the reconstruction are judged by.

Over the outlined pixels :math:`y` of a sample, then over the samples that have any:

.. math:: L_\mathrm{hv} = \operatorname*{mean}_b \frac{\sum_i y_i \lVert \hat h_i - h_i \rVert^2 / C}{\sum_i
y_i}

with :math:`C` maps. Two signed maps (HoVer-Net, Graham et al. 2019) add the same of their gradients, each
along its own axis, by the Sobel filter of five pixels that MONAI's ``HoVerNetLoss`` uses:

.. math:: + \lambda \operatorname*{mean}_b \frac{\sum_i y_i
          \left[(\partial_x \hat h_x - \partial_x h_x)^2 + (\partial_y \hat h_y - \partial_y h_y)^2\right]_i /
          2} {\sum_i y_i}

:math:`L_\mathrm{recon}` is the mean squared difference of the image and its reconstruction.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: The Sobel filter of five pixels: smoothing across the axis, difference along it.
SMOOTHING = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
DIFFERENCE = (-1 / 8, -2 / 8, 0.0, 2 / 8, 1 / 8)


def hv_loss(predicted: Tensor, target: Tensor, positive_mask: Tensor, gradient: float = 0.0) -> Tensor:
    """Scalar; 0 without an outlined pixel.

    Args:
        predicted, target: ``(B, C, H, W)``; positive_mask: ``(B, 1, H, W)``.
        gradient: weight of the gradient term; only for two maps, horizontal first.
    """
    squared = (predicted - target).square().mean(1, keepdim=True)
    loss = _per_sample(squared, positive_mask)
    if gradient and predicted.shape[1] == 2:
        gap = predicted - target  # the filters are linear
        slopes = torch.cat([sobel(gap[:, :1], axis=-1), sobel(gap[:, 1:], axis=-2)], dim=1)
        loss = loss + gradient * _per_sample(slopes.square().mean(1, keepdim=True), positive_mask)
    return loss


def sobel(x: Tensor, axis: int) -> Tensor:
    """Gradient of ``(B, 1, H, W)`` along ``axis`` (-1: to the right, -2: downwards), edges repeated."""
    along, across = x.new_tensor(DIFFERENCE), x.new_tensor(SMOOTHING)
    kernel = torch.outer(across, along) if axis == -1 else torch.outer(along, across)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel[None, None])


def _per_sample(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask of each sample, then over the samples whose mask is not empty."""
    sums, counts = (values * mask).flatten(1).sum(1), mask.flatten(1).sum(1)
    means = sums / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum().clamp(min=1)
