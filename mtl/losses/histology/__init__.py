"""The eight losses of the histology study and their weighted sum."""

from mtl.losses.histology.config import ALPHAS, LOSSES, LossConfig
from mtl.losses.histology.criterion import MultiTaskLoss

__all__ = ["ALPHAS", "LOSSES", "LossConfig", "MultiTaskLoss"]
