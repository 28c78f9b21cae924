"""Random crops: repeatable, true to the volume, 2-D and 3-D, with targets and clicks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mtl.datasets.em import (
    UNKNOWN,
    Augmentation,
    CropDataset,
    EMVolume,
    collate,
    contact_membrane,
    read_hdf5,
    relabel,
)
from mtl.errors import DataError, ParameterError


def numbered(shape: tuple[int, int, int] = (9, 12, 15), spacing=(10.0, 10.0, 10.0), **options) -> EMVolume:
    """Every voxel its own id; the image grows with it."""
    labels = np.arange(1, 1 + np.prod(shape)).reshape(shape)
    return EMVolume("n", (labels / labels.size).astype(np.float32), labels, spacing, **options)


def start_of(sample: dict) -> list[int]:
    return [int(corner) for corner in sample["id"].split("/")[-1].split("_")]


@pytest.mark.parametrize("size", [(4, 6, 8), (6, 8)])
def test_a_sample_is_the_crop_its_id_names(size: tuple[int, ...]) -> None:
    volume = numbered()
    for sample in CropDataset([volume], size, length=5, seed=3):
        z, y, x = start_of(sample)
        box = (
            slice(z, z + (size[0] if len(size) == 3 else 1)),
            slice(y, y + size[-2]),
            slice(x, x + size[-1]),
        )
        image, labels = volume.read(box)
        assert sample["image"].dtype == torch.float32 and sample["image"].shape == (1, *size)
        assert sample["labels"].dtype == torch.int64 and sample["labels"].shape == size
        np.testing.assert_array_equal(sample["image"][0], image.reshape(size))
        np.testing.assert_array_equal(sample["labels"], relabel(labels.reshape(size)))
        assert sample["spacing"] == (10.0, 10.0, 10.0)[-len(size) :] and sample["volume"] == "n"
        assert sample["mode"] == "interactive" and sample["targets"] == {}


def test_items_depend_on_seed_epoch_and_index_only() -> None:
    one, two = (CropDataset([numbered()], (4, 6, 8), 4, seed=1, augment=True) for _ in range(2))
    first = [one[i] for i in range(4)]
    for index in (3, 1, 0, 2):
        again = two[index]
        assert again["id"] == first[index]["id"]
        for key in ("image", "labels", "points"):
            assert torch.equal(again[key], first[index][key])
    assert len({sample["id"] for sample in first}) == 4
    two.set_epoch(1)
    assert [two[i]["id"] for i in range(4)] != [sample["id"] for sample in first]
    assert one[0 + 4]["id"] != one[0]["id"], "a repeated draw is another crop"
    other = CropDataset([numbered()], (4, 6, 8), 4, seed=2, augment=True)
    assert [other[i]["id"] for i in range(4)] != [sample["id"] for sample in first]
    with pytest.raises(IndexError):
        one[-1]


def test_augmented_image_and_labels_move_together() -> None:
    moved = False
    plain = {key: 0.0 for key in ("gamma", "contrast", "brightness", "noise", "blur")}
    for sample in CropDataset([numbered()], (4, 6, 8), 12, augment=Augmentation(**plain)):
        ids = np.round(sample["image"][0].numpy() * 9 * 12 * 15).astype(np.int64)
        np.testing.assert_array_equal(relabel(ids), sample["labels"])
        moved |= bool((np.diff(ids, axis=2) != 1).any())
    assert moved, "and at least one crop is turned"


def test_targets_see_the_final_labels_and_the_spacing() -> None:
    seen = []

    def targets(labels: np.ndarray, spacing: tuple[float, ...]) -> dict[str, np.ndarray]:
        seen.append((labels.copy(), spacing))
        return {
            "weight": (labels > 0).astype(np.float32),
            "direction": np.zeros((3, *labels.shape), np.float32),
        }

    volume = numbered(spacing=(30.0, 6.0, 6.0))
    batch = collate(list(CropDataset([volume], (4, 6, 8), 2, targets=targets, augment=True)))
    assert batch["targets"]["weight"].shape == (2, 4, 6, 8)
    assert batch["targets"]["direction"].shape == (2, 3, 4, 6, 8)
    assert batch["targets"]["weight"].dtype == torch.float32
    assert [spacing for _, spacing in seen] == [(30.0, 6.0, 6.0)] * 2
    np.testing.assert_array_equal(seen[1][0], batch["labels"][1])


def test_clicks_lie_in_the_crop_and_in_their_target(volume: EMVolume) -> None:
    for sample in CropDataset([volume], (8, 12), 10, num_pos_points=3, num_neg_points=4):
        real = sample["point_labels"] >= 0
        at = sample["labels"][tuple(sample["points"][real].T)]
        assert ((at == sample["target_id"]) == (sample["point_labels"][real] == 1)).all()
        assert sample["points"].shape == (7, 2) and real.any()
        assert sample["target_id"] >= 1 and sample["semantic_id"] == 1
        assert (sample["point_labels"] == 1).sum() <= 3 and (sample["point_labels"] == 0).sum() <= 4


def test_label_changes_are_made_in_the_crop(volume: EMVolume) -> None:
    touching = replace(volume, labels=np.where(np.asarray(volume.labels) == 0, 5, volume.labels))
    plain = CropDataset([touching], (6, 16, 20), 3)
    bordered = CropDataset([touching], (6, 16, 20), 3, contact_membrane=1)
    for before, after in zip(plain, bordered, strict=True):
        expected = relabel(contact_membrane(before["labels"].numpy(), 1))
        np.testing.assert_array_equal(after["labels"], expected)
        assert (after["labels"] == 0).any()
    split = np.ones((4, 9, 9), np.int64)
    split[:, 4] = 0
    parts = EMVolume("p", np.zeros((4, 9, 9), np.uint8), split, (10, 10, 10))
    assert [s["labels"].max() for s in CropDataset([parts], (4, 9, 9), 1, split_components=True)] == [2]
    assert [s["labels"].max() for s in CropDataset([parts], (4, 9, 9), 1)] == [1]


@pytest.mark.parametrize("unit", ["instances", "blocks"])
@pytest.mark.parametrize("size", [(4, 6, 8), (6, 8)])
def test_a_fraction_of_the_labels_is_fractionary(unit: str, size: tuple[int, ...]) -> None:
    volume = numbered()
    dataset = CropDataset([volume], size, 12, label_fraction=0.4, label_unit=unit, label_seed=5)
    known: dict[int, bool] = {}
    for epoch in range(2):
        dataset.set_epoch(epoch)
        for sample in dataset:
            z, y, x = start_of(sample)
            ids = volume.labels[
                z : z + (size[0] if len(size) == 3 else 1), y : y + size[-2], x : x + size[-1]
            ]
            for identity, value in zip(ids.ravel(), sample["labels"].numpy().ravel(), strict=True):
                assert known.setdefault(int(identity), value > 0) == (value > 0), (
                    "known in every crop, or in none"
                )
                assert value > 0 or value == UNKNOWN
            assert (sample["labels"] != UNKNOWN).any()
    assert 0.2 < np.mean(list(known.values())) < 0.65


def test_crops_without_foreground_are_drawn_again_and_then_taken() -> None:
    labels = np.full((4, 40, 40), UNKNOWN)
    labels[:, :6, :6] = 3
    volume = EMVolume("v", np.zeros(labels.shape, np.uint8), labels, (10, 10, 10))
    modes = [s["mode"] for s in CropDataset([volume], (2, 6, 6), 40, attempts=100)]
    assert modes.count(None) < 5
    once = list(CropDataset([volume], (2, 6, 6), 40, attempts=1))
    assert sum(sample["mode"] is None for sample in once) > 20
    empty = next(sample for sample in once if sample["mode"] is None)
    assert empty["points"].shape == (10, 3) and (empty["point_labels"] == -1).all()
    assert empty["target_id"] == empty["semantic_id"] == 0


def test_volumes_are_drawn_by_their_voxels() -> None:
    small, large = numbered((4, 10, 10)), replace(numbered((12, 10, 10)), name="large")
    names = [sample["volume"] for sample in CropDataset([small, large], (4, 4), 300)]
    assert 0.65 < names.count("large") / 300 < 0.85


def test_planar_volumes_give_planes_only(volume: EMVolume) -> None:
    planar = replace(volume, planar=True)
    assert CropDataset([planar], (8, 8), 1)[0]["labels"].shape == (8, 8)
    with pytest.raises(ParameterError, match=r"crop_size=\(4, 8, 8\): volume 'small' is planar"):
        CropDataset([planar], (4, 8, 8), 1)


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        ((4, 6, 99), {}, r"crop_size=\(4, 6, 99\) does not fit volume 'small' of shape \(12, 20, 24\)"),
        ((4,), {}, r"crop_size=\(4,\) must have 2 \(y, x\) or 3"),
        ((4, 0, 8), {}, "sides above 0"),
        ((8, 8), {"length": 0}, "length=0"),
        ((8, 8), {"contact_membrane": -1}, "contact_membrane=-1"),
        ((8, 8), {"label_fraction": 0.0}, r"label_fraction=0.0 must lie in \(0, 1\]"),
        ((8, 8), {"label_unit": "voxels"}, "label_unit='voxels'"),
        ((8, 8), {"attempts": 0}, "attempts=0"),
    ],
)
def test_options_are_checked(volume: EMVolume, size: tuple[int, ...], options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        CropDataset([volume], size, **({"length": 2} | options))


def test_data_are_checked(volume: EMVolume) -> None:
    with pytest.raises(ParameterError, match="volumes is empty"):
        CropDataset([], (8, 8), 1)
    with pytest.raises(DataError, match="'small' has no labels"):
        CropDataset([replace(volume, labels=None)], (8, 8), 1)
    with pytest.raises(DataError, match="'small': labels hold no known foreground"):
        CropDataset([replace(volume, labels=np.zeros(volume.shape, int))], (8, 8), 1)


def test_worker_processes_change_nothing(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    for name, array in (("a.h5", image), ("b.h5", labels)):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("stack", data=array, chunks=True, compression="gzip")
    streamed = read_hdf5(tmp_path / "a.h5", tmp_path / "b.h5", (10, 10, 10))
    dataset = CropDataset([streamed], (4, 8, 8), 6, augment=True)
    here = collate([dataset[i] for i in range(6)])
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=collate, persistent_workers=True)
    there = list(loader)
    for key in ("image", "labels", "points"):
        assert torch.equal(here[key], torch.cat([batch[key] for batch in there]))
    dataset.set_epoch(1)
    assert [name for batch in loader for name in batch["id"]] == [dataset[i]["id"] for i in range(6)]
