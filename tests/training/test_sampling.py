"""Samplers draw what they say, whatever the epoch, rank or group sizes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import TrainingError
from mtl.training.sampling import EpochLoader, MixingRatioSampler, ShuffledSampler


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.integers(0, 5), st.integers(0, 3))
def test_mixing_ratio_is_met_exactly(n_masked, n_rest, ratio, epoch, seed):
    groups = ["masked"] * n_masked + ["rest"] * n_rest
    sampler = MixingRatioSampler(groups, {"masked": ratio, "rest": 1 - ratio}, seed=seed)
    drawn = sampler.indices(epoch)
    masked = sum(i < n_masked for i in drawn)
    assert len(drawn) == n_masked + n_rest
    assert abs(masked - ratio * len(drawn)) < 1


def test_a_group_is_used_up_before_anything_repeats():
    groups = ["masked"] * 7 + ["rest"] * 13
    sampler = MixingRatioSampler(groups, {"masked": 0.3, "rest": 0.7}, n_samples=10, seed=1)
    seen = Counter(i for epoch in range(70) for i in sampler.indices(epoch))
    assert {seen[i] for i in range(7)} == {30}
    counts = [seen[i] for i in range(7, 20)]
    assert max(counts) - min(counts) <= 1


def test_epochs_differ_and_are_reproducible():
    groups = ["a"] * 20 + ["b"] * 20
    make = lambda: MixingRatioSampler(groups, {"a": 0.5, "b": 0.5}, seed=3)  # noqa: E731
    assert make().indices(4) == make().indices(4)
    assert make().indices(4) != make().indices(5)
    assert sorted(ShuffledSampler(9, 1).indices(2)) == list(range(9))


@pytest.mark.parametrize(
    ("ratios", "message"),
    [({"a": 0.6, "b": 0.6}, "sum to 1"), ({"a": 1.2, "b": -0.2}, r"\[0, 1\]"), ({"a": 0.5, "c": 0.5}, "'c'")],
)
def test_impossible_ratios_are_refused(ratios, message):
    with pytest.raises(TrainingError, match=message):
        MixingRatioSampler(["a", "b"], ratios)


def test_an_empty_data_set_is_refused():
    with pytest.raises(TrainingError, match="no training samples"):
        ShuffledSampler(0)


class Squares:
    epoch = -1

    def __len__(self) -> int:
        return 23

    def __getitem__(self, i: int) -> int:
        return i

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_each_global_batch_between_them(world):
    data = Squares()
    loader = EpochLoader(data, ShuffledSampler(23, seed=0), 4, lambda samples: {"ids": samples})
    per_rank = [[batch["ids"] for batch in loader.batches(2, rank, world)] for rank in range(world)]
    assert data.epoch == 2
    assert (
        len({len(batches) for batches in per_rank})
        == 1
        == len({loader.steps_per_epoch(world), len(per_rank[0])})
    )
    for step, expected in enumerate(loader.global_batches(2, world)):
        assert sorted(i for batches in per_rank for i in batches[step]) == sorted(expected)
    covered = {i for batches in per_rank for batch in batches for i in batch}
    assert len(covered) >= 23 - (world - 1)
