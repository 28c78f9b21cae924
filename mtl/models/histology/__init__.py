"""The histology network and the backbones that it can stand on."""

from mtl.models.histology.backbones import BACKBONES
from mtl.models.histology.multitask import UNetMultiTask

__all__ = ["BACKBONES", "UNetMultiTask"]
