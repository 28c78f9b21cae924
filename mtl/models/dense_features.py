"""Backbones that give features at full resolution, from MONAI.

Each takes images ``(B, in_channels, *sp)`` to ``(B, features, *sp)``. None has batch norm: two passes per
training step, with and without prompts, would poison its statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd

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
    def image_weights(self) -> list[nn.Parameter]:
        """Weights ``(out, in_channels, ...)`` of every layer that sees the image."""
        return [self.network.convInit.conv.weight]

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


class SwinFeatures(nn.Module):
    """MONAI's ``SwinUNETR`` (Hatamizadeh et al., BrainLes 2021) without its last layer.

    An image of any size is padded to multiples of 32.

    Args:
        features: a multiple of 12.
    """

    def __init__(self, spatial_dims: int, in_channels: int, features: int) -> None:
        from monai.networks.nets import SwinUNETR

        super().__init__()
        if features % 12:
            raise ParameterError(f"features = {features}: SwinUNETR needs a multiple of 12")
        self.network = SwinUNETR(in_channels, 1, feature_size=features, spatial_dims=spatial_dims)
        self.network.out = nn.Identity()

    @property
    def image_weights(self) -> list[nn.Parameter]:
        """Weights ``(out, in_channels, ...)`` of every layer that sees the image."""
        block = self.network.encoder1.layer
        return [
            self.network.swinViT.patch_embed.proj.weight,
            block.conv1.conv.weight,
            block.conv3.conv.weight,
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Features of the image's size."""
        return self.network(pad_to_multiple(image, 32))[(..., *(slice(length) for length in image.shape[2:]))]


BACKBONES: dict[str, type[nn.Module]] = {"SegResNet": SegResNetFeatures, "SwinUNETR": SwinFeatures}


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last plane of every axis until its length divides; what was there keeps its place."""
    missing = [-length % multiple for length in image.shape[2:]]
    if not any(missing):
        return image
    return F.pad(image, [side for gap in reversed(missing) for side in (0, gap)], mode="replicate")
