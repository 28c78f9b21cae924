"""The four losses of the angiography study and their weighted sum."""

from mtl.losses.angiography.captioning import caption_loss, counted_tokens
from mtl.losses.angiography.config import LOSSES, LossConfig
from mtl.losses.angiography.contrastive import sigmoid_contrastive, softmax_contrastive
from mtl.losses.angiography.distillation import contrastive_distillation, distillation_loss
from mtl.losses.angiography.masked import masked_loss
from mtl.losses.angiography.multitask_loss import MultitaskLoss

__all__ = [
    "LOSSES",
    "LossConfig",
    "MultitaskLoss",
    "caption_loss",
    "contrastive_distillation",
    "counted_tokens",
    "distillation_loss",
    "masked_loss",
    "sigmoid_contrastive",
    "softmax_contrastive",
]
