"""What a network predicts with a set of clicks, computing again only what the clicks change.

The heads are spatially local, so a click of the arm ``late`` changes their outputs within
``model.click_reach`` voxels and nowhere else: its residual reaches one voxel, the heads' convolution another
one. The small box around it is computed again from the features, which are kept; the rest of the fields
stays. In the arms ``embedding`` and ``target_head`` no click changes the heads' outputs. In ``input`` and
``multiscale`` a click passes through the backbone: the network runs again as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.inference.em.clicks_to_mask import Box, box_around, predicted_foreground
from mtl.models.em import EMModel
from mtl.models.local_layers import LocalHead
from mtl.models.prompts import NEGATIVE, POSITIVE, PointPromptEncoder, PointPrompts


class Click(NamedTuple):
    """One click: a voxel and what it says of it."""

    point: tuple[int, ...]
    positive: bool


class Fields(NamedTuple):
    """``semantic`` logits ``(C, *sp)``, ``instance`` ``(E, *sp)``, ``foreground`` probability ``(*sp)``."""

    semantic: Tensor
    instance: Tensor
    foreground: Tensor


def as_prompts(clicks: Iterable[Click], axes: int, corner: Sequence[int] | None = None) -> PointPrompts:
    """Clicks as a batch of one; their points count from ``corner``, where there is one."""
    clicks = list(clicks)
    points = torch.tensor([click.point for click in clicks], dtype=torch.int64).view(1, len(clicks), axes)
    labels = torch.tensor([[POSITIVE if click.positive else NEGATIVE for click in clicks]], dtype=torch.int64)
    return PointPrompts(points if corner is None else points - torch.tensor(corner), labels)


class KeptFields:
    """Fields of the arms in which features do not depend on the clicks.

    Args:
        model: in eval mode; ``late``, ``embedding`` or ``target_head``.
        image: ``(1, in_channels, *sp)``.
        semantic_id: class of the clicked object.
    """

    def __init__(self, model: EMModel, image: Tensor, semantic_id: int) -> None:
        self.model = model
        self.semantic_ids = torch.tensor([semantic_id], device=image.device)
        self.features = model.encode(image)
        self.shape = tuple(image.shape[2:])
        self._applied: list[Click] = []
        self._fields = _fields(model.semantic_head(self.features), model.instance_head(self.features))
        self._unprompted = self._fields.instance.clone() if model.click_reach else None

    def unprompted(self, points: Tensor) -> Tensor | None:
        """``(E, P)`` embeddings at ``points`` ``(P, S)`` without any click; None where clicks change none."""
        return None if self._unprompted is None else self._unprompted[:, *points.T.to(self.features.device)]

    def at(self, clicks: Sequence[Click]) -> Fields:
        """The fields with exactly these clicks; the tensors are those of the last call, changed in place."""
        if self.model.click_reach:
            now, before = Counter(clicks), Counter(self._applied)
            for point in {click.point for click in (now - before) + (before - now)}:
                self._refresh(point, clicks)
            self._applied = list(clicks)
        return self._fields

    def _refresh(self, point: tuple[int, ...], clicks: Sequence[Click]) -> None:
        """Compute what a click at ``point`` can change, with the clicks there are."""
        changed = self._box(point, self.model.click_reach)
        seen = self._box(point, self.model.click_reach + LocalHead.reach)
        features = self.features[:, :, *seen]
        features = features + self._residual(point, clicks, seen) if clicks else features
        beyond = [
            side
            for axis in reversed(range(len(seen)))
            for side in (
                LocalHead.reach - changed[axis].start + seen[axis].start,
                LocalHead.reach - seen[axis].stop + changed[axis].stop,
            )
        ]
        features = F.pad(features, beyond)  # the zeros that the convolution sees beyond the volume
        semantic, instance = (
            head.finish(head.convolve(features, padded=False))
            for head in (self.model.semantic_head, self.model.instance_head)
        )
        for field, patch in zip(self._fields, _fields(semantic, instance), strict=True):
            field[..., *changed] = patch

    def _residual(self, point: tuple[int, ...], clicks: Sequence[Click], seen: Box) -> Tensor:
        """The prompts' residual in the box ``seen``, from all clicks that reach into it."""
        reach = self.model.click_reach + LocalHead.reach + PointPromptEncoder.reach
        around = self._box(point, reach)
        near = [c for c in clicks if all(s.start <= p < s.stop for p, s in zip(c.point, around, strict=True))]
        prompts = as_prompts(near, len(around), [side.start for side in around])
        sizes = tuple(side.stop - side.start for side in around)
        residual = self.model.prompt_encoder(
            prompts_on(prompts, self.features.device), self.semantic_ids, sizes
        )
        inside = [
            slice(part.start - side.start, part.stop - side.start)
            for part, side in zip(seen, around, strict=True)
        ]
        return residual[:, :, *inside]

    def _box(self, point: tuple[int, ...], reach: int) -> Box:
        return box_around(point, point, reach, self.shape)


class RerunFields:
    """Fields of the arms in which clicks pass through the backbone. Arguments as :class:`KeptFields`."""

    def __init__(self, model: EMModel, image: Tensor, semantic_id: int) -> None:
        self.model, self.image = model, image
        self.semantic_ids = torch.tensor([semantic_id], device=image.device)

    def unprompted(self, points: Tensor) -> None:
        """Nothing: what clicks change here, they change everywhere."""

    def at(self, clicks: Sequence[Click]) -> Fields:
        """The fields with exactly these clicks, from the image on."""
        prompts = as_prompts(clicks, self.image.dim() - 2) if clicks else None
        features = self.model.encode(
            self.image, prompts and prompts_on(prompts, self.image.device), self.semantic_ids
        )
        return _fields(self.model.semantic_head(features), self.model.instance_head(features))


def prompts_on(prompts: PointPrompts, device: torch.device) -> PointPrompts:
    """The prompts on the model's device."""
    return PointPrompts(prompts.points.to(device), prompts.labels.to(device))


def _fields(semantic: Tensor, instance: Tensor) -> Fields:
    """From the heads' outputs for a batch of one."""
    return Fields(semantic[0], instance[0], predicted_foreground(semantic[0]))
