"""Splits by z: gaps, no shared voxel, hashes, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtl.datasets.em import EMVolume, z_split
from mtl.errors import ParameterError, ProtocolError


@pytest.fixture
def deep() -> EMVolume:
    labels = np.broadcast_to(np.arange(1, 137)[:, None, None], (136, 4, 4))
    return EMVolume("fib25", np.zeros((136, 4, 4), np.uint8), labels, (10.0, 10.0, 10.0))


def test_parts_share_no_plane_and_keep_their_distance(deep: EMVolume) -> None:
    split = z_split(deep, validation_planes=20, test_planes=24)
    assert (split.train, split.validation, split.test) == ((0, 60), (76, 96), (112, 136))
    parts = split.parts(deep)
    planes = {name: set(np.unique(part.read_labels(part.box))) for name, part in parts.items()}
    assert {name: part.name for name, part in parts.items()} == {n: f"fib25/{n}" for n in planes}
    assert not planes["train"] & planes["validation"] and not planes["validation"] & planes["test"]
    assert (
        min(planes["validation"]) - max(planes["train"])
        == 17
        == min(planes["test"]) - max(planes["validation"])
    )
    assert np.shares_memory(parts["train"].image, deep.image)


def test_the_hash_follows_the_split(deep: EMVolume) -> None:
    split, same = z_split(deep, 20, 24), z_split(deep, 20, 24)
    other = z_split(deep, 16, 24)
    assert split.hash == same.hash != other.hash
    assert split.test_hash == other.test_hash, "the same planes are tested"
    assert split.test_hash != z_split(deep, 20, 25).test_hash
    assert split.test_hash != z_split(replace(deep, name="x"), 20, 24).test_hash


def test_smaller_gaps_for_thin_volumes(deep: EMVolume) -> None:
    thin = deep.part(slice(0, 50), "gala")
    assert z_split(thin, 8, 10, gap=8).train == (0, 16)
    with pytest.raises(ParameterError, match="'gala' has 50 planes.*two gaps of 16 leave 0 to train on"):
        z_split(thin, 8, 10)
    for options in ((0, 10, 8), (8, 0, 8), (8, 8, -1)):
        with pytest.raises(ParameterError, match="every part needs a plane"):
            z_split(thin, *options)


def test_a_split_fits_its_volume_only(deep: EMVolume) -> None:
    split = z_split(deep, 20, 24)
    with pytest.raises(ProtocolError, match=r"of volume 'fib25' with shape \(136, 4, 4\), not of 'x'"):
        split.parts(replace(deep, name="x"))
    for wrong in ({"validation": (70, 90)}, {"test": (112, 140)}, {"train": (5, 5)}):
        with pytest.raises(ProtocolError, match="16 planes apart"):
            replace(split, **wrong).parts(deep)
