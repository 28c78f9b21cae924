"""A mask head for the prompted object.

A click's residual through local convolutions reaches a few voxels, an object fills thousands. So the head
sees, beside the features, how near every voxel's embedding is to those of the clicks, and how easily a path
leads there from them without crossing a membrane: both carry a click through the whole object.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mtl.models.geodesic_reach import geodesic_distance, walking_cost
from mtl.models.local_layers import ChannelNorm, local_convolution, per_voxel
from mtl.models.prompts import (
    NEGATIVE,
    POSITIVE,
    PointPrompts,
    click_balls,
    embeddings_at,
)

#: Channels inside the head at most: every click pays for them at every voxel of the object's box.
MOST_HIDDEN = 16


class TargetHead(nn.Module):
    r"""Mask logits of the object that the clicks mean.

    Seven maps join the features: balls at positive and at negative clicks, the affinities
    :math:`a_\pm = \max_p \exp(-|f_i - f_p|^2 / \delta_d^2)` to either kind (0 where there is no such click),
    the reach :math:`r_\pm = \exp(-d_\pm)` with the geodesic distance to either kind
    (:mod:`mtl.models.geodesic_reach`), and the previous mask. The convolutions correct what these say alone:

    .. math:: z = \mathrm{head}(\ldots) + s\,(a_+ - \max(a_-, e^{-1})) + t\,(r_+ - \max(r_-, e^{-2})),

    where the second part is above 0 where a positive click is nearer than any negative one and within
    :math:`\delta_d`, the third where it is easier to reach and within a distance of 2. What depends on the
    features alone (:meth:`convolve`) can be kept from click to click.

    Args:
        features: channels of the backbone; spatial_dims: 2 or 3.
        offsets: ``(O, S)``, the voxels of a click ball; delta_d: length scale of the affinity.
    """

    maps_channels = 7

    def __init__(self, features: int, spatial_dims: int, offsets: Tensor, delta_d: float = 1.5) -> None:
        super().__init__()
        hidden = min(features, MOST_HIDDEN)
        self.delta_d = delta_d
        self.of_features = local_convolution(spatial_dims, features, hidden, bias=True)
        self.of_clicks = local_convolution(spatial_dims, self.maps_channels, hidden, bias=False)
        self.norm = ChannelNorm(hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.logits = nn.Linear(hidden, 1)
        self.slope = nn.Parameter(torch.tensor(2.0))
        self.reach_slope = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("offsets", offsets, persistent=False)

    def convolve(self, features: Tensor) -> Tensor:
        """The part that no click changes: ``(B, F, *sp)`` to ``(B, hidden, *sp)``."""
        return self.of_features(features)

    def maps(
        self,
        embedding: Tensor,
        reach: Tensor,
        prompts: PointPrompts,
        previous_mask: Tensor | None,
        at_points: Tensor | None = None,
    ) -> Tensor:
        """What the clicks say: ``(B, 7, *sp)``.

        Args:
            reach: ``(B, 2, *sp)``, see :func:`reach`; previous_mask: ``(B, 1, *sp)`` in [0, 1]; none: zeros.
            at_points: ``(B, P, E)``, embeddings at the points; needed for a part of a volume, which may not
                hold every point (they count from the part's corner).
        """
        shape = tuple(embedding.shape[2:])
        none = embedding.new_zeros(len(embedding), 1, *shape)
        previous = none if previous_mask is None else previous_mask.to(embedding.dtype)
        balls = click_balls(prompts, shape, self.offsets).to(embedding.dtype)
        at_points = embeddings_at(embedding, prompts) if at_points is None else at_points
        near = [
            affinity(embedding, at_points, prompts.labels == kind, self.delta_d)
            for kind in (POSITIVE, NEGATIVE)
        ]
        return torch.cat([balls, *near, reach.to(embedding.dtype), previous], dim=1)

    def finish(self, hidden: Tensor, maps: Tensor) -> Tensor:
        """Logits ``(B, 1, *sp)`` from what :meth:`convolve` and :meth:`maps` gave."""
        return self.judge(hidden + self.of_clicks(maps), maps)

    def judge(self, hidden: Tensor, maps: Tensor) -> Tensor:
        """The part that looks at each voxel alone: ``(B, hidden, *sp)`` and the maps to ``(B, 1, *sp)``."""
        nearer = maps[:, 2:3] - maps[:, 3:4].clamp_min(math.exp(-1))
        easier = maps[:, 4:5] - maps[:, 5:6].clamp_min(math.exp(-2))
        mixed = per_voxel(self.mix, self.norm(hidden).relu()).relu()
        return per_voxel(self.logits, mixed) + self.slope * nearer + self.reach_slope * easier

    def forward(
        self,
        features: Tensor,
        embedding: Tensor,
        semantic: Tensor,
        prompts: PointPrompts,
        previous_mask: Tensor | None = None,
    ) -> Tensor:
        """``(B, F, *sp)``, ``(B, E, *sp)`` and logits ``(B, C, *sp)`` to mask logits ``(B, 1, *sp)``."""
        reached = reach(walking_cost(semantic), prompts)
        return self.finish(self.convolve(features), self.maps(embedding, reached, prompts, previous_mask))


def reach(cost: Tensor, prompts: PointPrompts) -> Tensor:
    """``(B, 2, *sp)`` in [0, 1]: exp(-d) to the positive and to the negative clicks; 0 without such.

    ``cost``: ``(B, 1, *sp)``, see :func:`mtl.models.geodesic_reach.walking_cost`.
    """
    kinds = (prompts.labels == POSITIVE, prompts.labels == NEGATIVE)
    return torch.cat([(-geodesic_distance(cost, prompts.points, kind)).exp() for kind in kinds], dim=1)


def affinity(embedding: Tensor, at_points: Tensor, counted: Tensor, delta_d: float) -> Tensor:
    """``(B, 1, *sp)`` in [0, 1]: exp(-d^2 / delta_d^2) to the nearest of the points in embedding space.

    ``at_points`` ``(B, P, E)``: their embeddings; ``counted`` ``(B, P)`` bool: which of them matter. Computed
    in float32 at least, also under autocast: the square of a distance is a small difference of large numbers.
    """
    flat, at_points = (
        x if x.dtype == torch.float64 else x.float() for x in (embedding.flatten(2), at_points)
    )
    with torch.autocast(flat.device.type, enabled=False):
        nearest = _squared_distance(flat, at_points, counted)
    return torch.exp(-nearest / delta_d**2).view(len(flat), 1, *embedding.shape[2:])


def _squared_distance(flat: Tensor, at_points: Tensor, counted: Tensor) -> Tensor:
    """``(B, 1, N)``: to the nearest of the points that count, infinite where there is none."""
    away = flat.square().sum(1, keepdim=True) - 2 * at_points @ flat + at_points.square().sum(2, keepdim=True)
    away = away.masked_fill(~counted[:, :, None], torch.inf)
    nearest = (
        away.amin(1, keepdim=True)
        if away.shape[1]
        else flat.new_full((len(flat), 1, flat.shape[2]), torch.inf)
    )
    return nearest.clamp_min(0)
