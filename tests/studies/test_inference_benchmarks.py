"""The gates of B1 and B2, and the rows of a small run of them."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from mtl.inference.brain_mri.network import OnePass
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri import inference_benchmarks
from mtl.studies.brain_mri.inference_benchmarks import briefly_trained, inference_cases, phantom_slices
from mtl.timing import measure


@pytest.fixture(scope="module")
def model() -> MultiTaskModel:
    return briefly_trained(base_filters=4, depth=2, steps=8, size=48)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return phantom_slices(4, 48)["image"]


def test_rows_of_a_small_network(model: MultiTaskModel, images: torch.Tensor) -> None:
    rows = measure(inference_cases(model, images[:1], images), warm_up=1)
    assert [row["id"] for row in rows] == ["B1", "B1", "B1", "B2"]
    exact = [row for row in rows if "bfloat16" not in row["workload"]]
    assert all(row["correct"] and row["ratio"] > 0 for row in exact)


def test_a_network_with_other_weights_fails_the_gate(model: MultiTaskModel, images: torch.Tensor) -> None:
    other = deepcopy(model)
    torch.nn.init.constant_(other.decoder.logits.bias, 3.0)
    with pytest.raises(AssertionError, match="tumour probability off by"):
        inference_benchmarks._closeness(OnePass(other, torch.device("cpu")), model, images, 1e-5)
