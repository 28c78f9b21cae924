"""Other encoders for the brain_mri network, and what an encoder has to offer.

An encoder is an ``nn.Module`` with

- ``channels``: a list, one entry per level, finest level first;
- ``forward(image)``: a list of features ``(B, channels[i], h / 2**i, w / 2**i)``, bottleneck last;
- ``stride`` (optional, 1 where absent): image pixels per pixel of the finest level, along a side.

Then the decoder, the classification head and Grad-CAM attach to it. :func:`feature_shapes` checks it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.models.brain_mri import MultiTaskModel


class ResNetEncoder(nn.Module):
    """MONAI's residual network of 18 layers (He et al., CVPR 2016) as a pyramid.

    The stem keeps the image's size: slices are small, and tumours smaller.

    Args:
        in_channels: channels of the image.
        base_filters: channels of the first level; they double from level to level.
        depth: times that the size is halved, 1 to 3.
    """

    def __init__(self, in_channels: int, base_filters: int, depth: int) -> None:
        from monai.networks.nets import ResNet

        super().__init__()
        if not 1 <= depth <= 3:
            raise ParameterError(f"depth={depth}: this network halves 1 to 3 times")
        widths = [base_filters * 2**level for level in range(4)]
        network = ResNet(
            "basic", [2, 2, 2, 2], widths, spatial_dims=2,
            n_input_channels=in_channels, conv1_t_size=3,
            feed_forward=False, bias_downsample=False,
        )  # fmt: skip
        self.channels = widths[: depth + 1]
        self.stem = nn.Sequential(network.conv1, network.bn1, network.act)
        layers = (network.layer1, network.layer2, network.layer3, network.layer4)
        self.levels = nn.ModuleList(layers[: depth + 1])

    def forward(self, image: Tensor) -> list[Tensor]:
        """``(B, 1, H, W)`` to ``[(B, f, H, W), (B, 2f, H/2, W/2), ...]``."""
        features = [self.levels[0](self.stem(image))]
        for level in self.levels[1:]:
            features.append(level(features[-1]))
        return features


class ResNetModel(MultiTaskModel):
    """``MultiTaskModel`` on a :class:`ResNetEncoder`; ``depth`` up to 3."""

    def make_encoder(self, *sizes: int) -> ResNetEncoder:
        """``sizes``: in_channels, base_filters, depth."""
        return ResNetEncoder(*sizes)


@torch.no_grad()
def feature_shapes(encoder: nn.Module, in_channels: int = 1, size: int = 64) -> list[tuple[int, int, int]]:
    """(channels, height, width) of every level, finest first, for a square image of ``size`` pixels.

    The encoder is left as it was found.

    Raises:
        ParameterError: names the first thing in which the encoder is not what the module's text asks for.
    """
    channels = getattr(encoder, "channels", None)
    if not isinstance(channels, list | tuple) or not all(isinstance(width, int) for width in channels):
        raise ParameterError(
            f"encoder.channels is {channels!r}; a list of integers, finest first, is expected"
        )
    was_training = encoder.training
    features = encoder.eval()(torch.zeros(1, in_channels, size, size))
    encoder.train(was_training)
    if not isinstance(features, list | tuple) or len(features) != len(channels):
        found = f"{len(features)} features" if isinstance(features, list | tuple) else type(features).__name__
        raise ParameterError(
            f"the encoder returns {found}; a list of {len(channels)}, as channels, is expected"
        )
    stride = getattr(encoder, "stride", 1)
    for level, (feature, width) in enumerate(zip(features, channels, strict=True)):
        down, up = size // (stride * 2**level), -(-size // (stride * 2**level))  # rounded as poolings round
        found, expected = tuple(feature.shape[1:]), (width, down, down)
        if found not in (expected, (width, up, up)):
            raise ParameterError(
                f"level {level} of the encoder has shape {found}; {expected} is expected for an image of "
                f"{size} pixels, channels={list(channels)} and stride={stride}"
            )
    return [tuple(feature.shape[1:]) for feature in features]
