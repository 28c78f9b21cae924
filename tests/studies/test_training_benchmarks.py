"""The benchmark's gates: they pass where both sides do the same, and fail where they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri import training_benchmarks
from mtl.studies.brain_mri.training_benchmarks import SeparateNetworks, allocator_row, training_cases
from mtl.timing import measure


def small_cases():
    return training_cases(base_filters=4, depth=2, size=32, batch_size=4)


def test_gates_pass_and_rows_have_ratios():
    rows = measure(small_cases(), rounds=7, warm_up=1)
    assert [row["correct"] for row in rows] == [True, True]
    assert all(row["ratio"] > 0 for row in rows)


def test_two_networks_start_as_the_shared_one():
    torch.manual_seed(0)
    shared = MultiTaskModel(base_filters=4, depth=2, image_size=32).eval()
    image = torch.randn(2, 1, 32, 32)
    expected, found = shared(image), SeparateNetworks(shared).eval()(image)
    torch.testing.assert_close(found["seg"], expected["seg"])
    torch.testing.assert_close(found["cls"], expected["cls"])


def test_a_peer_with_other_weights_fails_the_gate(monkeypatch):
    class Other(SeparateNetworks):
        def __init__(self, shared: MultiTaskModel) -> None:
            super().__init__(shared)
            torch.nn.init.zeros_(self.cls_head.logits.weight)

    monkeypatch.setattr(training_benchmarks, "SeparateNetworks", Other)
    (first, _) = small_cases()
    (row,) = measure([replace(first, goal=0)], rounds=7)
    assert row["correct"] is False and "differ" in row["difference"] and row["ratio"] is None


@pytest.mark.slow
def test_the_allocator_changes_times_but_no_bit_of_the_loss():
    row = allocator_row({"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}, processes=1)
    assert row["correct"] and row["ratio"] > 0
