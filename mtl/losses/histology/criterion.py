"""All eight losses of a batch and their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.losses.histology.config import LossConfig
from mtl.losses.histology.contrast import pixel_loss, prototype_loss
from mtl.losses.histology.pseudo_labels import pseudo_labels
from mtl.losses.histology.regression import hv_loss
from mtl.losses.histology.segmentation import edge_loss, segmentation_loss
from mtl.losses.histology.smoothness import local_disagreement, soft_closing_gap, total_variation

#: What a loss reads of the model's output beside ``preds``.
OUTPUTS = {"hv": "hv_map", "recon": "recon", "obj_emb": "obj_emb", "pixel_con": "pixel_emb"}


class MultiTaskLoss(nn.Module):
    """Eight losses and their ``total``; see the modules of this package for the formulas.

    Computed in float32 whatever comes in, without waiting for the device (but for ``clean_up``).

    Args:
        config: weights and thresholds; the described ones where not given.
    """

    def __init__(self, config: LossConfig | None = None) -> None:
        super().__init__()
        self.config = config or LossConfig()

    def forward(
        self,
        model_output: Mapping[str, Tensor],
        positive_mask: Tensor,
        target_hv: Tensor | None,
        images: Tensor | None = None,
        pred_probs: Tensor | None = None,
        *,
        pixel_weight: Tensor | None = None,
        ramp: float | Tensor = 1.0,
        only: frozenset[str] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of one batch.

        Args:
            model_output: the model's dict; a loss whose output is missing is left out.
            positive_mask: ``(B, 1, H, W)``, 1 = outlined nucleus, 0 = no label.
            target_hv: ``(B, C, H, W)``, as many maps as ``hv_map`` has; None where there is no ``hv_map``.
            images: ``(B, 3, H, W)`` in [0, 1], for ``recon``.
            pred_probs: ``(B, 1, H, W)`` that pseudo-labels come from; sigmoid(preds), detached, where not
            given. pixel_weight: ``(B, 1, H, W)`` >= 0, of the outlined pixels.
            ramp: how much pseudo-labels count yet, 0 to 1.
            only: losses to compute, where not all are wanted.

        Returns:
            The losses of weight above 0, unweighted, by the names of ``LOSSES``, and ``total``. ``edge`` and
            ``hv`` are 0 without an outline. ``obj_emb`` is absent with fewer than two positive cells or no
            pseudo-negative, ``pixel_con`` while no pixel qualifies as a negative; on a GPU, which would have
            to be waited for, they are there with the value 0 and no gradient.

        Raises:
            ParameterError: no ``preds``, shapes that do not fit one another, or (on the CPU) a mask of other
                values than 0 to 1.
        """
        check_shapes(model_output, positive_mask, target_hv, images, pred_probs, pixel_weight)
        if positive_mask.device.type == "cpu" and positive_mask.numel() and positive_mask.max() > 1:
            raise ParameterError(
                f"positive_mask reaches {float(positive_mask.max()):g}: 1 for outlined pixels is expected"
            )
        z, y = model_output["preds"].float(), positive_mask.float()
        with torch.autocast(z.device.type, enabled=False):
            found = self._losses(model_output, z, y, target_hv, images, pred_probs, pixel_weight, ramp, only)
            weights = self.config.weights
            total = sum((weights[name] * loss for name, loss in found.items()), z.new_zeros(()))
        return {"total": total} | found

    def _losses(
        self,
        output: Mapping[str, Tensor],
        z: Tensor,
        y: Tensor,
        target_hv: Tensor | None,
        images: Tensor | None,
        pred_probs: Tensor | None,
        pixel_weight: Tensor | None,
        ramp: float | Tensor,
        only: frozenset[str] | None,
    ) -> dict[str, Tensor]:
        config = self.config
        p = z.sigmoid()
        guess = p.detach() if pred_probs is None else pred_probs.detach().float()
        pseudo = pseudo_labels(guess, y, config)
        out = {name: value.float() for name, value in output.items() if name in OUTPUTS.values()}
        compute = {
            "segmentation": lambda: segmentation_loss(z, y, pseudo, config, pixel_weight, ramp),
            "edge": lambda: edge_loss(z, y, guess),
            "hv": lambda: hv_loss(out["hv_map"], target_hv.float(), y, config.hv_gradient),
            "recon": lambda: (out["recon"] - images.float()).square().mean(),
            "obj_emb": lambda: prototype_loss(out["obj_emb"], y, pseudo.negative, config),
            "pixel_con": lambda: pixel_loss(out["pixel_emb"], y, guess, config),
            "total_var": lambda: total_variation(p),
            "small_hole": lambda: (soft_closing_gap if config.closing else local_disagreement)(p),
        }
        found = {}
        for name in config.weights:
            missing = OUTPUTS.get(name, "preds") not in output or (name == "recon" and images is None)
            if missing or (only is not None and name not in only):
                continue
            loss = compute[name]()
            if isinstance(loss, Tensor):
                found[name] = loss
            elif loss.there.is_cuda or loss.there:
                found[name] = loss.value
        return found


def check_shapes(
    output: Mapping[str, Tensor],
    positive_mask: Tensor,
    target_hv: Tensor | None,
    images: Tensor | None = None,
    pred_probs: Tensor | None = None,
    pixel_weight: Tensor | None = None,
) -> None:
    """Raise `ParameterError` naming the first tensor that does not fit ``preds``."""
    if "preds" not in output:
        raise ParameterError(f"the output has {', '.join(output) or 'nothing'}; 'preds' is expected in it")
    logits = output["preds"]
    batch, _, *sides = logits.shape
    like_logits = {"positive_mask": positive_mask, "pred_probs": pred_probs, "pixel_weight": pixel_weight}
    expected = {
        name: (tensor, (batch, 1, *sides)) for name, tensor in like_logits.items() if tensor is not None
    }
    if "hv_map" in output:
        expected["target_hv"] = (target_hv, tuple(output["hv_map"].shape))
    if images is not None and "recon" in output:
        expected["images"] = (images, tuple(output["recon"].shape))
    for name, (tensor, shape) in expected.items():
        if tensor is None or tuple(tensor.shape) != shape:
            found = "is None" if tensor is None else f"has shape {tuple(tensor.shape)}"
            raise ParameterError(f"{name} {found}; {shape} is expected")
    for name in ("pixel_emb", "obj_emb"):
        if name not in output:
            continue
        shape = tuple(output[name].shape)
        of_image = len(shape) == 4 and shape[0] == batch and shape[2:] == tuple(sides)
        coarser = len(shape) == 4 and shape[0] == batch and shape[2] <= sides[0] and shape[3] <= sides[1]
        if not (of_image or (name == "obj_emb" and coarser)):
            grid = f"{tuple(sides)}{' or a coarser grid' if name == 'obj_emb' else ''}"
            raise ParameterError(f"{name} has shape {shape}; ({batch}, channels, ...) on {grid} is expected")
