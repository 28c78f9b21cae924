"""Blending that adds up to one, slabs that give what one pass in memory gives, lazy volumes read by box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl.errors import ParameterError
from mtl.inference.em.blending import AxisTiles
from mtl.inference.em.sliding_window import sliding_window


def identity(patches: Tensor) -> Tensor:
    return patches


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 90),
    patch=st.integers(1, 40),
    overlap=st.floats(0, 0.9),
    sigma_scale=st.floats(0.02, 1),
    floor=st.floats(1e-6, 1),
)
def test_weights_sum_to_one_at_every_voxel(size, patch, overlap, sigma_scale, floor) -> None:
    tiles = AxisTiles(size, patch, overlap, sigma_scale, floor)
    total = np.zeros(max(size, patch))
    for start, weights in zip(tiles.starts, tiles.weights, strict=True):
        assert start >= 0 and (weights > 0).all()
        total[start : start + patch] += weights
    assert np.allclose(total, 1, atol=1e-6)


def test_weights_fall_from_the_middle_as_the_gaussian_does() -> None:
    bell = AxisTiles(size=20, patch=20, sigma_scale=0.125).weights
    assert np.array_equal(bell, np.ones_like(bell))  # alone, a patch counts fully everywhere
    tiles = AxisTiles(size=30, patch=20, overlap=0.5, sigma_scale=0.25, floor=1e-6)
    gauss = np.exp(-((np.arange(20) - 9.5) ** 2) / (2 * 5.0**2))
    assert np.allclose(tiles.weights[0][10:], gauss[10:] / (gauss[10:] + gauss[:10]), atol=1e-6)


@pytest.mark.parametrize("patch", [(4, 24, 24), (16, 8, 20), (3, 40, 5), (1, 16, 16), (30, 12, 12)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_blending_an_identity_network_is_the_identity(patch: tuple[int, ...], overlap: float) -> None:
    image = noise(17, 41, 38)
    blended = sliding_window(identity, image, patch, overlap=overlap, batch_size=3)
    assert blended.shape == (1, 17, 41, 38)
    assert np.abs(blended[0] - image).max() < 1e-6


def test_equals_a_naive_weighted_mean_over_patches() -> None:
    """Against two full volumes, sums and weights, divided at the end."""
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 5, 3, padding=1).eval()
    image, patch, starts = noise(9, 20, 22), (5, 12, 10), ([0, 3, 4], [0, 8], [0, 7, 12])
    bells = [np.exp(-((np.arange(p) - (p - 1) / 2) ** 2) / (2 * (p / 8) ** 2)).clip(0.01) for p in patch]
    weight = np.einsum("i,j,k->ijk", *bells)
    sums, weights = np.zeros((5, *image.shape)), np.zeros(image.shape)
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                box = (slice(z, z + 5), slice(y, y + 12), slice(x, x + 10))
                with torch.no_grad():
                    output = network(torch.from_numpy(image[box])[None, None])[0].numpy()
                sums[:, *box] += output * weight
                weights[box] += weight
    blended = sliding_window(network, image, patch, overlap=0.3)
    assert np.abs(blended - sums / weights).max() < 1e-5


class LazyVolume:
    """Counts what is read; more than one slab at a time is refused."""

    def __init__(self, image: np.ndarray, planes: int) -> None:
        self.image, self.planes, self.reads = image, planes, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    def read(self, box: tuple[slice, ...]) -> tuple[np.ndarray, None]:
        part = self.image[box]
        assert len(part) <= self.planes, "more planes asked for than one slab has"
        self.reads += 1
        return part, None


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_slabs_on_disk_equal_the_result_in_memory(tmp_path: Path, dtype: str) -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 4, 3, padding=1).eval()
    image = noise(23, 150, 30)
    memory = sliding_window(network, image, (6, 60, 20))
    volume = LazyVolume(image, planes=6)
    stored = sliding_window(network, volume, (6, 60, 20), path=tmp_path / "out.zarr", dtype=dtype)
    assert isinstance(stored, zarr.Array) and stored.dtype == dtype and volume.reads > 3
    assert np.array_equal(stored[:], memory.astype(dtype))
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_a_failure_leaves_the_older_result_and_nothing_half_written(tmp_path: Path) -> None:
    sliding_window(identity, noise(8, 10, 10), (4, 8, 8), path=tmp_path / "out.zarr")
    calls = []

    def failing(patches: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 6:
            raise RuntimeError("out of luck")
        return patches * 2

    with pytest.raises(RuntimeError, match="out of luck"):
        sliding_window(failing, noise(8, 10, 10), (4, 8, 8), path=tmp_path / "out.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
    assert np.allclose(zarr.open_array(tmp_path / "out.zarr", mode="r")[0], noise(8, 10, 10), atol=1e-6)


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.zarr.abc.part").mkdir()
    sliding_window(identity, noise(4, 8, 8), (4, 8, 8), path=tmp_path / "out.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_half_precision_networks_are_blended_in_float32() -> None:
    blended = sliding_window(lambda patches: patches.bfloat16(), noise(4, 20, 20), (4, 12, 12))
    assert blended.dtype == np.float32
    assert np.abs(blended[0] - noise(4, 20, 20)).max() < 2**-8


def test_two_dimensions_alone_and_as_planes_of_a_stack() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 3, 3, padding=1).eval()
    stack = noise(3, 30, 25)
    planes = sliding_window(network, stack, (16, 16))
    assert planes.shape == (3, 3, 30, 25)
    for z in range(3):
        assert np.allclose(planes[:, z], sliding_window(network, stack[z], (16, 16)), atol=1e-6)


def test_errors_name_what_does_not_fit() -> None:
    with pytest.raises(ParameterError, match=r"patch_size \(8,\)"):
        sliding_window(identity, noise(8, 8, 8), (8,))
    with pytest.raises(ParameterError, match="overlap = 1"):
        sliding_window(identity, noise(8, 8, 8), (4, 4, 4), overlap=1)
    with pytest.raises(ParameterError, match=r"the same batch and spatial shape"):
        sliding_window(lambda patches: patches[..., 1:], noise(8, 8, 8), (4, 4, 4))
