"""The em phantom: exact labels, membranes that can be seen, every dial, repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.ndimage import label as scipy_label

from mtl.datasets.em import UNKNOWN, EMVolume
from mtl.datasets.phantoms.em import em_phantom
from mtl.datasets.phantoms.em_tissue import cells, grow_neurites, smooth_noise
from mtl.errors import ParameterError

SMALL = (16, 48, 56)


@pytest.fixture(scope="module")
def phantom() -> EMVolume:
    return em_phantom(SMALL, (10, 10, 10), n_neurites=12, seed=1)


def test_the_same_seed_gives_the_same_tissue(phantom: EMVolume) -> None:
    again = em_phantom(SMALL, (10, 10, 10), n_neurites=12, seed=1)
    np.testing.assert_array_equal(again.image, phantom.image)
    np.testing.assert_array_equal(again.labels, phantom.labels)
    other = em_phantom(SMALL, (10, 10, 10), n_neurites=12, seed=2)
    assert (other.labels != phantom.labels).mean() > 0.5


def test_instances_are_connected_and_apart(phantom: EMVolume) -> None:
    labels = phantom.labels
    assert phantom.image.dtype == np.uint8 and labels.dtype == np.int64 and phantom.shape == SMALL
    ids = np.unique(labels[labels > 0])
    assert ids.tolist() == list(range(1, len(ids) + 1)) and 5 <= len(ids) <= 40
    for identity in ids:
        assert scipy_label(labels == identity, np.ones((3, 3, 3)))[1] == 1
        assert (labels == identity).sum() >= 20
    for axis in range(3):
        one, other = np.moveaxis(labels, axis, 0)[1:], np.moveaxis(labels, axis, 0)[:-1]
        assert not ((one != other) & (one > 0) & (other > 0)).any(), "a membrane lies between neighbours"


def test_membranes_are_thin_and_dark(phantom: EMVolume) -> None:
    membrane = phantom.labels == 0
    assert 0.05 < membrane.mean() < 0.35
    inside = binary_erosion(~membrane, iterations=2)
    assert phantom.image[membrane].mean() < phantom.image[inside].mean() - 60
    assert not binary_erosion(membrane, iterations=3).mean() > 0.01, "lines, not areas"


def test_neurites_run_in_several_directions() -> None:
    neurites = grow_neurites(np.array([640.0, 1280.0, 1280.0]), 30, np.random.default_rng(0))
    spread = np.linalg.eigvalsh(neurites.tangents.T @ neurites.tangents / len(neurites.tangents))
    assert spread[0] > 0.1, "no direction is left out: these are no stripes"
    assert len(np.unique(neurites.owner)) < 30, "some curves are branches of another neurite"


def test_cells_are_those_of_the_power_diagram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtl.datasets.phantoms.em_tissue.WAVINESS", 0.0)
    rng = np.random.default_rng(0)
    shape, spacing = (9, 20, 22), np.array([30.0, 6.0, 6.0])
    neurites = grow_neurites(np.array(shape) * spacing, 8, rng)
    owner = cells(neurites, shape, spacing, rng)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3) * spacing
    power = ((places[:, None] - neurites.points) ** 2).sum(-1) - neurites.weights
    np.testing.assert_array_equal(owner.ravel(), neurites.owner[power.argmin(1)] + 1)


def test_smooth_noise_is_smooth_and_of_unit_variance() -> None:
    spacing = np.array([30.0, 6.0, 6.0])
    field = smooth_noise((24, 100, 100), spacing, 60.0, np.random.default_rng(0))
    assert field.shape == (24, 100, 100) and field.dtype == np.float32
    assert 0.8 < field.std() < 1.2 and abs(field.mean()) < 0.2
    assert np.abs(np.diff(field, axis=2)).max() < 0.6, "6 nm of 60"
    assert np.abs(np.diff(field, axis=0)).mean() > 2 * np.abs(np.diff(field, axis=2)).mean()


def test_blocks_stay_unannotated() -> None:
    whole = em_phantom(SMALL, n_neurites=12, seed=1)
    part = em_phantom(SMALL, n_neurites=12, seed=1, unannotated=0.3)
    unknown = part.labels == UNKNOWN
    assert unknown.mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(part.labels[~unknown], whole.labels[~unknown])
    np.testing.assert_array_equal(part.image, whole.image)
    blocks = unknown.reshape(4, 4, 4, 12, 4, 14)
    assert (blocks.any((1, 3, 5)) == blocks.all((1, 3, 5))).all()


def test_the_usual_number_of_neurites_follows_from_the_size() -> None:
    small, large = em_phantom((8, 32, 32), seed=0), em_phantom((16, 128, 128), seed=0)
    assert 3 <= small.labels.max() < large.labels.max()


def test_one_section_is_missing() -> None:
    whole = em_phantom(SMALL, n_neurites=12, seed=1)
    cut = em_phantom(SMALL, n_neurites=12, seed=1, missing_section=True)
    black = np.flatnonzero((cut.image == 0).all(axis=(1, 2)))
    assert len(black) == 1 and SMALL[0] // 3 <= black[0] <= 2 * SMALL[0] // 3
    kept = np.arange(SMALL[0]) != black[0]
    np.testing.assert_array_equal(cut.image[kept], whole.image[kept])
    np.testing.assert_array_equal(cut.labels, whole.labels)


def test_thick_sections() -> None:
    volume = em_phantom((12, 64, 64), (50, 4, 4), n_neurites=20, seed=0)
    same = [
        (a == b)[(a > 0) & (b > 0)].mean() for a, b in zip(volume.labels, volume.labels[1:], strict=False)
    ]
    in_plane = (volume.labels[:, 1:] == volume.labels[:, :-1])[volume.labels[:, 1:] > 0].mean()
    assert 0.3 < np.mean(same) < in_plane, "neurites move from one section to the next"


def test_planar_instances_belong_to_one_plane() -> None:
    volume = em_phantom((5, 48, 48), (50, 4, 4), n_neurites=15, seed=0, planar=True)
    assert volume.planar
    for plane in volume.labels:
        for identity in np.unique(plane[plane > 0]):
            assert scipy_label(plane == identity)[1] == 1
    found = [set(np.unique(plane[plane > 0])) for plane in volume.labels]
    assert sum(map(len, found)) == len(set().union(*found)) > 10


def test_noise_changes_grey_values_only(phantom: EMVolume) -> None:
    clean, noisy = (em_phantom(SMALL, (10, 10, 10), n_neurites=12, seed=1, noise=n) for n in (0.0, 2.0))
    np.testing.assert_array_equal(clean.labels, noisy.labels)
    away = {n: np.std(v.image.astype(float) - clean.image) for n, v in ((1.0, phantom), (2.0, noisy))}
    assert away[2.0] == pytest.approx(2 * away[1.0], rel=0.1)  # less where grey values end


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (2, 48, 48)}, r"shape=\(2, 48, 48\) must be \(z, y, x\)"),
        ({"shape": (48, 48)}, r"shape=\(48, 48\)"),
        ({"spacing": (10, 0, 10)}, "spacing="),
        ({"n_neurites": 0}, "n_neurites=0"),
        ({"unannotated": 1.0}, r"unannotated=1.0 must lie in \[0, 1\)"),
        ({"noise": -0.1}, "noise=-0.1 must be finite"),
        ({"noise": float("nan")}, "noise=nan must be finite"),
    ],
)
def test_dials_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        em_phantom(**options)


@pytest.mark.parametrize("seed", [5, 11])
def test_no_neurite_swallows_the_others(seed: int) -> None:
    """In a power diagram one that is much thicker takes all: with seed 11, three instances were left once."""
    volume = em_phantom((40, 96, 96), (10, 10, 10), n_neurites=60, seed=seed)
    assert np.bincount(volume.labels[volume.labels > 0]).max() < 0.3 * volume.labels.size
    assert volume.labels.max() >= 40


def test_some_of_the_dark_is_no_membrane() -> None:
    """Sheets of the reticulum: as dark as a membrane, inside of an instance, away from its border."""
    volume = em_phantom((24, 96, 96), (8, 8, 8), n_neurites=8, seed=1)
    deep = np.zeros(volume.shape, bool)
    for identity in np.unique(volume.labels[volume.labels > 0]):
        deep |= binary_erosion(volume.labels == identity, iterations=3)
    membrane = np.median(volume.image[volume.labels == 0])
    assert 0.02 < (volume.image[deep] <= membrane + 25).mean() < 0.15
