"""Which samples an epoch draws, in which order.

A sampler is a pure function of (seed, epoch): a resumed run draws what an undisturbed one would
have drawn, and every rank can compute the whole epoch and take its part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mtl.errors import TrainingError


class Sampler(Protocol):
    """Gives the indices of an epoch."""

    def indices(self, epoch: int) -> list[int]: ...


class ShuffledSampler:
    """Every sample once per epoch, in an order of its own for each epoch."""

    def __init__(self, n: int, seed: int = 0) -> None:
        if n < 1:
            raise TrainingError("no training samples: the stage's data set is empty")
        self.n, self.seed = n, seed

    def indices(self, epoch: int) -> list[int]:
        return np.random.default_rng([self.seed, epoch]).permutation(self.n).tolist()


class MixingRatioSampler:
    """Draws groups in fixed proportions, whatever their sizes.

    Within a group samples come without repetition until all have been seen, then again in a new
    order. Counts per epoch are exact (largest remainder), their order is random.

    Args:
        groups: the group of each sample, e.g. ``["masked", "rest", ...]``.
        ratios: share of each group, e.g. ``{"masked": 0.3, "rest": 0.7}``; must sum to 1.
        n_samples: samples per epoch; as many as there are where not given.
        seed: of all draws.

    Raises:
        TrainingError: a group without samples, a ratio outside [0, 1], or a sum that is not 1.
    """

    def __init__(
        self, groups: Sequence[str], ratios: Mapping[str, float], n_samples: int | None = None, seed: int = 0
    ) -> None:
        if any(not 0 <= ratio <= 1 for ratio in ratios.values()) or abs(sum(ratios.values()) - 1) > 1e-6:
            raise TrainingError(f"mixing ratios must lie in [0, 1] and sum to 1, got {dict(ratios)}")
        names = np.asarray(groups)
        self.members = {name: np.flatnonzero(names == name) for name, ratio in ratios.items() if ratio > 0}
        for name, members in self.members.items():
            if len(members) == 0:
                raise TrainingError(f"mixing ratio {ratios[name]} for group {name!r}, which has no samples")
        self.counts = _largest_remainder(
            {name: ratios[name] for name in self.members}, n_samples or len(names)
        )
        self.seed = seed

    def indices(self, epoch: int) -> list[int]:
        drawn = [self._draw(group, epoch) for group in range(len(self.members))]
        order = np.random.default_rng([self.seed, epoch, len(self.members)])
        return order.permutation(np.concatenate(drawn)).tolist()

    def _draw(self, group: int, epoch: int) -> np.ndarray:
        """The group's share of the epoch, cut from an endless sequence of its permutations."""
        name = list(self.members)[group]
        members, count = self.members[name], self.counts[name]
        start = epoch * count
        rounds = range(start // len(members), (start + count - 1) // len(members) + 1)
        sequence = [np.random.default_rng([self.seed, 7, group, r]).permutation(members) for r in rounds]
        offset = start - rounds.start * len(members)
        return np.concatenate([*sequence, members[:0]])[offset : offset + count]


class BalancedSampler(MixingRatioSampler):
    """Draws every group that occurs equally often, e.g. each (source, class) cell.

    A cell without samples cannot be drawn: where source and class go together, this cures nothing.

    Args:
        groups: the group of each sample.
        n_samples, seed: as for ``MixingRatioSampler``.

    Raises:
        TrainingError: there are no samples.
    """

    def __init__(self, groups: Sequence[str], n_samples: int | None = None, seed: int = 0) -> None:
        names = sorted(set(groups))
        if not names:
            raise TrainingError("no training samples: the stage's data set is empty")
        super().__init__(groups, dict.fromkeys(names, 1 / len(names)), n_samples, seed)


def _largest_remainder(ratios: Mapping[str, float], n: int) -> dict[str, int]:
    exact = {name: ratio * n for name, ratio in ratios.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: n - sum(counts.values())]:
        counts[name] += 1
    return counts


def number_repetitions(indices: Sequence[int], n: int) -> list[int]:
    """``[3, 1, 3, 3]`` with ``n = 10`` to ``[3, 1, 13, 23]``."""
    seen: Counter[int] = Counter()
    numbered = []
    for index in indices:
        numbered.append(index + n * seen[index])
        seen[index] += 1
    return numbered


class EpochLoader:
    """Batches of one epoch for this rank.

    The global batch has ``batch_size`` samples; rank ``r`` of ``world`` takes every ``world``-th of
    them. A last batch too small to give each rank a sample is left out.

    Args:
        dataset: map-style; if it has ``set_epoch``, that is called first (augmentation). If it says
            ``counts_draws``, the k-th repetition of index i within an epoch is asked for as
            ``i + k * len(dataset)``, so that repetitions can be augmented differently.
        sampler: gives the order.
        batch_size: global batch size, over all ranks.
        collate: list of samples to a batch.
        workers: processes that load ahead; 0 loads in this one.
        drop_last: leave out a last batch that is not full.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        batch_size: int,
        collate: Callable[[list], dict[str, Any]],
        workers: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.dataset, self.sampler, self.collate = dataset, sampler, collate
        self.batch_size, self.workers, self.drop_last = batch_size, workers, drop_last

    def global_batches(self, epoch: int, world: int = 1) -> list[list[int]]:
        """Indices of the epoch's batches, over all ranks."""
        indices = self.sampler.indices(epoch)
        if getattr(self.dataset, "counts_draws", False):
            indices = number_repetitions(indices, len(self.dataset))
        batches = [indices[i : i + self.batch_size] for i in range(0, len(indices), self.batch_size)]
        smallest = self.batch_size if self.drop_last else world
        return [batch for batch in batches if len(batch) >= smallest]

    def batches(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[dict[str, Any]]:
        """The batches of ``epoch`` for one rank, on the CPU (pinned where there is a GPU)."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)
        mine = [batch[rank::world] for batch in self.global_batches(epoch, world)]
        return iter(
            DataLoader(
                self.dataset,
                batch_sampler=mine,
                collate_fn=self.collate,
                num_workers=self.workers,
                pin_memory=torch.cuda.is_available(),
            )
        )

    def steps_per_epoch(self, world: int = 1) -> int:
        """Number of batches of an epoch."""
        return len(self.global_batches(0, world))
