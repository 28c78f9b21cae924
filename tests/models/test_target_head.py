"""Affinities to clicks: against plain distances, and under the low precision that training runs in."""

from __future__ import annotations

import pytest
import torch

from mtl.models.prompts import PointPrompts, embedding_logits, embeddings_at
from mtl.models.target_head import affinity

DELTA = 1.5


def crowded_embedding(dtype: torch.dtype) -> torch.Tensor:
    """Voxels within a few ``DELTA`` of one another, far from the origin: ``(2, 8, 5, 6)``."""
    torch.manual_seed(0)
    return (12 + torch.randn(2, 8, 5, 6)).to(dtype)


def plain_affinity(embedding: torch.Tensor, at_points: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Voxel by voxel, in float64."""
    voxels = embedding.double().flatten(2).transpose(1, 2)
    away = torch.cdist(voxels, at_points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    away = away.masked_fill(~counted[:, None], torch.inf).amin(2)
    return torch.exp(-((away / DELTA) ** 2)).view(len(embedding), 1, *embedding.shape[2:])


@pytest.mark.parametrize(
    ("dtype", "autocast"), [(torch.bfloat16, True), (torch.float32, True), (torch.float32, False)]
)
def test_affinities_are_those_of_plain_distances_also_under_autocast(dtype, autocast):
    embedding = crowded_embedding(dtype)
    points = torch.tensor([[[0, 0], [4, 5], [2, 2]], [[1, 1], [3, 0], [0, 4]]])
    counted = torch.tensor([[True, False, True], [True, True, False]])
    at_points = embeddings_at(embedding, PointPrompts(points, counted.long()))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = affinity(embedding, at_points, counted, DELTA)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found.double(), plain_affinity(embedding, at_points, counted), atol=1e-3, rtol=0
    )
    assert found[0, 0, 0, 0] > 0.999  # a click is nearest to itself


def test_no_point_has_no_affinity():
    embedding = crowded_embedding(torch.float32)
    counted = torch.zeros(2, 3, dtype=torch.bool)
    assert not affinity(embedding, torch.zeros(2, 3, 8), counted, DELTA).any()
    assert not affinity(embedding, torch.zeros(2, 0, 8), counted[:, :0], DELTA).any()


def test_logits_of_the_arm_embedding_keep_their_digits_too():
    embedding = crowded_embedding(torch.bfloat16)
    prompts = PointPrompts(torch.tensor([[[0, 0], [4, 5]]] * 2), torch.tensor([[1, 0]] * 2))
    with torch.autocast("cpu", torch.bfloat16):
        found = embedding_logits(embedding, prompts, DELTA)
    torch.testing.assert_close(
        found, embedding_logits(embedding.double(), prompts, DELTA).float(), atol=1e-3, rtol=0
    )
