r"""What masked encoding is measured against: all tubelets in the encoder, and Hugging Face's VideoMAE.

Hidden tubelets go through every layer and nobody looks at them,

.. math:: \mathrm{A}(q, k, v)_n = \sum_{m \in K} \frac{e^{q_n \cdot k_m / \sqrt d}}
          {\sum_{l \in K} e^{q_n \cdot k_l / \sqrt d}}\, v_m,

so the visible ones :math:`K` come out as if the others were not there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.models.angiography import VideoEncoder
from mtl.models.angiography.transformer import SelfAttention


def encoded_in_full(encoder: VideoEncoder, video: Tensor, keep: Tensor) -> Tensor:
    """Tokens ``(B, K, D)`` of the tubelets ``keep`` (B, K), like ``encoder.encode_visible``."""
    patches = encoder.patches(video)
    x = encoder.embed((patches - encoder.mean) / encoder.std) + encoder.positions(encoder.grid[0])
    shown = torch.zeros(patches.shape[:2], dtype=torch.bool).scatter_(1, keep, True)
    for block in encoder.blocks:
        x = x + _attended(block.attention, block.norm1(x), shown)
        x = x + block.mlp(block.norm2(x))
    return encoder.norm(x).gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))


def _attended(attention: SelfAttention, x: Tensor, shown: Tensor) -> Tensor:
    q, k, v = (
        part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in attention.qkv(x).chunk(3, -1)
    )
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=shown[:, None, None])
    return attention.out(found.transpose(1, 2).flatten(2))


def video_mae(encoder: VideoEncoder) -> nn.Module:
    """A VideoMAE encoder of the same size, with random weights. Needs ``transformers``."""
    from transformers import VideoMAEConfig, VideoMAEModel

    torch.manual_seed(0)
    block = encoder.blocks[0]
    config = VideoMAEConfig(
        image_size=encoder.grid[1] * encoder.tubelet[1], patch_size=encoder.tubelet[1],
        num_channels=encoder.in_channels, num_frames=encoder.grid[0] * encoder.tubelet[0],
        tubelet_size=encoder.tubelet[0], hidden_size=encoder.width, num_hidden_layers=len(encoder.blocks),
        num_attention_heads=block.attention.heads, intermediate_size=block.mlp[0].out_features,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return VideoMAEModel(config).train()
