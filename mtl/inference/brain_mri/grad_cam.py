r"""Grad-CAM of a global-average-pooling perceptron head, in closed form (Selvaraju et al., ICCV 2017).

With :math:`h = \frac{1}{HW}\sum_{ij} A_{ij}` and
:math:`z = W_2\,\mathrm{ReLU}(W_1 h + b_1) + b_2` the gradient is the same at every position:

.. math:: \alpha = \frac{\partial z_c}{\partial A_{ij}}
          = \frac{1}{HW}\, W_1^\top \bigl(\mathbf 1[W_1 h + b_1 > 0] \odot W_2[c]\bigr), \qquad
          \mathrm{CAM} = \mathrm{ReLU}\Bigl(\sum_k \alpha_k A_k\Bigr)

so the map costs two small matrix products and no backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.models.brain_mri import ClassificationHead


@torch.no_grad()
def bottleneck_grad_cam(head: ClassificationHead, bottleneck: Tensor, class_index: int = 1) -> Tensor:
    """Where the bottleneck speaks for a class.

    Args:
        head: in eval mode (dropout would make the closed form another function than the head's).
        bottleneck: ``(B, C, h, w)``, the last of the model's ``features``.
        class_index: the class that is explained; 1 is "tumour".

    Returns:
        ``(B, h, w)`` float32, non-negative, not scaled: maps of different images are comparable. All zero
        where nothing speaks for the class.
    """
    activations = bottleneck.float()
    pooled = activations.mean(dim=(2, 3))
    active = (head.hidden(pooled) > 0).float()
    weights = (active * head.logits.weight[class_index]) @ head.hidden.weight / activations[0, 0].numel()
    return torch.einsum("bk,bkhw->bhw", weights, activations).relu()


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(B, h, w)`` brought to ``(B, *size)``, bilinear."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
