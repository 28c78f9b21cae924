"""Samplers draw what they say, whatever the epoch, rank or group sizes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import TrainingError
from mtl.training.sampling import BalancedSampler, EpochLoader, MixingRatioSampler, ShuffledSampler


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


def test_balanced_cells_are_drawn_equally_often_and_rare_ones_again():
    cells = ["a1"] * 50 + ["b0"] * 30 + ["a0"] * 3 + ["b1"] * 7
    sampler = BalancedSampler(cells, n_samples=92, seed=3)
    drawn = Counter(cells[i] for i in sampler.indices(0))
    assert drawn == dict.fromkeys(("a0", "a1", "b0", "b1"), 23)
    rare = Counter(i for i in sampler.indices(1) if cells[i] == "a0")
    assert len(rare) == 3 and max(rare.values()) - min(rare.values()) <= 2
    assert sorted(Counter(cells[i] for i in BalancedSampler(cells).indices(0)).values()) == [22, 22, 23, 23]


def test_an_empty_cell_cannot_be_balanced_back():
    cells = ["a1"] * 5 + ["b0"] * 15
    assert Counter(cells[i] for i in BalancedSampler(cells).indices(2)) == {"a1": 10, "b0": 10}
    with pytest.raises(TrainingError, match="empty"):
        BalancedSampler([])
