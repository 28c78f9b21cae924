r"""How easily a click reaches a voxel without crossing a membrane.

The cost of a voxel is :math:`c(x) = -\log q(x) + \epsilon` with the predicted probability of foreground
:math:`q`, and the distance from a click the least sum of costs over the face-connected paths that lead there:

.. math:: d(x) = \min_{\text{paths } p \to x} \sum_{y \in \text{path} \setminus p} c(y) .

(After geodesic distance maps for interactive segmentation: Wang et al., *DeepIGeoS*, PAMI 2019.) It is found
by sweeps along the axes, each of which lets a path go straight on as far as it wants, in both directions:
with the running sum of costs :math:`S_i` along a line, :math:`\min_{j \le i} d_j + S_i - S_j = S_i +
\mathrm{cummin}_i(d - S)`. After ``ROUNDS`` sweeps of every axis a path may have turned at least as often;
paths that turn more often are found a little too long. The device is never asked for anything.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtl.models.voxel_places import flat_places

STEP = 0.02  # epsilon: what a voxel of certain foreground costs
MOST = 6.0  # what a voxel of certain background costs
UNREACHED = 1e3
ROUNDS = 4


def walking_cost(semantic: Tensor) -> Tensor:
    """Logits ``(B, C, *sp)`` to costs ``(B, 1, *sp)`` float32; no gradient flows back."""
    log_p = semantic.detach().float().log_softmax(dim=1)
    return STEP - log_p[:, 1:].logsumexp(dim=1, keepdim=True).clamp_min(-MOST)


@torch.no_grad()
def geodesic_distance(cost: Tensor, points: Tensor, counted: Tensor) -> Tensor:
    """Distance of every voxel to the nearest of the points that count.

    Args:
        cost: ``(B, 1, *sp)``, above 0; points: ``(B, P, S)`` int64; counted: ``(B, P)`` bool.

    Returns:
        ``(B, 1, *sp)``; at most ``UNREACHED``. The least of two sets of points is that of their union, to
        the last bit.
    """
    shape = tuple(cost.shape[2:])
    places, inside = flat_places(points, shape)
    flat = torch.full((len(cost), cost[0].numel() + 1), UNREACHED, device=cost.device)
    flat.scatter_(1, torch.where(counted & inside, places, flat.shape[1] - 1), 0.0)
    flat[:, -1] = UNREACHED
    distance = flat[:, :-1].view(cost.shape)
    sums = {axis: cost.cumsum(axis) for axis in range(2, cost.dim())}
    for _ in range(ROUNDS):
        for axis, along in sums.items():
            distance = _swept(distance, along, cost, axis)
    return distance


def _swept(distance: Tensor, along: Tensor, cost: Tensor, axis: int) -> Tensor:
    """One sweep in both directions; ``along``: the running sum of ``cost``."""
    before = along - cost  # what it costs to come from the other end as far as here
    ahead = along + _least_so_far(distance - along, axis)
    back = _least_so_far(distance + before, axis, backwards=True) - before
    return torch.minimum(ahead, back).clamp_max_(UNREACHED)


def _least_so_far(values: Tensor, axis: int, backwards: bool = False) -> Tensor:
    """The running minimum along an axis, by doubling steps: three times as fast on a CPU as ``cummin``."""
    length, step = values.shape[axis], 1
    while step < length:
        ends = values.narrow(axis, step, length - step), values.narrow(axis, 0, length - step)
        least = torch.minimum(*ends)
        parts = (
            [least, values.narrow(axis, length - step, step)]
            if backwards
            else [values.narrow(axis, 0, step), least]
        )
        values, step = torch.cat(parts, axis), 2 * step
    return values
