"""What the fused discriminative loss is measured against: the same loss, weighted, left to autograd.

Each takes an embedding ``(B, E, *sp)``, labels ``(B, *sp)`` and weights ``(B, *sp)`` to a scalar.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
DELTA_V, DELTA_D, WEIGHT_NORM = 0.5, 1.5, 0.001


def loss_over_instances(embedding: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """The peer that reads like the formula: a loop over the instances of every sample."""
    losses = []
    for f, ids, w in zip(embedding.flatten(2), labels.flatten(1), weight.flatten(1), strict=True):
        centroids, pulls = [], []
        for k in ids[ids > 0].unique():
            inside = ids == k
            points, weights = f[:, inside], w[inside]
            mu = (points * weights).sum(1) / weights.sum()
            distance = (points - mu[:, None]).norm(dim=0)
            pulls.append(((distance - DELTA_V).relu().square() * weights).sum() / weights.sum())
            centroids.append(mu)
        losses.append(torch.stack(pulls).mean() + _between(torch.stack(centroids)))
    return torch.stack(losses).mean()


def loss_by_scatter(embedding: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """The usual vectorised form, channels first: ``scatter_add`` and ``gather``, derived by autograd."""
    losses = []
    for f, ids, w in zip(embedding.flatten(2), labels.flatten(1), weight.flatten(1), strict=True):
        w = torch.where(ids > 0, w, 0.0)
        places, n = ids.expand(len(f), -1), int(ids.max()) + 1
        totals = w.new_zeros(n).scatter_add(0, ids, w)
        mu = f.new_zeros(len(f), n).scatter_add(1, places, f * w) / totals.clamp_min(1e-12)
        distance = (f - mu.gather(1, places)).norm(dim=0)
        squares = (distance - DELTA_V).relu().square() * w
        pulls = w.new_zeros(n).scatter_add(0, ids, squares)[1:] / totals[1:].clamp_min(1e-12)
        present = totals[1:] > 0
        losses.append(pulls[present].mean() + _between(mu[:, 1:].T[present]))
    return torch.stack(losses).mean()


def loss_by_rows(embedding: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """The same with a row per voxel: ``index_add`` and indexing, derived by autograd."""
    losses = []
    for f, ids, w in zip(embedding.flatten(2), labels.flatten(1), weight.flatten(1), strict=True):
        w, rows, n = torch.where(ids > 0, w, 0.0), f.T, int(ids.max()) + 1
        totals = w.new_zeros(n).index_add(0, ids, w)
        mu = f.new_zeros(n, len(f)).index_add(0, ids, rows * w[:, None]) / totals.clamp_min(1e-12)[:, None]
        squares = ((rows - mu[ids]).norm(dim=1) - DELTA_V).relu().square() * w
        pulls = w.new_zeros(n).index_add(0, ids, squares)[1:] / totals[1:].clamp_min(1e-12)
        present = totals[1:] > 0
        losses.append(pulls[present].mean() + _between(mu[1:][present]))
    return torch.stack(losses).mean()


def _between(mu: Tensor) -> Tensor:
    """Push and norm of the centroids ``(K, E)``."""
    norm = WEIGHT_NORM * mu.norm(dim=1).mean()
    if len(mu) == 1:
        return norm
    first, second = torch.triu_indices(len(mu), len(mu), offset=1)
    return (2 * DELTA_D - (mu[first] - mu[second]).norm(dim=1)).relu().square().mean() + norm


PEERS: dict[str, Loss] = {
    "loop over instances": loss_over_instances,
    "scatter, channels first": loss_by_scatter,
    "index_add, a row per voxel": loss_by_rows,
}
