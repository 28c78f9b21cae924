r"""Masked video: what is hidden is told from what is seen.

.. math:: \hat y_n = V\,\mathrm{LN}\bigl(\mathrm{blocks}(\{W e_k + p_k\}_{k \in K} \cup
          \{m + p_n\}_{n \in M})\bigr)_n, \qquad n \in M,

with the encoder's tokens :math:`e` of the visible tubelets :math:`K`, a learned mask token :math:`m` and
positions :math:`p`; the target of a tubelet with pixels :math:`x` is :math:`(x - \bar x) / (s_x + \epsilon)`
(He et al., *Masked Autoencoders*, CVPR 2022; Tong et al., *VideoMAE*, NeurIPS 2022), or the features that a
teacher finds there, each normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import ParameterError
from mtl.models.angiography.mask_shapes import MASK_SHAPES, drawn_mask
from mtl.models.angiography.positions import SpaceTimePositions
from mtl.models.angiography.transformer import TransformerBlock
from mtl.models.angiography.tubelets import picked, video_of
from mtl.models.angiography.video_encoder import VideoEncoder

MASKED_TARGETS = ("pixels", "features")


class MaskedVideoDecoder(nn.Module):
    """Predicts hidden tubelets from tokens of visible ones (2 layers of width 256: about 2 M parameters).

    Args:
        grid: of the encoder, ``(t, h, w)``; encoder_width: of its tokens; out: numbers to predict per
            tubelet.
        width, depth, heads: of the decoder.
        ratio, shape: of the masks that :meth:`draw` makes, see :mod:`mtl.models.angiography.mask_shapes`.

    Raises:
        ParameterError: ratio or shape out of range.
    """

    def __init__(
        self,
        grid: tuple[int, int, int],
        encoder_width: int,
        out: int,
        width: int = 256,
        depth: int = 2,
        heads: int = 8,
        ratio: float = 0.75,
        shape: str = "random",
    ) -> None:
        super().__init__()
        if shape not in MASK_SHAPES or not 0 < ratio < 1:
            raise ParameterError(
                f"mask ratio={ratio}, shape={shape!r}: above 0 and below 1, and one of "
                f"{', '.join(MASK_SHAPES)} are expected"
            )
        self.grid, self.ratio, self.shape, self.out = grid, ratio, shape, out
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.positions = SpaceTimePositions(grid, width, "sinusoidal")
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out)

    def draw(
        self, tokens: int, batch: int, device: torch.device | str, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Visible ``(B, K)`` and hidden ``(B, M)`` places of clips of ``tokens`` tubelets."""
        grid = (tokens // (self.grid[1] * self.grid[2]), *self.grid[1:])
        return drawn_mask(grid, batch, self.ratio, self.shape, device, generator)

    def forward(self, visible: Tensor, keep: Tensor, masked: Tensor) -> Tensor:
        """Predictions ``(B, M, out)``.

        Args:
            visible: ``(B, K, encoder_width)``; keep: ``(B, K)`` and masked: ``(B, M)`` places.
        """
        table = self.positions(self.grid[0]).expand(len(keep), -1, -1)
        seen = self.embed(visible) + picked(table, keep)
        hidden = self.mask_token + picked(table, masked)
        x = torch.cat([seen, hidden.to(seen.dtype)], dim=1)  # order does not matter: positions are added
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, keep.shape[1] :]))


def masked_video(
    encoder: VideoEncoder,
    decoder: MaskedVideoDecoder,
    video: Tensor,
    features: Tensor | None = None,
    generator: torch.Generator | None = None,
    all_tokens: bool = False,
) -> dict[str, Tensor]:
    """Hide, encode what is left, predict what was hidden.

    Args:
        video: ``(B, C, T, H, W)`` in [0, 1].
        features: ``(B, N, out)``, what a teacher finds in the whole clip; pixels are the target where absent.
        generator: what masks are drawn from, on the video's device.
        all_tokens: the same result with all tubelets in the encoder, to compare with.

    Returns:
        ``masked_prediction`` and ``masked_target`` ``(B, M, out)`` of hidden tubelets, ``masked_places``
        ``(B, M)`` and ``mask`` ``(B, N)`` bool, True where hidden. No gradient flows into the target.

    Raises:
        ParameterError: the encoder cannot encode visible tubelets only, or the target's size is not ``out``.
    """
    check_encoder(encoder)
    patches = encoder.patches(video)
    keep, masked = decoder.draw(patches.shape[1], len(patches), patches.device, generator)
    if features is None:
        target = normalised(picked(patches, masked))
    else:
        target = F.layer_norm(picked(features.detach(), masked).float(), features.shape[-1:])
    if target.shape[-1] != decoder.out:
        raise ParameterError(
            f"the masked decoder predicts {decoder.out} numbers per tubelet; its target has "
            f"{target.shape[-1]}"
        )
    prediction = decoder(encoder.encode_visible(video, keep, all_tokens), keep, masked)
    mask = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device).scatter_(1, masked, True)
    return {
        "masked_prediction": prediction,
        "masked_target": target.detach(),
        "masked_places": masked,
        "mask": mask,
    }


def normalised(patches: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Each tubelet ``(..., P)`` with mean 0 and variance 1; a flat one becomes 0."""
    patches = patches if patches.dtype == torch.float64 else patches.float()
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True, correction=0)
    return (patches - mean) / (variance + epsilon).sqrt()


def completed(encoder: VideoEncoder, video: Tensor, output: dict[str, Tensor]) -> Tensor:
    """The video with hidden tubelets as predicted, in the mean and spread of the true ones. For pictures."""
    patches, places = encoder.patches(video), output["masked_places"]
    variance, mean = torch.var_mean(picked(patches, places), dim=-1, keepdim=True, correction=0)
    pixels = output["masked_prediction"].to(patches.dtype) * (variance + 1e-6).sqrt() + mean
    filled = patches.scatter(1, places[..., None].expand_as(pixels), pixels)
    steps = patches.shape[1] // (encoder.grid[1] * encoder.grid[2])
    return video_of(filled, encoder.tubelet, (steps, *encoder.grid[1:]))


class MaskedVideoModeling(nn.Module):
    """An encoder and a `MaskedVideoDecoder` that fits it, as one network.

    Args:
        encoder: a `VideoEncoder`; target: ``pixels`` or ``features``; the others as in the decoder.

    Raises:
        ParameterError: names the argument that is out of range.
    """

    def __init__(
        self,
        encoder: VideoEncoder,
        width: int = 256,
        depth: int = 2,
        heads: int = 8,
        ratio: float = 0.75,
        shape: str = "random",
        target: str = "pixels",
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = make_masked_decoder(encoder, width, depth, heads, ratio, shape, target)

    def forward(
        self,
        video: Tensor,
        features: Tensor | None = None,
        generator: torch.Generator | None = None,
        all_tokens: bool = False,
    ) -> dict[str, Tensor]:
        """See :func:`masked_video`."""
        return masked_video(self.encoder, self.decoder, video, features, generator, all_tokens)


def make_masked_decoder(
    encoder: VideoEncoder,
    width: int = 256,
    depth: int = 2,
    heads: int = 8,
    ratio: float = 0.75,
    shape: str = "random",
    target: str = "pixels",
) -> MaskedVideoDecoder:
    """The decoder for that encoder. Raises `ParameterError` for an unknown target or an unfit encoder."""
    check_encoder(encoder)
    if target not in MASKED_TARGETS:
        raise ParameterError(f"masked target: {target!r} is not one of {', '.join(MASKED_TARGETS)}")
    out = encoder.patch_size if target == "pixels" else encoder.width
    return MaskedVideoDecoder(encoder.grid, encoder.width, out, width, depth, heads, ratio, shape)


def check_encoder(encoder: nn.Module) -> None:
    """Raise `ParameterError` for an encoder that needs all tubelets."""
    if not hasattr(encoder, "encode_visible"):
        raise ParameterError(
            f"masked video needs an encoder of visible tubelets only (VideoEncoder); "
            f"{type(encoder).__name__} has no encode_visible"
        )
