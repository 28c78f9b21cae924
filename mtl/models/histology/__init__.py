"""The histology network and the backbones that it can stand on."""

from mtl.models.histology.backbones import BACKBONES
from mtl.models.histology.multitask import UNetMultiTask, light_of

__all__ = ["BACKBONES", "UNetMultiTask", "light_of"]
