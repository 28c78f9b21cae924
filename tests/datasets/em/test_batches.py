"""Batches: padding, counts, and what is valid for which task."""

from __future__ import annotations

import numpy as np
import torch

from mtl.datasets.em import UNKNOWN, CropDataset, EMVolume, collate


def sample(labels: np.ndarray, name: str) -> dict:
    volume = EMVolume(name, np.zeros(labels.shape, np.uint8), labels, (30.0, 6.0, 6.0))
    ones = EMVolume(name, np.zeros(labels.shape, np.uint8), np.ones_like(labels), (30.0, 6.0, 6.0))
    dataset = CropDataset([ones], labels.shape, 1)
    dataset.volumes = [volume]  # labels that a dataset would refuse as a whole may well be in a crop
    return dataset[0]


def labels_with(*values: int) -> np.ndarray:
    labels = np.zeros((2, 4, 5), np.int64)
    labels.ravel()[: len(values)] = values
    return labels


def test_a_batch_has_what_a_step_needs() -> None:
    samples = [
        sample(labels_with(*[8] * 7, *[9] * 7), "full"),
        sample(labels_with(7, UNKNOWN), "part"),
        sample(labels_with(), "background"),
        sample(np.full((2, 4, 5), UNKNOWN), "nothing"),
    ]
    batch = collate(samples)
    assert batch["image"].shape == (4, 1, 2, 4, 5) and batch["image"].dtype == torch.float32
    assert batch["labels"].shape == (4, 2, 4, 5) and batch["labels"].dtype == torch.int64
    assert batch["mode"] == ["interactive", "fractionary", None, None]
    assert batch["has_foreground"].tolist() == [True, True, False, False]
    assert batch["max_instances"] == 2 and type(batch["max_instances"]) is int
    assert batch["spacing"].tolist() == [[30, 6, 6]] * 4 and batch["spacing"].dtype == torch.float32
    assert batch["id"] == ["full/0_0_0", "part/0_0_0", "background/0_0_0", "nothing/0_0_0"]
    assert batch["volume"] == ["full", "part", "background", "nothing"]


def test_points_are_padded_with_a_label_of_their_own() -> None:
    full, part = sample(labels_with(*[8] * 7, *[9] * 7), "full"), sample(labels_with(7, UNKNOWN), "part")
    batch = collate([full, part, sample(labels_with(), "background")])
    assert batch["points"].shape == (3, 10, 3) and batch["points"].dtype == torch.int64
    assert batch["point_labels"].dtype == torch.int64
    assert batch["point_labels"][0].tolist() == [1] * 5 + [0] * 5
    assert batch["point_labels"][1].tolist() == [1] + [0] * 5 + [-1] * 4, "one voxel, one positive click"
    assert batch["point_labels"][2].tolist() == [-1] * 10
    assert (batch["points"][batch["point_labels"] == -1] == 0).all()
    assert batch["target_ids"].tolist() == [full["target_id"], 1, 0]
    assert batch["semantic_ids"].tolist() == [1, 1, 0]
    torch.testing.assert_close(batch["points"][1], part["points"])


def test_a_batch_without_any_foreground() -> None:
    batch = collate([sample(labels_with(), "a"), sample(np.full((2, 4, 5), UNKNOWN), "b")])
    assert batch["points"].shape == (2, 10, 3) and (batch["point_labels"] == -1).all()
    assert batch["max_instances"] == 0 and not batch["has_foreground"].any()
