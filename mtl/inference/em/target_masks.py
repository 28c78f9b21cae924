"""Masks of the arm ``target_head``: its own head's logits, worked out where the object is.

The mask is what has a logit above 0 and is connected by faces to a positive click. The head sees the last
mask beside the clicks, so every click may change it anywhere in the object; but beyond a voxel's neighbours
it sees nothing of the volume, so it runs in the box that holds the object, on features convolved once. How
far a click reaches is worked out for the whole volume, once per click.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mtl.inference.em.click_fields import Click, Fields, KeptFields, as_prompts, prompts_on
from mtl.inference.em.clicks_to_mask import Box, grown_from_clicks, painted
from mtl.models.geodesic_reach import UNREACHED, geodesic_distance, walking_cost
from mtl.models.local_layers import convolve_halves
from mtl.models.prompts import embeddings_at

#: Voxels judged at once: what the head makes of them stays in a core's cache.
VOXELS_AT_ONCE = 2**13
#: Voxels along each axis that the head's convolution of the click maps reaches.
REACH = 1


class _Distance(NamedTuple):
    """Clicks of one kind, and every voxel's geodesic distance ``(1, 1, *sp)`` to the nearest of them."""

    clicks: list[Click]
    field: Tensor


class TargetMasks:
    """Answers clicks with the target head of a model.

    Args:
        kept: features and automatic outputs of the volume.
    """

    reruns_encoder = False

    def __init__(self, kept: KeptFields) -> None:
        self.kept = kept
        self.head = kept.model.target_head
        self.hidden = self.head.convolve(kept.features)
        self._cost = walking_cost(kept.at([]).semantic[None])
        self._distances = {
            kind: _Distance([], torch.full_like(self._cost, UNREACHED)) for kind in (True, False)
        }

    def mask(self, clicks: Sequence[Click], previous: np.ndarray) -> np.ndarray:
        """``(*sp)`` bool of the object that ``clicks`` mean; ``previous``: the mask before the last click."""
        positive = np.array([click.point for click in clicks if click.positive])
        if len(positive) == 0:
            return np.zeros(self.kept.shape, dtype=bool)
        at_points, reach = self._embeddings(clicks), self._reach(clicks)

        def found(box: Box) -> Tensor:
            return self.logits(box, clicks, previous, at_points, reach) > 0

        return painted(*grown_from_clicks(found, positive, self.kept.shape, previous), self.kept.shape)

    def fields(self, clicks: Sequence[Click]) -> Fields:
        """What the other heads say, which no click changes."""
        return self.kept.at(clicks)

    def logits(
        self, box: Box, clicks: Sequence[Click], previous: np.ndarray, at_points: Tensor, reach: Tensor
    ) -> Tensor:
        """The head's logits inside ``box``."""
        seen = tuple(
            slice(max(0, side.start - REACH), min(size, side.stop + REACH))
            for side, size in zip(box, self.kept.shape, strict=True)
        )
        device = self.hidden.device
        prompts = prompts_on(as_prompts(clicks, len(box), [side.start for side in seen]), device)
        before = torch.tensor(previous[seen], device=device)[None, None]
        embedding = self.kept.at(clicks).instance[None][:, :, *seen]
        maps = self.head.maps(embedding, reach[:, :, *seen], prompts, before, at_points)
        hidden = convolve_halves(self.head.of_clicks, maps)
        inside = tuple(
            slice(side.start - part.start, side.stop - part.start)
            for side, part in zip(box, seen, strict=True)
        )
        hidden = hidden.add_(self.hidden[:, :, *seen])[:, :, *inside]
        planes = max(1, VOXELS_AT_ONCE // hidden[0, 0, 0].numel())
        parts = zip(hidden.split(planes, dim=2), maps[:, :, *inside].split(planes, dim=2), strict=True)
        return torch.cat([self.head.judge(*part)[0, 0] for part in parts])

    def _embeddings(self, clicks: Sequence[Click]) -> Tensor:
        embedding = self.kept.at(clicks).instance[None]
        return embeddings_at(
            embedding, prompts_on(as_prompts(clicks, len(self.kept.shape)), embedding.device)
        )

    def _reach(self, clicks: Sequence[Click]) -> Tensor:
        """``(1, 2, *sp)``: as :func:`mtl.models.target_head.reach`; old clicks are not walked from again."""
        return torch.cat([(-self._distance(clicks, kind)).exp() for kind in (True, False)], dim=1)

    def _distance(self, clicks: Sequence[Click], kind: bool) -> Tensor:
        """Geodesic distance to the clicks of a kind: the least of what is known and that to the new ones."""
        wanted, known = [click for click in clicks if click.positive == kind], self._distances[kind]
        if known.clicks != wanted[: len(known.clicks)]:
            known = _Distance([], torch.full_like(self._cost, UNREACHED))
        if new := wanted[len(known.clicks) :]:
            prompts = prompts_on(as_prompts(new, len(self.kept.shape)), self._cost.device)
            further = geodesic_distance(self._cost, prompts.points, prompts.labels >= 0)
            known = _Distance(wanted, torch.minimum(known.field, further))
        self._distances[kind] = known
        return known.field
