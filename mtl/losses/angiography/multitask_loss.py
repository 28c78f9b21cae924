r"""All losses of a batch and their weighted sum.

.. math:: L = w_\mathrm{con} L_\mathrm{con} + w_\mathrm{cap} L_\mathrm{cap} + w_\mathrm{mask} L_\mathrm{mask}
          + w_\mathrm{dis} L_\mathrm{dis}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.losses.angiography.captioning import caption_loss, counted_tokens
from mtl.losses.angiography.config import LossConfig
from mtl.losses.angiography.contrastive import sigmoid_contrastive, softmax_contrastive
from mtl.losses.angiography.distillation import contrastive_distillation, distillation_loss
from mtl.losses.angiography.masked import masked_loss

#: What a loss needs of the model's output; the distillation needs the same of the teacher's.
OUTPUTS = {
    "contrastive": ("video_embedding", "text_embedding", "log_temperature"),
    "captioning": ("caption_logits",),
    "masked": ("masked_prediction", "masked_target"),
}


class MultitaskLoss(nn.Module):
    """Four losses and their ``total``; see the modules of this package for the formulas.

    Computed in float32 whatever comes in, without waiting for the device.

    Args:
        config: weights and settings; the described ones where not given.
    """

    def __init__(self, config: LossConfig | None = None) -> None:
        super().__init__()
        self.config = config or LossConfig()

    def forward(
        self,
        output: Mapping[str, Tensor],
        *,
        report_ids: Tensor | None = None,
        caption_tokens: Tensor | None = None,
        prefix_lengths: int | Tensor = 1,
        teacher: Mapping[str, Tensor] | None = None,
        progress: float = 0.0,
        units: Mapping[str, int] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of one batch.

        Args:
            output: the model's dict; a loss whose outputs are missing is left out.
            report_ids: ``(B,)`` int64, equal for identical reports.
            caption_tokens: ``(R, L)`` int64 whose logits ``caption_logits`` are; prefix_lengths: how many at
                the front of each are given.
            teacher: the teacher's dict, for the distillation.
            progress: through the training, 0 to 1, for the weights.
            units: loss to its number of valid units (see :meth:`valid_units`): a loss without one is left
                out. Where not given, all count, and captions without a token that counts are left out on the
                CPU and 0 without a gradient on a GPU, which would have to be waited for.

        Returns:
            ``contrastive``, ``captioning``, ``masked``, ``distillation`` (those that are there), unweighted;
            their terms (``captioning/ce``, ...); and ``total``, the sum by the weights: scalars.

        Raises:
            ParameterError: an empty ``output``, shapes that do not fit, or ``caption_logits`` without
                ``caption_tokens``.
        """
        if not output:
            raise ParameterError("output is empty: what the model gave is expected")
        losses: dict[str, Tensor] = {}
        compute: dict[str, Callable[[], dict[str, Tensor]]] = {
            "contrastive": lambda: {"contrastive": self._contrastive(output, report_ids)},
            "captioning": lambda: self._captioning(output, caption_tokens, prefix_lengths),
            "masked": lambda: {"masked": masked_loss(output["masked_prediction"], output["masked_target"])},
            "distillation": lambda: self._distillation(output, teacher or {}, caption_tokens, prefix_lengths),
        }
        weights = self.config.weights(progress)
        for name in weights:
            there = name == "distillation" or all(key in output for key in OUTPUTS[name])
            if there and (units is None or units.get(name, 0)):
                losses |= compute[name]()
        parts = [weights[name] * losses[name] for name in weights if name in losses]
        zero = next(iter(output.values())).new_zeros((), dtype=torch.float32)
        return {"total": torch.stack(parts).sum() if parts else zero} | losses

    def valid_units(
        self,
        videos: int,
        reports: int = 0,
        caption_tokens: Tensor | None = None,
        prefix_lengths: int | Tensor = 1,
        taught: bool = False,
    ) -> dict[str, int]:
        """How many units each loss has: pairs, tokens that count, clips, clips. For tensors on the CPU.

        Args:
            videos, reports: number of clips, and of those with a report.
            taught: whether there is a teacher.
        """
        counted = 0
        if caption_tokens is not None:
            counted = int(counted_tokens(caption_tokens, prefix_lengths, self.config.pad).sum())
        return {"contrastive": reports, "captioning": counted, "masked": videos,
                "distillation": videos if taught else 0}  # fmt: skip

    def _contrastive(self, output: Mapping[str, Tensor], report_ids: Tensor | None) -> Tensor:
        video, text, log_t = (output[key] for key in OUTPUTS["contrastive"])
        if self.config.contrast == "softmax":
            return softmax_contrastive(video, text, log_t, report_ids, self.config.gather)
        if "bias" not in output:
            raise ParameterError("contrast 'sigmoid' needs a bias: this model was made for 'softmax'")
        return sigmoid_contrastive(video, text, log_t, output["bias"], report_ids, self.config.gather)

    def _captioning(
        self, output: Mapping[str, Tensor], tokens: Tensor | None, prefix_lengths: int | Tensor
    ) -> dict[str, Tensor]:
        if tokens is None:
            raise ParameterError("caption_logits came without the caption_tokens that they belong to")
        config = self.config
        if tokens.device.type == "cpu" and not counted_tokens(tokens, prefix_lengths, config.pad).any():
            return {}
        return caption_loss(
            output["caption_logits"], tokens, prefix_lengths, config.pad, config.label_smoothing
        )

    def _distillation(
        self,
        output: Mapping[str, Tensor],
        teacher: Mapping[str, Tensor],
        tokens: Tensor | None,
        prefix_lengths: int | Tensor,
    ) -> dict[str, Tensor]:
        """The mean of its terms, which come along; nothing where neither side has what is distilled."""
        config, terms = self.config, {}
        both = {
            name: all(key in output and key in teacher for key in OUTPUTS[name])
            for name in ("contrastive", "captioning")
            if config.distilled in (name, "both")
        }
        if both.get("contrastive"):
            mine, its = ([given[key] for key in OUTPUTS["contrastive"]] for given in (output, teacher))
            terms["distillation/contrastive"] = contrastive_distillation(*mine, *its, config.temperature)
        if both.get("captioning") and tokens is not None:
            counted = counted_tokens(tokens, prefix_lengths, config.pad)
            terms["distillation/captioning"] = distillation_loss(
                output["caption_logits"], teacher["caption_logits"], config.temperature, counted
            )
        return {"distillation": torch.stack(list(terms.values())).mean()} | terms if terms else {}
