r"""U-Net encoder and decoder (Ronneberger, Fischer and Brox, MICCAI 2015).

Level :math:`i` of the encoder has :math:`f\,2^i` channels:

.. math:: x_0 = D_0(x), \quad x_i = D_i(\mathrm{maxpool}_2(x_{i-1})), \quad
          D = (\mathrm{conv}_{3\times3} \to \mathrm{BN} \to \mathrm{ReLU})^2

The decoder undoes it: bilinear upsampling by 2, concatenation with the skip, the same double
convolution, and a 1x1 convolution to logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions without bias, each followed by batch norm and ReLU; size is kept."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def receptive_field(depth: int) -> int:
    r"""Side of the square of pixels that one bottleneck cell can depend on, in pixels.

    Every level adds :math:`4 \cdot 2^i` (two 3x3 convolutions), every pooling :math:`2^i`:
    :math:`1 + 4(2^{d+1}-1) + (2^d-1) = 9 \cdot 2^d - 4` (Araujo, Norris and Sim, Distill 2019).
    """
    return 9 * 2**depth - 4


class UNetEncoder(nn.Module):
    """Image to a pyramid of features.

    Args:
        in_channels: channels of the image.
        base_filters: channels ``f`` of the first level; level ``i`` has ``f * 2**i``.
        depth: number of poolings; there are ``depth`` skips and one bottleneck.
    """

    def __init__(self, in_channels: int = 1, base_filters: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.channels = [base_filters * 2**level for level in range(depth + 1)]
        widths = [in_channels, *self.channels]
        self.levels = nn.ModuleList(double_conv(i, o) for i, o in zip(widths, self.channels, strict=False))

    def forward(self, image: Tensor) -> list[Tensor]:
        """``(B, in_channels, H, W)`` to ``[x_0, ..., x_{depth-1}, bottleneck]``.

        ``x_i`` is ``(B, f*2**i, H/2**i, W/2**i)``, sizes rounded down.
        """
        features = [self.levels[0](image)]
        for level in self.levels[1:]:
            features.append(level(F.max_pool2d(features[-1], 2)))
        return features


class UNetDecoder(nn.Module):
    """Pyramid of features to logits of the finest level's size.

    Args:
        base_filters, depth: as given to a ``UNetEncoder``.
        out_channels: channels of the logits.
        channels: of another encoder's levels, finest first; they replace ``base_filters`` and ``depth``.
        stride: image pixels per pixel of the finest level, along a side; the logits are enlarged by it.
    """

    def __init__(
        self,
        base_filters: int = 64,
        depth: int = 4,
        out_channels: int = 1,
        *,
        channels: Sequence[int] | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        widths = list(channels or (base_filters * 2**level for level in range(depth + 1)))
        self.levels = nn.ModuleList(
            double_conv(skip + below, skip)
            for skip, below in reversed(list(zip(widths, widths[1:], strict=False)))
        )
        self.logits = nn.Conv2d(widths[0], out_channels, kernel_size=1)
        self.stride = stride

    def forward(self, features: list[Tensor]) -> Tensor:
        """``[x_0, ..., bottleneck]`` to ``(B, out_channels, H, W)``, ``stride`` times as large as ``x_0``."""
        *skips, x = features
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = level(torch.cat([x, skip], dim=1))
        logits = self.logits(x)
        if self.stride == 1:
            return logits
        return F.interpolate(logits, scale_factor=self.stride, mode="bilinear", align_corners=False)
