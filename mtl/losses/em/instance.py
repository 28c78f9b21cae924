r"""Discriminative loss with a weight per voxel, as one autograd node.

De Brabandere, Neven and Van Gool, *Semantic Instance Segmentation with a Discriminative Loss Function*,
2017. With the embedding :math:`f_i` and the weight :math:`w_i` of voxel :math:`i`, the instances
:math:`k = 1 \dots K` of a sample and :math:`W_k = \sum_{i \in k} w_i`:

.. math:: \mu_k = \frac{1}{W_k} \sum_{i \in k} w_i f_i, \qquad
          L_\mathrm{pull} = \frac1K \sum_k \frac{1}{W_k} \sum_{i \in k} w_i [|f_i - \mu_k| - \delta_v]_+^2,

.. math:: L_\mathrm{push} = \frac{1}{K (K-1)} \sum_{k \ne l} [2 \delta_d - |\mu_k - \mu_l|]_+^2, \qquad
          L_\mathrm{norm} = \frac1K \sum_k |\mu_k| .

The gradient is known in closed form. With :math:`h_i = [|f_i - \mu_k| - \delta_v]_+` and :math:`g_k` the
gradient of the loss with respect to :math:`\mu_k`,

.. math:: \frac{\partial L}{\partial f_i} = \frac{w_i}{W_k} \left( \frac{2 h_i}{K}
          \frac{f_i - \mu_k}{|f_i - \mu_k|} + g_k \right), \qquad
          g_k = \frac{\partial (L_\mathrm{push} + L_\mathrm{norm})}{\partial \mu_k}
          - \frac{1}{K W_k} \sum_{i \in k} 2 w_i h_i \frac{f_i - \mu_k}{|f_i - \mu_k|} .

Voxels are visited in pieces that fit a processor's cache; beside the gradient itself nothing of the
embedding's size is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Voxels per piece: 16 channels of them in float32 are 4 MB. A GPU has no use for small pieces.
PIECE = {"cpu": 2**16}
PIECE_ELSEWHERE = 2**20
#: Neighbouring voxels mostly belong to one instance: were they added to one place of memory, each addition
#: would wait for the one before. So sums go to several lanes in turn, which are added up at the end. Few
#: instances have more lanes each: theirs are the long sums, which lose digits.
LANES = (4, 64)
PLACES = 4096


def discriminative_loss(
    embedding: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    delta_v: float = 0.5,
    delta_d: float = 1.5,
    weight_pull: float = 1.0,
    weight_push: float = 1.0,
    weight_norm: float = 0.001,
    classes: Tensor | None = None,
    max_instances: int | None = None,
) -> dict[str, Tensor]:
    """Mean over samples with an instance; background (0) and unknown (< 0) voxels have no part in it.

    Args:
        embedding: ``(B, E, *sp)`` float; computed in float32 at least.
        labels: ``(B, *sp)`` int64, instances 1..K; larger ids with gaps cost memory, and are numbered anew
            where ``max_instances`` is not given.
        weight: ``(B, *sp)`` float >= 0; 1 where not given. An instance whose weights are all 0 is absent.
        delta_v, delta_d: margins of pull and push, in units of the embedding.
        weight_pull, weight_push, weight_norm: of the terms; one of weight 0 is left out.
        classes: ``(B, *sp)`` int64 >= 0; where given, only instances of one class are pushed apart, and a
            sample's loss is the mean over its classes.
        max_instances: K over the batch; where not given the device is asked for it, where wrong it answers
            with an index out of range.

    Returns:
        ``instance`` (the weighted sum) and its unweighted terms ``instance/pull``, ``/push``, ``/norm``:
        scalars. With no instance at all every one is 0, without a gradient: leave the task out then.
    """
    flat = embedding.flatten(2)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    ids = labels.flatten(1).clamp_min(0)
    ones = flat.new_ones(()).expand(ids.shape) if weight is None else weight.flatten(1).to(flat.dtype)
    weights = torch.where(ids > 0, ones, 0.0)
    if max_instances is None:
        ids, count = _numbered(ids)
    else:
        count = max_instances
    kinds = None if classes is None else classes.flatten(1)
    with torch.autocast(flat.device.type, enabled=False):  # differences of near means: no half precision
        terms = DiscriminativeTerms.apply(flat, ids, weights, kinds, max(count, 1), delta_v, delta_d)
    factors = {"pull": weight_pull, "push": weight_push, "norm": weight_norm}
    parts = {name: (term, factors[name]) for name, term in zip(factors, terms, strict=True) if factors[name]}
    total = sum(factor * term for term, factor in parts.values())
    return {"instance": total} | {f"instance/{name}": term for name, (term, _) in parts.items()}


def _numbered(ids: Tensor) -> tuple[Tensor, int]:
    """Ids ``(B, N)``, 0 background, and the largest; those far above the usual are made 1, 2, ... of."""
    count = int(ids.max())
    if count <= PLACES:
        return ids, count
    found = ids.unique()
    found = found[found > 0]
    return torch.where(ids > 0, torch.searchsorted(found, ids) + 1, 0), len(found)


class DiscriminativeTerms(torch.autograd.Function):
    """``(B, E, N)`` embedding to the scalars pull, push, norm; differentiable once, in the embedding only."""

    @staticmethod
    def forward(
        ctx: Any,
        f: Tensor,
        ids: Tensor,
        weights: Tensor,
        classes: Tensor | None,
        n: int,
        delta_v: float,
        delta_d: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``ids``, ``weights``, ``classes``: ``(B, N)``; ``n``: largest id."""
        totals, centroids = weighted_centroids(f, ids, weights, n)
        share, pairs = instance_shares(totals, ids, classes)
        scale = share / totals.clamp_min(torch.finfo(f.dtype).tiny)
        keep = ctx.needs_input_grad[0]
        pull, direct, drag = _pull(f, ids, weights, centroids, scale, delta_v, keep)
        mu = centroids.transpose(1, 2)
        push, push_gradient = push_apart(mu, pairs, 2 * delta_d)
        norm, norm_gradient = _mean_norm(mu, share)
        if keep:
            ctx.save_for_backward(f, ids, weights, centroids, scale)
            ctx.direct, ctx.delta_v = direct, delta_v
            ctx.of_centroid = (-drag, push_gradient.transpose(1, 2), norm_gradient.transpose(1, 2))
            ctx.totals = totals
        return pull, push, norm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """One more pass over the voxels, written over what forward has left of the pull's gradient."""
        f, ids, weights, centroids, scale = ctx.saved_tensors
        # Taken, not borrowed: it becomes the gradient. A second backward pass makes it anew.
        direct, ctx.direct = ctx.direct, None
        if direct is None:
            _, direct, _ = _pull(f, ids, weights, centroids, scale, ctx.delta_v, keep=True)
        pull = upstream[0]
        of_centroid = sum(g * gradient for g, gradient in zip(upstream, ctx.of_centroid, strict=True))
        table = of_centroid / ctx.totals.clamp_min(torch.finfo(f.dtype).tiny)[:, None]
        buffer = _buffer(f, f.shape[1])
        for b, voxels in _pieces(f):
            index, part = ids[b, voxels], direct[b, :, voxels]
            torch.index_select(table[b], 1, index, out=(push := buffer[:, : len(index)]))
            torch.addcmul(push.mul_(weights[b, voxels]), part, pull, out=part)
        return direct, None, None, None, None, None, None


def weighted_centroids(f: Tensor, ids: Tensor, weights: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Sum of weights ``(B, n + 1)`` and centroid ``(B, E, n + 1)`` of every id; 0 where absent."""
    channels = f.shape[1]
    found, buffer = SumsById(f, channels + 1, n), _buffer(f, channels + 1)
    for b, voxels in _pieces(f):
        piece, index = weights[b, voxels], ids[b, voxels]
        weighted = buffer[:, : len(index)]  # and the weights themselves as the last row
        torch.mul(f[b, :, voxels], piece, out=weighted[:channels])
        weighted[channels] = piece
        found.add(b, index, weighted)
    sums, total = found.sums[:, :channels], found.sums[:, channels]
    means = sums / total.clamp_min(torch.finfo(f.dtype).tiny)[:, None]
    return total.to(f.dtype), means.to(f.dtype)


def instance_shares(totals: Tensor, ids: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
    """How much every instance ``(B, n + 1)`` and every ordered pair ``(B, n + 1, n + 1)`` counts.

    Each sums to 1 over the batch. The sum over pairs is less than 1 where a sample (or class) has one
    instance: it has no push.
    """
    present = totals > 0
    present[:, 0] = False
    together = present[:, :, None] & present[:, None, :]
    if classes is not None:
        kind = torch.zeros_like(totals, dtype=classes.dtype).scatter_reduce_(1, ids, classes, "amax")
        together &= kind[:, :, None] == kind[:, None, :]
    peers = together.sum(2).to(totals.dtype)
    of_group = present / peers.clamp_min(1)
    groups = of_group.sum(1, keepdim=True)
    samples = present.any(1).sum().clamp_min(1)
    share = of_group / (groups.clamp_min(1) * samples)
    apart = ~torch.eye(totals.shape[1], dtype=torch.bool, device=totals.device)
    return share, (together & apart) * (share / (peers - 1).clamp_min(1))[:, :, None]


def push_apart(mu: Tensor, pairs: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Push term and its gradient in ``mu`` ``(B, K, E)``; ``pairs`` ``(B, K, K)`` is symmetric.

    Two centroids at the very same place have no direction to part in: their gradient is 0.
    """
    # Distances do not change, and the gradient below loses no digits, when the common part is taken away.
    counted = (pairs.sum(2) > 0).to(mu.dtype)[:, :, None]
    mu = mu - (mu * counted).sum(1, keepdim=True) / counted.sum(1, keepdim=True).clamp_min(1)
    distance = torch.cdist(mu, mu, compute_mode="donot_use_mm_for_euclid_dist")
    hinge = (margin - distance).relu_()
    pull_away = torch.where(distance > 1e-9, pairs * hinge / distance.clamp_min(1e-9), 0.0)
    gradient = -4 * (mu * pull_away.sum(2, keepdim=True) - pull_away @ mu)
    return (pairs * hinge.square()).sum(), gradient


def _mean_norm(mu: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    length = mu.norm(dim=2)
    unit = mu / length.clamp_min(1e-12)[:, :, None]
    return (share * length).sum(), share[:, :, None] * unit


def _pull(
    f: Tensor, ids: Tensor, weights: Tensor, centroids: Tensor, scale: Tensor, delta_v: float, keep: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Pull term, its gradient in ``f`` with the centroids held (if ``keep``), and the sum of that by id.

    ``scale`` ``(B, n + 1)``: share of an instance over its sum of weights.
    """
    direct = torch.empty_like(f) if keep else None
    channels = f.shape[1]
    drag, pull = SumsById(f, channels, centroids.shape[2] - 1), f.new_zeros(())
    buffer, spare = _buffer(f, channels), None if keep else _buffer(f, channels)
    for b, voxels in _pieces(f):
        index, piece = ids[b, voxels], f[b, :, voxels]
        away = buffer[:, : len(index)]
        part = direct[b, :, voxels] if keep else spare[:, : len(index)]
        torch.index_select(centroids[b], 1, index, out=away)
        torch.sub(piece, away, out=away)
        distance = torch.mul(away, away, out=part).sum(0).sqrt_()
        hinge = (distance - delta_v).relu_()
        share = weights[b, voxels] * scale[b].gather(0, index)
        pull += (share * hinge).dot(hinge)
        if keep:
            torch.mul(away, share.mul_(hinge).mul_(2).div_(distance.clamp_min_(1e-12)), out=part)
            drag.add(b, index, part)
    return pull, direct, drag.sums.to(f.dtype)


def _pieces(f: Tensor) -> Iterator[tuple[int, slice]]:
    for b in range(len(f)):
        for start in range(0, f.shape[2], _piece_size(f)):
            yield b, slice(start, start + _piece_size(f))


def _buffer(f: Tensor, channels: int) -> Tensor:
    return f.new_empty(channels, min(_piece_size(f), f.shape[2]))


def _piece_size(f: Tensor) -> int:
    return PIECE.get(f.device.type, PIECE_ELSEWHERE)


class SumsById:
    """Sums ``(B, C, n + 1)`` of the columns of ``(C, N)`` pieces that share an id.

    A piece is summed in its own precision, pieces are added up in float64: a sum of some ten thousand
    float32 voxels, one after the other, would be off in the sixth digit.
    """

    def __init__(self, f: Tensor, channels: int, n: int) -> None:
        self.sums = f.new_zeros(len(f), channels, n + 1, dtype=torch.float64)
        self.n_lanes = min(max(LANES[0], PLACES // (n + 1)), LANES[1])
        self.lanes = f.new_empty(channels, (n + 1) * self.n_lanes)
        self.lane = torch.arange(_piece_size(f), device=f.device) % self.n_lanes

    def add(self, b: int, index: Tensor, values: Tensor) -> None:
        """``sums[b, :, index[i]] += values[:, i]``: ``(N,)`` int64 and ``(C, N)``."""
        places = torch.add(self.lane[: len(index)], index, alpha=self.n_lanes)
        self.lanes.zero_().scatter_add_(1, places.expand_as(values), values)
        self.sums[b] += self.lanes.unflatten(1, (-1, self.n_lanes)).sum(2)
