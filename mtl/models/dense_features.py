"""Backbones that give features at full resolution, from MONAI.

Each takes images ``(B, in_channels, *sp)`` to ``(B, features, *sp)``. None has batch norm: two passes per
training step, with and without prompts, would poison its statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import ParameterError

#: Level (0: full resolution) and shape of its grid to what is added to that level's features.
Residual = Callable[[int, tuple[int, ...]], Tensor]


class SegResNetFeatures(nn.Module):
    """MONAI's ``SegResNet`` (Myronenko, BrainLes 2018) with group norm.

    An image of any size is padded to fit.

    Args:
        spatial_dims: 2 or 3; in_channels: of the image; features: channels of the finest level and of the
            result.
        blocks_down, blocks_up: residual blocks per level; every level halves all axes.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        features: int,
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] = (1, 1, 1),
    ) -> None:
        from monai.networks.nets import SegResNet

        super().__init__()
        if len(blocks_up) != len(blocks_down) - 1:
            raise ParameterError(
                f"blocks_up has {len(blocks_up)} entries; {len(blocks_down) - 1} are expected, one fewer "
                "than blocks_down"
            )
        self.network = SegResNet(
            spatial_dims, features, in_channels, features,
            norm=("GROUP", {"num_groups": gcd(8, features)}),
            blocks_down=tuple(blocks_down), blocks_up=tuple(blocks_up),
        )  # fmt: skip
        self.level_channels = [features * 2**level for level in range(len(blocks_down))]

    @property
    def image_layers(self) -> list[nn.Module]:
        """The convolutions that see the image."""
        return [self.network.convInit.conv]

    def forward(self, image: Tensor, residual: Residual | None = None) -> Tensor:
        """Features of the image's size; ``residual`` adds to every level on the way down."""
        shape = image.shape[2:]
        x = self.network.convInit(pad_to_multiple(image, 2 ** (len(self.level_channels) - 1)))
        skips = []
        for level, down in enumerate(self.network.down_layers):
            x = down(x)
            if residual is not None:
                x = x + residual(level, tuple(x.shape[2:]))
            skips.append(x)
        x = self.network.decode(x, skips[::-1])
        return x[(..., *(slice(length) for length in shape))]


class Vista3DFeatures(nn.Module):
    """The encoder of VISTA3D (He et al., CVPR 2025), MONAI's ``SegResNetDS2``, with instance norm.

    An image of any size is padded to fit.
    """

    def __init__(self, spatial_dims: int, in_channels: int, features: int) -> None:
        from monai.networks.nets.segresnet_ds import SegResNetDS2

        super().__init__()
        self.network = SegResNetDS2(
            spatial_dims, features, in_channels, features,
            norm="instance", blocks_down=(1, 2, 2, 4, 4),
        )  # fmt: skip
        # Its second branch, for label prompts, has no part in this study.
        self.network.up_layers_auto = nn.ModuleList()

    @property
    def image_layers(self) -> list[nn.Module]:
        """The convolutions that see the image."""
        return [self.network.encoder.conv_init]

    def forward(self, image: Tensor) -> Tensor:
        """Features of the image's size."""
        padded = pad_to_multiple(image, max(self.network.shape_factor()))
        features, _ = self.network(padded, with_point=True, with_label=False)
        return features[(..., *(slice(length) for length in image.shape[2:]))]


BACKBONES: dict[str, type[nn.Module]] = {"SegResNet": SegResNetFeatures, "VISTA3D": Vista3DFeatures}


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last plane of every axis until its length divides; what was there keeps its place."""
    missing = [-length % multiple for length in image.shape[2:]]
    if not any(missing):
        return image
    return F.pad(image, [side for gap in reversed(missing) for side in (0, gap)], mode="replicate")


def widen(convolution: nn.Module, channels: int, std: float = 1e-4) -> None:
    """Let a convolution see ``channels`` more, whose weights are drawn quiet; those it had stay."""
    weight = convolution.weight.detach()
    more = torch.randn(len(weight), channels, *weight.shape[2:]) * std
    convolution.weight = nn.Parameter(torch.cat([weight, more], dim=1))
    convolution.in_channels += channels
