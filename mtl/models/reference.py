"""Reference networks from MONAI, in the shape that the training core expects."""

from __future__ import annotations

from typing import Any

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor

from mtl.models.parts import PartitionedModel


class SegmentationReference(PartitionedModel, PyTorchModelHubMixin):
    """Single-task MONAI ``BasicUNet`` (U-Net with instance norm and leaky ReLU) for 2-D masks.

    Args:
        in_channels: channels of the image.
        base_filters: channels of the first level; they double at each of MONAI's four poolings.
        image_size, normalisation: carried for the predictor, as in ``MultiTaskModel``.
    """

    part_names = ("network",)
    shared_parts = ()

    def __init__(
        self,
        in_channels: int = 1,
        base_filters: int = 32,
        image_size: int = 256,
        normalisation: dict[str, Any] | None = None,
    ) -> None:
        from monai.networks.nets import BasicUNet

        super().__init__()
        self.image_size, self.normalisation = image_size, normalisation
        f = base_filters
        features = (f, f, 2 * f, 4 * f, 8 * f, f)
        self.network = BasicUNet(spatial_dims=2, in_channels=in_channels, out_channels=1, features=features)

    def forward(self, x: Tensor, do_seg: bool = True, do_cls: bool = False) -> dict[str, Tensor]:
        """``(B, in_channels, H, W)`` to ``{"seg": (B, 1, H, W)}`` logits; H and W from 16 pixels on."""
        return {"seg": self.network(x)} if do_seg else {}
