"""Near copies are found through size, crop, mirror and turn; strangers are not; groups.csv agrees."""

from __future__ import annotations

import csv
import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from mtl.datasets.brain_mri.kaggle import KaggleTumor
from mtl.datasets.near_duplicates import (
    audit_split,
    find_near_duplicates,
    near_duplicate_pairs,
    perceptual_hash,
)
from mtl.errors import DataError, ParameterError


def picture(seed: int, shape: tuple[int, int] = (60, 50)) -> np.ndarray:
    """Smooth random texture: every seed another picture."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4)
    return (100 + 40 * field / field.std()).astype(np.float32)


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC))


COPIES = {
    "exact": lambda image: image.copy(),
    "other grey scale": lambda image: 3 * image + 20,
    "half the size": lambda image: resized(image, (30, 25)),
    "stretched": lambda image: resized(image, (60, 90)),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "quarter turn": lambda image: np.rot90(image),
    "turned and mirrored": lambda image: np.rot90(image, 3)[:, ::-1],
    "cropped a little": lambda image: image[1:-1, 1:],
    "noisy": lambda image: image + np.random.default_rng(1).normal(0, 8, image.shape),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_found(name: str) -> None:
    images = [picture(0), picture(1), COPIES[name](picture(0)), picture(2)]
    pairs = near_duplicate_pairs(images)
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [(0, 2)]
    assert pairs["correlation"][0] > 0.92
    assert find_near_duplicates(images).tolist() == [0, 1, 0, 2]


def test_strangers_are_not_grouped() -> None:
    assert find_near_duplicates([picture(seed) for seed in range(60)]).tolist() == list(range(60))


def test_groups_are_connected_components() -> None:
    """A chain: the ends are no near copies of each other, the middle is one of both."""
    left, right = picture(0), picture(1)
    images = [left, left + 0.45 * (right - 100), 0.8 * left + 0.8 * right - 60, picture(5)]
    lowest = near_duplicate_pairs(images, 0.5, hash_distance=63)
    assert {(0, 1), (1, 2), (0, 2)} == set(zip(lowest["first"], lowest["second"], strict=True))
    ends = lowest.set_index(["first", "second"])["correlation"]
    bound = (ends[0, 2] + min(ends[0, 1], ends[1, 2])) / 2
    assert ends[0, 2] < bound
    assert find_near_duplicates(images, bound, hash_distance=63).tolist() == [0, 0, 0, 1]


def test_correlation_equals_a_plain_one() -> None:
    images = [picture(0), picture(0) + 0.4 * (picture(1) - 100)]
    pairs = near_duplicate_pairs(images, 0.5, hash_distance=63)
    small = [
        gaussian_filter(
            np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)), 1.0
        ).ravel()
        for image in images
    ]
    assert pairs["correlation"][0] == pytest.approx(np.corrcoef(*small)[0, 1], abs=1e-4)


def test_the_hash_has_63_balanced_signs() -> None:
    bits = perceptual_hash(np.stack([picture(seed, (32, 32)) for seed in range(5)]))
    assert bits.shape == (5, 63) and set(np.unique(bits)) == {-1, 1}
    assert ((bits > 0).sum(axis=1) == 31).all(), "above the median of 63 values"


def test_many_pictures_go_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(seed % 9) for seed in range(25)]
    whole = near_duplicate_pairs(images)
    monkeypatch.setattr("mtl.datasets.near_duplicates.BLOCK", 4)
    blocks = near_duplicate_pairs(images)
    assert len(whole) == sum(first % 9 == second % 9 for first, second in combinations(range(25), 2))
    assert blocks[["first", "second"]].sort_values(["first", "second"]).to_numpy().tolist() == (
        whole[["first", "second"]].sort_values(["first", "second"]).to_numpy().tolist()
    )


def test_the_audit_lists_pairs_across_parts_only() -> None:
    images = {"a": picture(0), "b": picture(0)[::-1], "c": picture(1), "d": picture(1), "e": picture(2)}
    parts = {"a": "train", "b": "test", "c": "train", "d": "train", "e": "test"}
    leaks = audit_split(images, parts)
    assert leaks[["first", "first_part", "second", "second_part"]].values.tolist() == [
        ["a", "train", "b", "test"]
    ]
    assert audit_split(images, parts | {"b": "train"}).empty
    with pytest.raises(DataError, match="no picture for z"):
        audit_split(images, parts | {"z": "test"})


def test_blank_and_broken_pictures_are_named_by_place() -> None:
    for bad in (np.full((9, 9), 3.0), np.full((9, 9), np.nan), np.zeros((3, 9, 9))):
        with pytest.raises(DataError, match="picture 1"):
            find_near_duplicates([picture(0), bad])
    with pytest.raises(ParameterError, match="min_correlation"):
        near_duplicate_pairs([picture(0)], 1.5)
    assert find_near_duplicates([]).shape == (0,)


@pytest.mark.real_data
def test_the_real_groups(data_root: Path, tmp_path: Path) -> None:
    """Without groups.csv the same groups come out, but for ten pictures that were looked at.

    ``groups.csv`` joins one person's FLAIR to the T2 slice of the same place (eight pairs, contrasts too
    unlike for a correlation), and keeps two neighbouring slices apart (Y195, Y26), which are found here.
    """
    root = data_root / "brain_mri_253"
    (tmp_path / "brain_tumor_dataset").symlink_to(root / "brain_tumor_dataset")
    source = KaggleTumor(tmp_path)
    with (root / "groups.csv").open(newline="") as handle:
        given = {row["file"].removeprefix("brain_tumor_dataset/"): row for row in csv.DictReader(handle)}
    found = {item.id.removeprefix("kaggle/"): item for item in source.slices}
    pairs = list(combinations(sorted(given), 2))
    same = {pair for pair in pairs if len({given[name]["near_duplicate_group"] for name in pair}) == 1}
    ours = {pair for pair in pairs if len({found[name].group for name in pair}) == 1}
    content = {
        name: hashlib.sha256(source.path_of(item).read_bytes()).digest() for name, item in found.items()
    }
    exact = {pair for pair in pairs if content[pair[0]] == content[pair[1]]}
    assert len(exact) == 29 and exact <= ours
    assert ours - same == {("yes/Y195.JPG", "yes/Y26.jpg")}
    assert len(ours & same) / len(same) >= 0.9
    assert all({"no/no 100.jpg", "no/no 5.jpeg"} & set(pair) for pair in same - ours)
    assert all(found[first].cls == found[second].cls for first, second in ours)
