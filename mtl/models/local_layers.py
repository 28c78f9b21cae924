"""Layers in which a voxel sees its neighbours or itself alone, and the head made of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.Module):
    """Root-mean-square norm over the channels of each voxel (Zhang and Sennrich, NeurIPS 2019); no bias.

    ``(B, C, *sp)`` to the same shape. Zero stays zero, and voxels do not see one another.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Every voxel's channels at a mean square of 1, times the learned scale of each channel."""
        scale = x.square().mean(1, keepdim=True).add(self.eps).rsqrt()
        return x * scale * self.weight.view(-1, *[1] * (x.dim() - 2))


def local_convolution(spatial_dims: int, in_channels: int, out_channels: int, bias: bool) -> nn.Module:
    """A bare convolution of side 3 that keeps the size."""
    kind = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
    return kind(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)


def convolve(layer: nn.Module, x: Tensor, padded: bool) -> Tensor:
    """A :func:`local_convolution` that keeps the size; not ``padded``, 2 voxels less a side."""
    if padded:
        return layer(x)
    operation = F.conv3d if x.dim() == 5 else F.conv2d
    return operation(x, layer.weight, layer.bias)


def convolve_halves(layer: nn.Module, x: Tensor) -> Tensor:
    """A :func:`local_convolution` of one volume as a batch of two halves: ``(1, C, *sp)`` to the same size.

    PyTorch hands a batch to oneDNN on the CPU, but a single small 3-D volume to a convolution of its own that
    takes several times as long.
    """
    planes = x.shape[2]
    half = (planes + 1) // 2
    padded = F.pad(x, [1] * (2 * (x.dim() - 2) - 1) + [1 + 2 * half - planes])
    found = convolve(layer, torch.cat([padded[:, :, : half + 2], padded[:, :, half:]]), padded=False)
    return torch.cat([found[:1], found[1:]], dim=2)[:, :, :planes]


def per_voxel(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer on the channels of every voxel (a 1x1 convolution as one matrix product)."""
    flat = torch.matmul(layer.weight, x.flatten(2)) + layer.bias[:, None]
    return flat.view(len(x), -1, *x.shape[2:])


class LocalHead(nn.Module):
    """Convolution of side 3, norm over channels, ReLU, 1x1.

    ``(B, in_channels, *sp)`` to ``(B, out_channels, *sp)``. The convolution is linear: that of features
    plus residual is the sum of both, so a click session keeps :meth:`convolve` of the features.
    """

    #: Voxels along each axis that an input voxel reaches.
    reach = 1

    def __init__(self, in_channels: int, hidden: int, out_channels: int, spatial_dims: int) -> None:
        super().__init__()
        self.convolution = local_convolution(spatial_dims, in_channels, hidden, bias=True)
        self.norm = ChannelNorm(hidden)
        self.project = nn.Linear(hidden, out_channels)

    def convolve(self, features: Tensor, padded: bool = True) -> Tensor:
        """The part that sees neighbours: ``(B, in_channels, *sp)`` to ``(B, hidden, *sp)``.

        Not ``padded``: without a frame of zeros, to 2 voxels less along each axis.
        """
        return convolve(self.convolution, features, padded)

    def finish(self, hidden: Tensor) -> Tensor:
        """The part that looks at each voxel alone: ``(B, hidden, *sp)`` to ``(B, out_channels, *sp)``."""
        return per_voxel(self.project, self.norm(hidden).relu())

    def forward(self, features: Tensor) -> Tensor:
        """Both."""
        return self.finish(self.convolve(features))
