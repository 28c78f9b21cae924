r"""Videos and reports in one space, reports from videos, masked video: one encoder, four objectives.

.. math:: v = \widehat{P\,z_\mathrm{video}}, \qquad u = \widehat{z_\mathrm{text}}, \qquad
          \text{logits} = e^{t'}\, v \cdot u + b, \qquad \hat x = x / \lVert x \rVert

with the learned temperature :math:`t'` and bias :math:`b` of SigLIP (Zhai et al., ICCV 2023), or without bias
as in CLIP (Radford et al., ICML 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import ParameterError
from mtl.models.angiography.captioning_decoder import CaptioningDecoder, memory_of
from mtl.models.angiography.hugging_face_text import HuggingFaceTextEncoder
from mtl.models.angiography.masked_video import make_masked_decoder, masked_video
from mtl.models.angiography.teacher import EMATeacher
from mtl.models.angiography.text_encoder import TextEncoder
from mtl.models.angiography.video_encoder import VideoEncoder
from mtl.models.parts import PartitionedModel

CONTRASTS = ("sigmoid", "softmax")
CLIP_TEMPERATURE = 0.07


class Alignment(nn.Module):
    """The last step into the common space, temperature and bias.

    Args:
        width: of the pooled video; embedding: of the space.
        contrast: ``sigmoid``: t' = log 10, b = -log(B - 1); ``softmax``: t' = -log 0.07, no bias.
        batch: B, pairs of a joint batch (all ranks).
    """

    def __init__(self, width: int, embedding: int, contrast: str = "sigmoid", batch: int = 64) -> None:
        super().__init__()
        if contrast not in CONTRASTS or batch < 2:
            raise ParameterError(
                f"contrast={contrast!r}, batch={batch}: one of {', '.join(CONTRASTS)} and 2 pairs at least "
                "are expected"
            )
        sigmoid = contrast == "sigmoid"
        self.project = nn.Linear(width, embedding)
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(10) if sigmoid else -math.log(CLIP_TEMPERATURE))
        )
        self.bias = nn.Parameter(torch.tensor(-math.log(batch - 1))) if sigmoid else None

    def forward(self, pooled: Tensor) -> Tensor:
        """``(B, width)`` to ``(B, embedding)`` of length 1."""
        return unit(self.project(pooled))


class VideoTextModel(PartitionedModel, PyTorchModelHubMixin):
    """Four parts that learning rates are given for (``video``, ``text``, ``caption``, ``masked``), and
    ``alignment``, a small fifth: the projection of the video, temperature and bias.

    Arguments are saved beside the weights (``config.json``), so that ``from_pretrained(folder)`` needs
    nothing else. Another backbone is a subclass with its own :meth:`make_video`, another text model one with
    its own :meth:`make_text`.

    Args:
        vocabulary: number of token ids; pad, eos: two of them; context: most tokens in a row.
        width, heads, dropout: of all transformers; embedding: of the common space, ``width`` where not given.
        frames, image_size, tubelet, video_depth, positions, pool, mean, std: of the `VideoEncoder`.
        text_depth, text_pool: of the `TextEncoder`; text_model: a Hugging Face model instead, by
            name or folder; its configuration is saved, so that neither is needed again.
        caption_depth: of the `CaptioningDecoder`.
        masked_width, masked_depth, mask_ratio, mask_shape, masked_target: of the `MaskedVideoDecoder`.
        contrast, contrast_batch: what temperature and bias start from, see `Alignment`.
        teacher_decay: of the average of its own weights that it keeps as ``teacher`` (saved with it, never
            trained); 0: none.

    Raises:
        ParameterError: names the argument that is out of range.
    """

    part_names = ("video", "text", "caption", "masked", "alignment")
    shared_parts = ("video",)

    def __init__(
        self,
        vocabulary: int = 30522,
        width: int = 512,
        heads: int = 8,
        dropout: float = 0.0,
        embedding: int | None = None,
        context: int = 512,
        pad: int = 0,
        eos: int = 3,
        frames: int = 16,
        image_size: int | Sequence[int] = 224,
        tubelet: Sequence[int] = (2, 16, 16),
        video_depth: int = 6,
        positions: str = "learned",
        pool: str = "attention",
        mean: float = 0.5,
        std: float = 0.25,
        text_depth: int = 6,
        text_pool: str = "eos",
        text_model: str | Mapping[str, Any] = "",
        caption_depth: int = 6,
        masked_width: int = 256,
        masked_depth: int = 2,
        mask_ratio: float = 0.75,
        mask_shape: str = "random",
        masked_target: str = "pixels",
        contrast: str = "sigmoid",
        contrast_batch: int = 64,
        teacher_decay: float = 0.0,
    ) -> None:
        super().__init__()
        embedding = embedding or width
        self.video = self.make_video(
            frames=frames, image_size=image_size, tubelet=tubelet, width=width, depth=video_depth,
            heads=heads, positions=positions, pool=pool, dropout=dropout, mean=mean, std=std,
        )  # fmt: skip
        self.text = self.make_text(
            text_model, vocabulary=vocabulary, width=width, depth=text_depth, heads=heads, context=context,
            out=embedding, pool=text_pool, pad=pad, dropout=dropout,
        )  # fmt: skip
        if isinstance(self.text, HuggingFaceTextEncoder):
            self._hub_mixin_config["text_model"] = self.text.configuration
        self.caption = CaptioningDecoder(
            vocabulary,
            width,
            caption_depth,
            heads,
            context,
            self.video.width,
            dropout=dropout,
            pad=pad,
            eos=eos,
        )
        if hasattr(self.video, "encode_visible"):
            self.masked = make_masked_decoder(
                self.video, masked_width, masked_depth, heads, mask_ratio, mask_shape, masked_target
            )
        else:
            self.part_names = tuple(name for name in self.part_names if name != "masked")
        self.alignment = Alignment(self.video.width, embedding, contrast, contrast_batch)
        self.teacher = EMATeacher(self, teacher_decay) if teacher_decay else None  # last: a copy of the rest

    def make_video(self, **sizes: object) -> nn.Module:
        """The video encoder; another one has ``width`` and gives tokens and a pooled vector."""
        return VideoEncoder(**sizes)

    def make_text(self, name: str | Mapping[str, Any], **sizes: object) -> nn.Module:
        """The text encoder; another one makes ``(B, out)`` of tokens ``(B, L)``."""
        if not name:
            return TextEncoder(**sizes)
        # Reports begin with [BOS], not [CLS]: what a model has learnt of its first token does not hold here.
        return HuggingFaceTextEncoder(name, sizes["out"], "mean", sizes["vocabulary"])

    def forward(
        self,
        video: Tensor,
        tokens: Tensor | None = None,
        caption_tokens: Tensor | None = None,
        mask: bool = False,
        features: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Everything that is asked for, for one batch.

        Args:
            video: ``(B, 3, T, H, W)`` in [0, 1].
            tokens: ``(B, L)`` int64 reports for the text encoder.
            caption_tokens: ``(B * r, L)`` int64 with BOS, task and condition at the front, to be written from
                the videos; the ``r`` sequences of a video stand in a row.
            mask: whether to hide and predict tubelets; features, generator: see
                :func:`~mtl.models.angiography.masked_video.masked_video`.

        Returns:
            ``video_tokens`` (B, N, D); ``video_embedding`` (B, E) of length 1; ``log_temperature`` and
            ``bias`` (for ``sigmoid``), scalars; with ``tokens`` ``text_embedding`` (B, E) of length 1; with
            ``caption_tokens`` ``caption_logits`` (B * r, L - 1, V), row ``l`` of token ``l + 1``; with
            ``mask`` what :func:`masked_video` gives.

        Raises:
            DataError: sizes or tokens that do not fit. ParameterError: masked video without a masked part.
        """
        video_tokens, pooled = self.video(video)
        output = {"video_tokens": video_tokens, "video_embedding": self.alignment(pooled)}
        output["log_temperature"] = self.alignment.log_temperature
        if self.alignment.bias is not None:
            output["bias"] = self.alignment.bias
        if tokens is not None:
            output["text_embedding"] = self.embed_text(tokens)
        if caption_tokens is not None:
            output["caption_logits"] = self.caption(caption_tokens[:, :-1], memory_of(video_tokens, pooled))
        if mask:
            if "masked" not in self.part_names:
                raise ParameterError(
                    f"masked video: the backbone {type(self.video).__name__} needs all tubelets"
                )
            output |= masked_video(self.video, self.masked, video, features, generator)
        return output

    def embed_video(self, video: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` to ``(B, E)`` of length 1."""
        return self.alignment(self.video(video)[1])

    def embed_text(self, tokens: Tensor) -> Tensor:
        """``(B, L)`` to ``(B, E)`` of length 1."""
        return unit(self.text(tokens))


def unit(x: Tensor) -> Tensor:
    """Rows of length 1, in float32 at least."""
    return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1)
