"""Losses of the em study: semantic, instance, geometry and the prompted mask; ``EMLoss`` joins them."""

from mtl.losses.em.criterion import EMLoss
from mtl.losses.em.geometry import geometry_channels, geometry_loss
from mtl.losses.em.instance import discriminative_loss
from mtl.losses.em.semantic import semantic_loss
from mtl.losses.em.target import target_loss

__all__ = [
    "EMLoss",
    "discriminative_loss",
    "geometry_channels",
    "geometry_loss",
    "semantic_loss",
    "target_loss",
]
