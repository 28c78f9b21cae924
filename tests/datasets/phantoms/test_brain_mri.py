"""The brain_mri phantom: the dial, exact masks, planted copies, repeatability."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from mtl.datasets.brain_mri import MultiSourceDataset
from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.datasets.near_duplicates import near_duplicate_pairs
from mtl.datasets.phantoms.brain_mri import SCANNERS, BrainPhantom
from mtl.errors import ParameterError


def rate(phantom: BrainPhantom, source: str) -> float:
    """Share of positive patients of a scanner."""
    labels = {item.patient: item.cls for item in phantom.slices if item.source == source}
    return float(np.mean(list(labels.values())))


@pytest.mark.parametrize("rho", [0.0, 0.25, 0.5, 1.0])
def test_the_dial(rho: float) -> None:
    phantom = BrainPhantom(80, 1, rho=rho, size=48)
    assert rate(phantom, "scanner_a") == pytest.approx((1 + rho) / 2, abs=0.5 / 40)
    assert rate(phantom, "scanner_b") == pytest.approx((1 - rho) / 2, abs=0.5 / 40)


def test_structure() -> None:
    phantom = BrainPhantom(6, 3, size=48, seed=2)
    assert len(phantom.slices) == 18 and len({item.id for item in phantom.slices}) == 18
    assert len({item.patient for item in phantom.slices}) == 6
    assert [item.slice for item in phantom.slices[:3]] == [0, 1, 2]
    for item in phantom.slices:
        assert item.id.startswith(f"{item.source}/") and item.group == item.patient
        assert item.has_mask == item.strong == (item.source == "scanner_a")


@pytest.mark.parametrize("size", [48, 128])
def test_masks_say_what_the_label_says(size: int) -> None:
    phantom = BrainPhantom(30, 2, size=size, seed=1, duplicate_rate=0.2)
    for item in phantom.slices:
        image, mask = phantom.read(item)
        truth = phantom.true_mask(item)
        assert image.dtype == np.float32 and np.isfinite(image).all() and image.min() >= 0
        assert truth.shape == image.shape and truth.dtype == np.uint8
        assert (truth.sum() >= 10) == bool(item.cls) and (item.cls or truth.sum() == 0), item.id
        assert (mask is None) == (item.source == "scanner_b")
        if mask is not None:
            np.testing.assert_array_equal(mask, truth)


def test_lesions_are_bright_and_mostly_in_one_piece_inside_the_head() -> None:
    phantom = BrainPhantom(40, 1, size=128, seed=3)
    lifts = []
    for item in phantom.slices:
        if not item.cls:
            continue
        image, truth = phantom.read(item)[0], phantom.true_mask(item) > 0
        head = BrainNormalisation().brain_mask(image)
        assert (truth & head).sum() / truth.sum() > 0.99
        assert np.bincount(label(truth).ravel())[1:].max() / truth.sum() > 0.5
        lifts.append((image[truth].mean() - image[head].mean()) / image[head].std())
    assert np.median(lifts) > 0.5, "FLAIR-bright"
    assert min(lifts) < 0.5 and max(lifts) > 1.5, "some are subtle, some are not"


def test_lesions_vary_in_size() -> None:
    phantom = BrainPhantom(60, 1, rho=0, size=96, seed=4)
    shares = [phantom.true_mask(item).mean() for item in phantom.slices if item.cls]
    assert max(shares) > 5 * min(shares)


def test_slices_of_a_patient_resemble_each_other_more_than_others() -> None:
    phantom = BrainPhantom(12, 2, size=96, seed=0)
    rule = BrainNormalisation()
    views = {item.id: rule.prepare(phantom.read(item)[0], 48)[0].ravel() for item in phantom.slices}
    one_scanner = [item for item in phantom.slices if item.source == "scanner_a"]
    own, strange = [], []
    for first in one_scanner:
        for second in one_scanner:
            if first.id < second.id:
                value = np.corrcoef(views[first.id], views[second.id])[0, 1]
                (own if first.patient == second.patient else strange).append(value)
    assert np.mean(own) > np.mean(strange) + 0.1


def test_scanners_differ_in_more_than_gain() -> None:
    phantom = BrainPhantom(2, 1, size=96)
    first, second = (phantom.read(item)[0] for item in phantom.slices)
    assert first.shape == (110, 96) and second.shape == (96, 96)
    assert second.max() > 2 * first.max()
    assert set(SCANNERS) == {"scanner_a", "scanner_b"}


def test_same_arguments_same_pixels() -> None:
    first, again = (BrainPhantom(4, 2, size=64, seed=7, duplicate_rate=0.5) for _ in range(2))
    other = BrainPhantom(4, 2, size=64, seed=8, duplicate_rate=0.5)
    assert first.slices == again.slices
    for item in reversed(first.slices):
        np.testing.assert_array_equal(first.read(item)[0], again.read(item)[0])
    item = first.slices[0]
    assert not np.array_equal(first.read(item)[0], other.read(item)[0])


def test_planted_copies_share_the_group_and_are_found() -> None:
    phantom = BrainPhantom(30, 1, size=128, seed=5, duplicate_rate=0.2)
    copies = [item for item in phantom.slices if "/x" in item.id]
    assert len(copies) == 6 and len(phantom.slices) == 36
    groups = {item.group for item in phantom.slices if "/x" not in item.id}
    assert all(item.group in groups and item.patient != item.group for item in copies)
    views = [BrainNormalisation().prepare(phantom.read(item)[0], 64)[0] for item in phantom.slices]
    pairs = near_duplicate_pairs(views)
    found = {
        frozenset((phantom.slices[a].id, phantom.slices[b].id)) for a, b in pairs[["first", "second"]].values
    }
    planted = {
        frozenset((copy.id, item.id))
        for copy in copies
        for item in phantom.slices
        if item.group == copy.group and item.id != copy.id
    }
    assert found == planted


def test_masked_sources_can_be_chosen() -> None:
    phantom = BrainPhantom(4, 1, size=48, masked_sources=("scanner_a", "scanner_b"))
    assert all(item.strong for item in phantom.slices)
    assert not any(item.has_mask for item in BrainPhantom(4, 1, size=48, masked_sources=()).slices)


def test_it_feeds_the_dataset() -> None:
    dataset = MultiSourceDataset([BrainPhantom(8, 2, size=64)], size=48)
    assert set(dataset.table["source"]) == {"scanner_a", "scanner_b"}
    for position in range(len(dataset)):
        sample = dataset[position]
        if sample["mask"] is not None:
            assert bool(sample["mask"].sum() > 0) == bool(sample["cls"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 1.2}, "rho=1.2"),
        ({"n_patients": 1}, "n_patients=1"),
        ({"slices_per_patient": 0}, "slices_per_patient=0"),
        ({"size": 20}, "size=20"),
        ({"duplicate_rate": -0.1}, "duplicate_rate"),
        ({"masked_sources": ("scanner_c",)}, "scanner_a, scanner_b"),
    ],
)
def test_out_of_range_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        BrainPhantom(**options)
