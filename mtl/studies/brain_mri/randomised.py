"""Networks with randomised weights: the sanity check of an explanation (Adebayo et al., NeurIPS 2018).

A map that looks the same whether or not the network has learnt anything explains
the picture, not the network.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

Module = TypeVar("Module", bound=nn.Module)


def randomised_copy(module: Module, seed: int) -> Module:
    """A copy with every weight drawn anew by its layer's own rule; the module itself and the global random
    state stay as they are.

    Batch norms get scale 1, shift 0 and the statistics of an untouched layer: see ``reestimate_statistics``.
    """
    fresh = copy.deepcopy(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in fresh.modules():
            if hasattr(layer, "reset_parameters"):
                layer.to("cpu").reset_parameters()
    devices = {parameter.device for parameter in module.parameters()}
    return fresh.to(*devices).train(module.training)


def reestimate_statistics(encoder: nn.Module, images: Iterable[Tensor]) -> None:
    """Set the batch norms' statistics to the mean over batches ``(B, 1, H, W)`` of training images.

    The statistics of the trained network do not belong to random filters: with them a layer may be silent or
    saturated everywhere, and the randomised network would be a straw man.
    """
    device = next(encoder.parameters()).device
    with torch.no_grad():
        update_bn(images, encoder, device)
