r"""One encoder and what hangs on it: nuclei, maps inside nuclei, the image itself, two embeddings.

With the encoder's features :math:`x_0, \dots, x_d` (finest first) and :math:`\hat v = v / \lVert v \rVert`,

.. math:: z = D(x_0, \dots, x_d) + \log\frac{\pi}{1 - \pi}, \quad \hat h = \sigma(D'(x_0, \dots, x_d)), \quad
          \hat x = \sigma(R(x_d)), \quad o = \widehat{\mathrm{up}(W_o x_d)}, \quad e = \widehat{W_e x_0}.

The prior :math:`\pi` is the probability that an untrained network gives to a nucleus (Lin et al., *Focal
loss*, ICCV 2017, section 3.3). From one half on, no unlabelled pixel would ever be unlikely enough to be a
pseudo-negative, no outer side of an outline would count, and outlines alone raise everything to "nucleus".

Inputs are divided by their own light :math:`I_0`, channel by channel that of their brightest block, and then
brought to the training images' mean 0 and spread 1. Lamps and cameras differ more between laboratories than
stains do, and :math:`I / I_0` is what Beer and Lambert's law is about.

Images of any height and width are padded at the lower and right edge to what the encoder needs, and outputs
are cut back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import ParameterError
from mtl.models.histology.backbones import BACKBONES
from mtl.models.parts import PartitionedModel

NORMALISATIONS = ("light", "none")
BLOCK = 8  # pixels along a side of the block that tells the light
DARK = 0.1  # the least light
RECON_WIDTH = 32  # channels at most: it only has to bring the image back
HV_ACTIVATIONS = {"distance": torch.sigmoid, "hover": torch.tanh}
HV_CHANNELS = {"distance": 1, "hover": 2}


class ReconstructionDecoder(nn.Sequential):
    """The bottleneck ``(B, C, h, w)`` to logits ``(B, out_channels, h * stride, ...)``, without skips."""

    def __init__(self, in_channels: int, stride: int, out_channels: int) -> None:
        width, layers = min(in_channels, RECON_WIDTH), []
        while stride > 1:
            layers += [
                nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            ]
            in_channels, stride, width = width, stride // 2, max(width // 2, 8)
        super().__init__(*layers, nn.Conv2d(in_channels, out_channels, 3, padding=1))


class UNetMultiTask(PartitionedModel, PyTorchModelHubMixin):
    """Nuclei from sparse labels, with up to four more outputs.

    Arguments are saved beside the weights (``config.json``), so that ``from_pretrained(folder)`` needs
    nothing else.

    Args:
        in_channels: of the image; base_filters: channels at full resolution.
        depth: poolings of the backbone ``unet``; the others have their own.
        backbone: a name of ``BACKBONES``.
        embedding_channels: D of both embeddings.
        hv: ``distance`` (one map, sigmoid) or ``hover`` (two signed maps, tanh).
        normalisation: ``light``, or ``none`` for images as they are; mean, std: of each channel of the
            training images after it.
        prior: probability of a nucleus before anything is learnt.

    Raises:
        ParameterError: unknown backbone, ``hv`` or normalisation, mean and std that do not fit
            ``in_channels``, or a prior that is not between 0 and 1.
    """

    part_names = ("encoder", "decoder", "hv_decoder", "recon_decoder", "obj_head", "pixel_head")
    shared_parts = ("encoder",)

    def __init__(
        self,
        in_channels: int = 3,
        base_filters: int = 16,
        depth: int = 4,
        backbone: str = "unet",
        embedding_channels: int = 16,
        hv: str = "distance",
        normalisation: str = "light",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        prior: float = 0.1,
    ) -> None:
        super().__init__()
        named = {"backbone": (backbone, BACKBONES), "hv": (hv, HV_CHANNELS)}
        named["normalisation"] = (normalisation, NORMALISATIONS)
        for name, (value, known) in named.items():
            if value not in known:
                raise ParameterError(f"{name}: {value!r} is not one of {', '.join(known)}")
        mean, std = mean or [0.5] * in_channels, std or [0.25] * in_channels
        if len(mean) != in_channels or len(std) != in_channels or min(std) <= 0:
            raise ParameterError(
                f"mean={mean}, std={std}: {in_channels} numbers each, std above 0, are expected"
            )
        if not 0 < prior < 1:
            raise ParameterError(f"prior={prior}: a probability between 0 and 1 is expected")
        self.normalisation = normalisation
        self.hv, self.prior_logit = hv, math.log(prior / (1 - prior))
        self.encoder = BACKBONES[backbone](in_channels, base_filters, depth)
        widths, strides = self.encoder.channels, self.encoder.strides
        self.stride, self.first_stride = strides[-1], strides[0]
        self.decoder = self.encoder.decoder(1)
        self.hv_decoder = self.encoder.decoder(HV_CHANNELS[hv])
        self.recon_decoder = ReconstructionDecoder(widths[-1], self.stride, in_channels)
        self.obj_head = nn.Conv2d(widths[-1], embedding_channels, kernel_size=1)
        self.pixel_head = nn.Conv2d(widths[0], embedding_channels, kernel_size=1)
        self.register_buffer(
            "mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False
        )

    def forward(
        self,
        x: Tensor,
        return_recon: bool = False,
        return_hv: bool = False,
        return_obj_emb: bool | Literal["native"] = False,
        return_pixel_emb: bool = False,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Images ``(B, C, H, W)`` in [0, 1] to a dict; a key whose flag is off is absent.

        ``statistics``: for windows of a larger image, what :meth:`statistics` gives of the whole.

        Returns:
            ``preds`` (B, 1, H, W) logits; ``hv_map`` (B, 1 or 2, H, W); ``recon`` (B, C, H, W) in [0, 1];
            ``obj_emb`` and ``pixel_emb`` (B, D, H, W), of length 1 at every pixel. With
            ``return_obj_emb="native"`` ``obj_emb`` stays on its own grid, (B, D, H / stride, W / stride),
            rounded up: what the loss needs, at a fraction of the cost.

        Raises:
            ParameterError: images of another shape.
        """
        if x.ndim != 4 or x.shape[1] != self.mean.shape[1]:
            raise ParameterError(
                f"images of shape {tuple(x.shape)}: (B, {self.mean.shape[1]}, H, W) is expected"
            )
        size = x.shape[-2:]
        mean, std = statistics or self.statistics(x)
        features = self.encoder(self._padded((x - mean) / std))
        output = {"preds": _cut(self.decoder(features), size) + self.prior_logit}
        if return_hv:
            output["hv_map"] = HV_ACTIVATIONS[self.hv](_cut(self.hv_decoder(features), size))
        if return_recon:
            output["recon"] = torch.sigmoid(_cut(self.recon_decoder(features[-1]), size))
        if return_obj_emb:
            embedding, grid = self.obj_head(features[-1]), [-(-side // self.stride) for side in size]
            native = return_obj_emb == "native"
            output["obj_emb"] = _unit(
                _cut(embedding, grid) if native else _enlarged(embedding, self.stride, size)
            )
        if return_pixel_emb:
            output["pixel_emb"] = _unit(_enlarged(self.pixel_head(features[0]), self.first_stride, size))
        return output

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread that are taken off images, each ``(B or 1, C, 1, 1)``."""
        light = light_of(x) if self.normalisation == "light" else 1.0
        return light * self.mean, light * self.std

    def _padded(self, x: Tensor) -> Tensor:
        below, right = (-side % self.stride for side in x.shape[-2:])
        return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x


def light_of(x: Tensor) -> Tensor:
    """Each channel's brightest block's mean, ``(B, C, H, W)`` in [0, 1] to ``(B, C, 1, 1)``."""
    block = [min(BLOCK, side) for side in x.shape[-2:]]
    return F.avg_pool2d(x, block, ceil_mode=True).amax(dim=(-2, -1), keepdim=True).clamp(min=DARK)


def _cut(x: Tensor, size: Sequence[int]) -> Tensor:
    return x[..., : size[0], : size[1]]


def _enlarged(x: Tensor, stride: int, size: Sequence[int]) -> Tensor:
    if stride > 1:
        x = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    return _cut(x, size)


def _unit(x: Tensor) -> Tensor:
    """Of length 1 along the channels; ``F.normalize`` takes four times as long over strided ones."""
    x = x.float()
    return x * x.square().sum(dim=1, keepdim=True).clamp(min=1e-24).rsqrt()
