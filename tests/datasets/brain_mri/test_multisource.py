"""Several sources as one dataset: samples, batches, subsets, seeded changes, clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mtl.datasets.brain_mri import KaggleTumor, LggKaggle3m, MultiSourceDataset, NpzSlices, collate
from mtl.datasets.brain_mri.multisource import COLUMNS
from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.errors import DataError, ParameterError


@pytest.fixture
def dataset(kaggle_folder: Path, lgg_folder: Path) -> MultiSourceDataset:
    return MultiSourceDataset([KaggleTumor(kaggle_folder), LggKaggle3m(lgg_folder)], size=32, seed=4)


def index_of(dataset: MultiSourceDataset, ending: str) -> int:
    return next(i for i, name in enumerate(dataset.table["id"]) if name.endswith(ending))


def test_samples_are_as_promised(dataset: MultiSourceDataset) -> None:
    assert len(dataset) == 10 and list(dataset.table.columns) == COLUMNS
    for position in range(len(dataset)):
        sample = dataset[position]
        row = dataset.table.iloc[position]
        assert sample["image"].shape == (1, 32, 32) and sample["image"].dtype == torch.float32
        assert (sample["mask"] is not None) == row["has_mask"]
        assert {key: sample[key] for key in ("id", "source", "patient", "slice", "cls")} == {
            key: row[key] for key in ("id", "source", "patient", "slice", "cls")
        }
        if sample["mask"] is not None:
            assert sample["mask"].shape == (1, 32, 32) and sample["mask"].dtype == torch.float32
            assert set(sample["mask"].unique().tolist()) <= {0.0, 1.0}


def test_prepared_as_the_normalisation_says(dataset: MultiSourceDataset) -> None:
    position = index_of(dataset, "_10.tif")
    image, mask = dataset.native(dataset.table["id"][position])
    rule = BrainNormalisation()
    prepared, geometry = rule.prepare(image, 32)
    np.testing.assert_array_equal(dataset[position]["image"][0], prepared)
    np.testing.assert_array_equal(dataset[position]["mask"][0], rule.prepare_mask(mask, geometry))
    assert dataset.geometry(dataset.table["id"][position]) == geometry


def test_a_batch_is_dense_and_counts_its_labels(dataset: MultiSourceDataset) -> None:
    unknown, known = index_of(dataset, "Y92.jpg"), index_of(dataset, "Y92.png")
    batch = collate([dataset[known], dataset[unknown], dataset[index_of(dataset, "No2.jpeg")]])
    assert batch["image"].shape == batch["mask"].shape == (3, 1, 32, 32)
    assert batch["has_mask"].tolist() == [True, False, True] and batch["has_mask"].dtype == torch.bool
    assert batch["cls"].tolist() == [1, 1, 0] and batch["cls"].dtype == torch.int64
    assert batch["mask"].sum(dim=(1, 2, 3)).bool().tolist() == [True, False, False]
    assert batch["valid_units"] == {"segmentation": 2, "classification": 3}
    assert all(type(count) is int for count in batch["valid_units"].values())
    assert batch["id"][1].endswith("Y92.jpg") and batch["slice"] == [0, 0, 0]


def test_a_subset_shares_the_pixels_in_its_own_order(dataset: MultiSourceDataset) -> None:
    ids = [dataset.table["id"][7], dataset.table["id"][2]]
    part = dataset.subset(ids)
    assert list(part.table["id"]) == ids and [part[i]["id"] for i in (0, 1)] == ids
    assert torch.equal(part[0]["image"], dataset[7]["image"])
    assert part._store is dataset._store
    with pytest.raises(DataError, match="'nobody'"):
        dataset.subset([*ids, "nobody"])
    with pytest.raises(DataError, match="twice"):
        dataset.subset([ids[0], ids[0]])


def test_changes_depend_on_seed_epoch_and_id_only(dataset: MultiSourceDataset) -> None:
    ids = list(dataset.table["id"])
    all_of_them = dataset.subset(ids, augment=True)
    few = dataset.subset([ids[5], ids[1]], augment=True)
    assert torch.equal(all_of_them[5]["image"], few[0]["image"])
    assert torch.equal(all_of_them[5]["image"], all_of_them[5]["image"])
    before = all_of_them[5]["image"]
    all_of_them.set_epoch(1)
    assert not torch.equal(before, all_of_them[5]["image"])
    assert torch.equal(few[0]["image"], before), "epochs of two subsets are their own"
    assert torch.equal(dataset[5]["image"], dataset.subset(ids)[5]["image"]), "and no change without augment"


def test_worker_processes_change_nothing(dataset: MultiSourceDataset) -> None:
    part = dataset.subset(dataset.table["id"], augment=True)
    here = [part[i]["image"] for i in range(len(part))]
    loader = DataLoader(part, batch_size=3, collate_fn=collate, num_workers=2, persistent_workers=True)
    there = torch.cat([batch["image"] for batch in loader])
    assert torch.equal(torch.stack(here), there)
    part.set_epoch(3)
    again = torch.cat([batch["image"] for batch in loader])
    assert torch.equal(torch.stack([part[i]["image"] for i in range(len(part))]), again)
    assert not torch.equal(there, again)


def test_fingerprint_follows_content_not_order(kaggle_folder: Path, lgg_folder: Path) -> None:
    def fingerprint(*sources, **options) -> str:
        return MultiSourceDataset(sources, size=24, **options).fingerprint()

    kaggle, lgg = KaggleTumor(kaggle_folder), LggKaggle3m(lgg_folder)
    plain = fingerprint(kaggle, lgg)
    assert plain == fingerprint(lgg, kaggle) == fingerprint(kaggle, lgg, preload=False, seed=9)
    assert plain != fingerprint(kaggle, lgg, normalisation=BrainNormalisation(clip=4.0))
    assert plain != fingerprint(kaggle, LggKaggle3m(lgg_folder, channel=0))
    (kaggle_folder / "masks" / "Y92.png").unlink()
    assert plain != fingerprint(KaggleTumor(kaggle_folder), lgg)


def test_ids_must_be_unique_and_sources_not_empty(lgg_folder: Path) -> None:
    with pytest.raises(DataError, match=r"'lgg/.*occurs twice"):
        MultiSourceDataset([LggKaggle3m(lgg_folder), LggKaggle3m(lgg_folder)], size=16)
    with pytest.raises(DataError, match="no slices"):
        MultiSourceDataset([], size=16)


def test_one_label_rule_everywhere(lgg_folder: Path) -> None:
    with pytest.raises(ParameterError, match="min_tumor_pixels=5"):
        MultiSourceDataset([LggKaggle3m(lgg_folder, min_tumor_pixels=5)], size=16)
    nine = MultiSourceDataset([LggKaggle3m(lgg_folder, min_tumor_pixels=9)], size=16, min_tumor_pixels=9)
    assert nine.table["cls"].sum() == 3


def test_a_label_against_its_mask_is_refused(kaggle_folder: Path, make_spot) -> None:
    from PIL import Image

    Image.fromarray(make_spot(size=2)).save(kaggle_folder / "masks" / "Y92.png")
    with pytest.raises(DataError, match=r"Y92\.png: labelled 1, but its mask has 4 pixels"):
        MultiSourceDataset([KaggleTumor(kaggle_folder)], size=16)


def test_a_blank_slice_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "blank_1.npz", image=np.full((20, 20), 3.0), cls=0)
    with pytest.raises(DataError, match=r"npz/blank_1\.npz: the image is constant"):
        MultiSourceDataset([NpzSlices(tmp_path)], size=16)
    with pytest.raises(ParameterError, match="size=4"):
        MultiSourceDataset([NpzSlices(tmp_path)], size=4)


@pytest.mark.real_data
def test_the_real_sources_load_together(data_root: Path) -> None:
    sources = [KaggleTumor(data_root / "brain_mri_253"), LggKaggle3m(data_root / "lgg_kaggle_3m")]
    dataset = MultiSourceDataset(sources, size=64)
    assert len(dataset) == 185 + 374
    images = torch.stack([dataset[i]["image"] for i in range(len(dataset))])
    assert images.isfinite().all() and images.abs().max() <= 5
    filled = (images != 0).float().mean(dim=(1, 2, 3))
    assert filled.min() > 0.3, "every head fills its square"
    positive = [dataset[i] for i in range(len(dataset)) if dataset.table["cls"][i]]
    assert all(sample["mask"].sum() > 0 for sample in positive if sample["mask"] is not None)
