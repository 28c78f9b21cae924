"""Benchmark E6: embeddings to instances, against soft mean shift (all voxels) and HDBSCAN (a 25th)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN

from mtl.evaluation.em import adapted_rand_error
from mtl.inference.em.decoding import decode_embeddings
from mtl.studies.em.made_embeddings import cells, made_embeddings
from mtl.timing import MIN_ROUNDS, Case, scaling_exponent

SHAPE, N_OBJECTS, SPACING = (32, 128, 128), 50, (24.0, 6.0, 6.0)
SAMPLE = 25  # HDBSCAN sees one voxel in so many
SCALED_DEPTHS = (8, 32, 128)
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Workload:
    """An embedding (E, *sp), its predicted foreground (*sp) bool, the truth (*sp), and its name."""

    embedding: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    truth: Labels
    name: str


def made_workload(shape: Sequence[int] = SHAPE, n_objects: int = N_OBJECTS, seed: int = 0) -> Workload:
    """Noisy, drifting embeddings smeared over the boundaries of Voronoi cells; all voxels are foreground."""
    truth = cells(shape, n_objects, SPACING[-len(shape) :], seed)
    embedding = made_embeddings(truth, SPACING[-len(shape) :], smear=1.5, seed=seed)
    name = f"made embeddings, {truth.size / 1000:.0f}k voxels, {n_objects} objects"
    return Workload(embedding, np.ones(truth.shape, bool), truth, name)


def decoding_cases(work: Workload, bandwidth: float = 1.5) -> list[Case]:
    """E6 on one embedding, made or a trained network's.

    The gate: our adapted Rand error against the truth is not above the peer's, each on the voxels that the
    peer labels. The peers get what helps them: no spatial step is asked of them, and HDBSCAN's noise voxels
    go to their nearest cluster after the clock has stopped.
    """
    flat = torch.from_numpy(work.embedding).reshape(len(work.embedding), -1)
    points = flat[:, torch.from_numpy(work.foreground).reshape(-1)].T.contiguous()
    drawn = np.random.default_rng(0).permutation(len(points))[: len(points) // SAMPLE]
    sample = points[torch.from_numpy(drawn)].numpy()
    ours = _ours(work, bandwidth)

    def mean_shift() -> Labels:
        return soft_mean_shift(points, bandwidth)

    def hdbscan() -> Labels:
        return HDBSCAN(min_cluster_size=20, copy=False).fit_predict(sample)

    everywhere = np.arange(len(points))
    return [
        Case(
            "E6", work.name, "soft mean shift on all voxels", ours, mean_shift,
            lambda: _gate(work, ours(), mean_shift() + 1, everywhere), goal=100,
        ),
        Case(
            "E6", work.name, f"scikit-learn HDBSCAN on 1 of {SAMPLE} voxels", ours, hdbscan,
            lambda: _gate(work, ours(), _without_noise(hdbscan(), sample) + 1, drawn), goal=10,
        ),
    ]  # fmt: skip


def decoding_exponent(rounds: int = MIN_ROUNDS, depths: Sequence[int] = SCALED_DEPTHS) -> float:
    """Exponent of our time in the number of voxels, fitted over volumes of growing depth, 50 objects each."""
    works = [made_workload((depth, *SHAPE[1:])) for depth in depths]
    calls = [_ours(work, 1.5) for work in works]
    return scaling_exponent([work.truth.size for work in works], calls, rounds)


def soft_mean_shift(
    points: torch.Tensor, bandwidth: float, n_seeds: int = 256, iterations: int = 30, seed: int = 0
) -> Labels:
    """The plain version: random voxels as seeds climb the Gaussian-kernel density of *all* voxels.

    points (N, E). Each iteration moves a seed to the kernel-weighted mean of all voxels, until none moves by
    a hundredth of the bandwidth; ends nearer than ``bandwidth`` are one mode; every voxel takes the nearest
    mode. Returns labels (N,), 0..K-1.
    """
    generator = torch.Generator().manual_seed(seed)
    modes = points[torch.randperm(len(points), generator=generator)[:n_seeds]]
    kernel = bandwidth / 2  # a Gaussian of this width weighs about as many voxels as a ball of the bandwidth
    for _ in range(iterations):
        sums, weights = torch.zeros_like(modes), torch.zeros(len(modes), 1)
        for part in points.split(32_768):
            weight = torch.exp(-torch.cdist(modes, part).square() / (2 * kernel**2))
            sums += weight @ part
            weights += weight.sum(1, keepdim=True)
        moved, modes = (sums / weights - modes).norm(dim=1).max(), sums / weights
        if float(moved) < bandwidth / 100:
            break
    kept: list[torch.Tensor] = []
    for mode in modes:
        if not kept or float((torch.stack(kept) - mode).norm(dim=1).min()) > bandwidth:
            kept.append(mode)
    centres = torch.stack(kept)
    return torch.cat([torch.cdist(part, centres).argmin(1) for part in points.split(32_768)]).numpy()


def _ours(work: Workload, bandwidth: float) -> Callable[[], Labels]:
    return lambda: decode_embeddings(work.embedding, work.foreground, bandwidth=bandwidth)


def _without_noise(labels: Labels, sample: NDArray[np.float32]) -> Labels:
    """HDBSCAN's noise (-1) given to the cluster with the nearest mean."""
    if labels.max() < 0:
        return np.zeros_like(labels)
    means = np.stack([sample[labels == i].mean(0) for i in range(labels.max() + 1)])
    nearest = torch.cdist(torch.from_numpy(sample), torch.from_numpy(means)).argmin(1).numpy()
    return np.where(labels < 0, nearest, labels)


def _gate(work: Workload, ours: Labels, peer: Labels, voxels: NDArray[np.int64]) -> str:
    """Adapted Rand errors on ``voxels`` (of the foreground's, in their order)."""
    truth = work.truth[work.foreground][voxels]
    mine = adapted_rand_error(ours[work.foreground][voxels], truth)
    theirs = adapted_rand_error(peer, truth)
    text = f"adapted Rand error {mine:.4f}, the peer's {theirs:.4f}"
    assert mine <= theirs, text
    return text
