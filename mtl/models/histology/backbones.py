"""Encoders with the decoders that belong to them: the U-Net of this collection and two of MONAI's.

A backbone is an ``nn.Module`` with

- ``channels``: of its features, finest level first; ``strides``: image pixels per feature along a side;
- ``forward(image)``: the list of these features, bottleneck last, for sides that the last stride divides;
- ``decoder(out_channels)``: a module that makes the list into ``(B, out_channels, H, W)``, without
activation.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtl.models.unet import UNetDecoder, UNetEncoder


class UNetBackbone(UNetEncoder):
    """The U-Net's encoder, with ``base_filters`` channels at full resolution and ``depth`` poolings."""

    def __init__(self, in_channels: int, base_filters: int, depth: int) -> None:
        super().__init__(in_channels, base_filters, depth)
        self.strides = [2**level for level in range(depth + 1)]

    def decoder(self, out_channels: int) -> UNetDecoder:
        """A U-Net decoder with skips."""
        return UNetDecoder(channels=self.channels, out_channels=out_channels)


class FlexibleUNetBackbone(nn.Module):
    """MONAI's ``FlexibleUNet`` on an 18-layer residual network; it halves five times, the first time at once.

    ``depth`` is its own. ``base_filters`` is that of the decoder's last level; the encoder has its usual
    widths.
    """

    def __init__(self, in_channels: int, base_filters: int, depth: int) -> None:
        from monai.networks.nets import FlexibleUNet

        super().__init__()
        self._make = lambda out_channels: FlexibleUNet(
            in_channels,
            out_channels,
            "resnet18",
            decoder_channels=tuple(base_filters * 2**level for level in (4, 3, 2, 1, 0)),
        )
        self.encoder = self._make(1).encoder
        self.channels, self.strides = [64, 64, 128, 256, 512], [2, 4, 8, 16, 32]

    def forward(self, image: Tensor) -> list[Tensor]:
        """``(B, C, H, W)`` to five features."""
        return list(self.encoder(image))

    def decoder(self, out_channels: int) -> nn.Module:
        """MONAI's decoder and segmentation head."""
        return _FlexibleDecoder(self._make(out_channels))


class _FlexibleDecoder(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.decoder, self.head, self.skips = network.decoder, network.segmentation_head, network.skip_connect

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.head(self.decoder(features, self.skips))


class UNetPlusPlusBackbone(nn.Module):
    """MONAI's ``BasicUNetPlusPlus`` (Zhou et al. 2018) with nested skips; it halves four times."""

    def __init__(self, in_channels: int, base_filters: int, depth: int) -> None:
        from monai.networks.nets import BasicUNetPlusPlus

        super().__init__()
        widths = [base_filters * 2**level for level in range(5)]
        self._make = lambda out_channels: BasicUNetPlusPlus(
            2, in_channels, out_channels, (*widths, base_filters), norm=("batch", {"affine": True})
        )
        network = self._make(1)
        self.levels = nn.ModuleList(getattr(network, f"conv_{level}_0") for level in range(5))
        self.channels, self.strides = widths, [2**level for level in range(5)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """``(B, C, H, W)`` to five features."""
        features = [self.levels[0](image)]
        for level in self.levels[1:]:
            features.append(level(features[-1]))
        return features

    def decoder(self, out_channels: int) -> nn.Module:
        """The nested decoder."""
        return _NestedDecoder(self._make(out_channels))


class _NestedDecoder(nn.Module):
    """Node (i, j) joins node (i + 1, j - 1), enlarged, with all earlier nodes of its row."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        nodes = [(i, j) for j in range(1, 5) for i in range(5 - j)]
        self.nodes = nn.ModuleDict({f"{i}_{j}": getattr(network, f"upcat_{i}_{j}") for i, j in nodes})
        self.head = network.final_conv_0_4

    def forward(self, features: list[Tensor]) -> Tensor:
        rows = [[feature] for feature in features]
        for j in range(1, 5):
            for i in range(5 - j):
                rows[i].append(self.nodes[f"{i}_{j}"](rows[i + 1][j - 1], torch.cat(rows[i], dim=1)))
        return self.head(rows[0][-1])


#: By name, as parameters have it.
BACKBONES: Mapping[str, type[nn.Module]] = {
    "unet": UNetBackbone,
    "flexible_unet": FlexibleUNetBackbone,
    "unet_plus_plus": UNetPlusPlusBackbone,
}
