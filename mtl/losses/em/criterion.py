r"""All losses of one mode, and their weighted sum.

.. math:: L = \lambda_\mathrm{sem} L_\mathrm{sem} + \lambda_\mathrm{ins} L_\mathrm{ins}
          + \lambda_\mathrm{geom} L_\mathrm{geom}

The arm with a mask head has its loss besides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.losses.em.geometry import DIFFERENCES, RAW_REGIONS, geometry_loss
from mtl.losses.em.instance import discriminative_loss
from mtl.losses.em.semantic import IGNORE, semantic_loss
from mtl.losses.em.target import target_loss

HEADS = ("semantic", "instance", "geometry", "target")


class EMLoss(nn.Module):
    """Losses of the heads, their terms, and the weighted ``total``.

    Args:
        weight_semantic, weight_instance, weight_geometry, weight_target: in ``total``; 0 leaves a head's
            loss out.
        weight_ce, weight_iou, weight_dice: of the semantic loss (the first and last of the mask head's too).
        weight_pull, weight_push, weight_norm, delta_v, delta_d: of the instance loss.
        weight_dir, weight_cov, weight_raw, geometry_kind, raw_region: of the geometry loss.
        ignore_index: label of unknown voxels.

    Raises:
        ParameterError: a weight below 0 or not finite, a head whose terms all weigh 0, or an unknown name.
    """

    def __init__(
        self,
        weight_semantic: float = 1.0,
        weight_instance: float = 1.0,
        weight_geometry: float = 1.0,
        weight_target: float = 1.0,
        weight_ce: float = 1.0,
        weight_iou: float = 1.0,
        weight_dice: float = 1.0,
        weight_pull: float = 1.0,
        weight_push: float = 1.0,
        weight_norm: float = 0.001,
        weight_dir: float = 1.0,
        weight_cov: float = 1.0,
        weight_raw: float = 1.0,
        delta_v: float = 0.5,
        delta_d: float = 1.5,
        geometry_kind: str = "mse",
        raw_region: str = "known",
        ignore_index: int = IGNORE,
    ) -> None:
        super().__init__()
        weights = (weight_semantic, weight_instance, weight_geometry, weight_target)
        self.weights = dict(zip(HEADS, weights, strict=True))
        self.terms: dict[str, dict[str, float]] = {
            "semantic": {"weight_ce": weight_ce, "weight_iou": weight_iou, "weight_dice": weight_dice},
            "instance": {"weight_pull": weight_pull, "weight_push": weight_push, "weight_norm": weight_norm},
            "geometry": {"weight_dir": weight_dir, "weight_cov": weight_cov, "weight_raw": weight_raw},
            "target": {"weight_ce": weight_ce, "weight_dice": weight_dice},
        }
        self.delta_v, self.delta_d = delta_v, delta_d
        self.geometry_kind, self.raw_region = geometry_kind, raw_region
        self.ignore_index = ignore_index
        self._check()

    def _check(self) -> None:
        for head, terms in self.terms.items():
            for name, value in [(f"weight_{head}", self.weights[head]), *terms.items()]:
                if not (math.isfinite(value) and value >= 0):
                    raise ParameterError(f"{name} = {value}: a finite number from 0 on is expected")
            # The mask head shares its weights with the semantic loss: it is not asked for in most arms.
            if self.weights[head] and not any(terms.values()) and head != "target":
                raise ParameterError(
                    f"weight_{head} = {self.weights[head]}, but {', '.join(terms)} are all 0: "
                    f"set weight_{head} to 0 to train without that head"
                )
        for name, margin in (("delta_v", self.delta_v), ("delta_d", self.delta_d)):
            if not 0 < margin < math.inf:
                raise ParameterError(f"{name} = {margin}: a finite number above 0 is expected")
        for name, value, known in (
            ("geometry_kind", self.geometry_kind, tuple(DIFFERENCES)),
            ("raw_region", self.raw_region, RAW_REGIONS),
        ):
            if value not in known:
                raise ParameterError(f"{name}: {value!r} is not one of {', '.join(known)}")

    def forward(
        self,
        output: Mapping[str, Tensor],
        labels: Tensor,
        image: Tensor,
        targets: Mapping[str, Tensor],
        *,
        semantic: Tensor | None = None,
        target_ids: Tensor | None = None,
        max_instances: int | None = None,
        units: Mapping[str, int] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of one batch in one mode.

        Args:
            output: the model's dict; a head whose key is missing is left out, and so is one of weight 0.
            labels: ``(B, *sp)`` int64: ids, 0 background, ``ignore_index`` unknown.
            image: ``(B, 1, *sp)``; targets: ``weight`` ``(B, *sp)``, ``direction`` ``(B, S, *sp)``,
                ``tensor`` ``(B, S^2, *sp)``.
            semantic: ``(B, *sp)`` classes; where not given foreground is 1 and background 0. Where given, the
                instance loss runs per class.
            target_ids: ``(B,)`` ids that the prompts mean, for the mask head.
            max_instances: largest id, and units: head to its number of valid samples (see
                :meth:`valid_units`); the device is asked where they are not given.

        Returns:
            ``semantic``, ``instance``, ``geometry``, ``target`` (those that have a valid sample), their terms
            (``semantic/ce``, ...) and ``total``, the sum of the heads by their weights: scalars.
        """
        units = self.valid_units(labels, target_ids) if units is None else units
        classes = torch.where(labels > 0, 1, labels) if semantic is None else semantic
        losses: dict[str, Tensor] = {}
        for head in HEADS:
            if not (self.weights[head] and head in output and units.get(head, 0)):
                continue
            given, terms = output[head], self.terms[head]
            if head == "semantic":
                losses |= semantic_loss(given, classes, **terms, ignore_index=self.ignore_index)
            elif head == "instance":
                losses |= discriminative_loss(
                    given, labels, targets["weight"], self.delta_v, self.delta_d, **terms,
                    classes=semantic, max_instances=max_instances,
                )  # fmt: skip
            elif head == "geometry":
                options: dict[str, Any] = {"kind": self.geometry_kind, "raw_region": self.raw_region}
                ways, shapes = targets.get("direction"), targets.get("tensor")
                options |= terms | {"ignore_index": self.ignore_index}
                losses |= geometry_loss(given, labels, image, ways, shapes, **options)
            elif target_ids is not None:
                losses |= target_loss(given, labels, target_ids, **terms, ignore_index=self.ignore_index)
        parts = [self.weights[head] * losses[head] for head in HEADS if head in losses]
        losses["total"] = torch.stack(parts).sum() if parts else labels.new_zeros((), dtype=torch.float32)
        return losses

    def valid_units(self, labels: Tensor, target_ids: Tensor | None = None) -> dict[str, int]:
        """For how many samples each head has a loss: known voxels, instances, a wanted object.

        Meant for labels on the CPU, when a batch is put together; elsewhere the device is waited for.
        """
        flat = labels.flatten(1)
        known, foreground = (flat != self.ignore_index).any(1), (flat > 0).any(1)
        coloured = self.terms["geometry"]["weight_raw"] and self.raw_region == "known"
        wanted = foreground & False if target_ids is None else (flat == target_ids[:, None]).any(1)
        counts = {"semantic": known, "instance": foreground, "geometry": known if coloured else foreground}
        counts["target"] = wanted if target_ids is None else wanted & (target_ids > 0)
        return {head: int(valid.sum()) for head, valid in counts.items()}
