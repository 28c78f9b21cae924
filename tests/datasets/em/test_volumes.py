"""Volumes: scaling, lazy boxes, unknown ids, parts, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtl.datasets.em import UNKNOWN, EMVolume, check_contrast, check_foreground
from mtl.datasets.em.lazy_arrays import Window
from mtl.datasets.em.volume_checks import check_axis_order, check_spacing
from mtl.errors import DataError, ParameterError

SPACING = (40.0, 4.0, 4.0)
ALL = (slice(0, 3), slice(0, 4), slice(0, 5))


def of(image: np.ndarray, labels: np.ndarray | None = None, **options) -> EMVolume:
    return EMVolume("v", image, labels, SPACING, **options)


class Recorder:
    """A lazy array that remembers which boxes were read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.boxes = array, array.shape, array.dtype, []

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        self.boxes.append(box)
        return self.array[box]


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), {}, [0, 0.2, 1]),
        (np.array([0, 13107, 65535], np.uint16), {}, [0, 0.2, 1]),
        (np.array([-128, 127], np.int8), {}, [0, 1]),
        (np.array([0, 0.25, 1], np.float64), {}, [0, 0.25, 1]),
        (np.array([50, 100, 300], np.uint16), {"intensity_range": (50, 250)}, [0, 0.25, 1]),
        (np.array([-1.0, 0.0, 3.0], np.float32), {"intensity_range": (-1, 1)}, [0, 0.5, 1]),
    ],
)
def test_grey_values_become_float32_in_0_1(image: np.ndarray, options: dict, expected: list[float]) -> None:
    volume = of(image[None, None], **options)
    read, labels = volume.read(volume.box)
    assert read.dtype == np.float32 and labels is None
    np.testing.assert_allclose(read[0, 0], expected, atol=1e-6)


def test_floats_out_of_range_are_refused() -> None:
    for value in (1.5, -0.1, np.nan):
        volume = of(np.full((1, 2, 2), value, np.float32))
        with pytest.raises(DataError, match=r"'v'.*\[0, 1\].*intensity_range"):
            volume.read(volume.box)
    with pytest.raises(DataError, match="intensity_range"):
        of(np.zeros((1, 2, 2)), intensity_range=(5, 5))


def test_unknown_ids_of_unsigned_labels() -> None:
    labels = np.array([[[0, 7, 2**64 - 1, 2**64 - 3]]], np.uint64)
    volume = of(np.zeros((1, 1, 4), np.uint8), labels, unknown_ids=(2**64 - 1, 2**64 - 3))
    read = volume.read(volume.box)[1]
    assert read.dtype == np.int64 and read.tolist() == [[[0, 7, UNKNOWN, UNKNOWN]]]
    with pytest.raises(DataError, match="'v': labels hold the id 18446744073709551613.*unknown_ids"):
        replace(volume, unknown_ids=(2**64 - 1,)).read(volume.box)
    signed = of(np.zeros((1, 1, 2), np.uint8), np.array([[[-100, 4]]]))
    assert signed.read_labels(signed.box).tolist() == [[[UNKNOWN, 4]]]


def test_only_the_box_is_read_and_parts_stay_lazy() -> None:
    array = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
    lazy = Recorder(array)
    part = of(lazy, Recorder(array.astype(np.int32))).part(slice(2, 6), "v/b").part(slice(1, 3), "v/b/c")
    assert part.shape == (2, 4, 5) and part.name == "v/b/c" and lazy.boxes == []
    image, labels = part.read((slice(1, 2), slice(1, 3), slice(0, 5)))
    np.testing.assert_array_equal(labels, array[4:5, 1:3])
    np.testing.assert_allclose(image * 255, array[4:5, 1:3], atol=1e-4)
    assert lazy.boxes == [(slice(4, 5), slice(1, 3), slice(0, 5))]


def test_a_part_of_an_array_in_memory_is_a_view() -> None:
    array = np.zeros((6, 4, 5), np.uint8)
    part = of(array).part(slice(None, 4), "front")
    assert np.shares_memory(part.image, array) and part.shape == (4, 4, 5)
    with pytest.raises(ParameterError, match="'v'.*non-empty run"):
        of(array).part(slice(4, 4), "none")


def test_a_window_reads_as_the_array_it_cuts() -> None:
    array = np.random.default_rng(1).integers(0, 9, (8, 9, 10))
    window = Window(array, (slice(2, 7), slice(0, 9), slice(3, 8)))
    np.testing.assert_array_equal(window[1:3, :, 2:], array[3:5, :, 5:8])


@pytest.mark.parametrize(
    "box",
    [
        (slice(0, 4), slice(0, 4), slice(0, 5)),
        (slice(1, 1), slice(0, 4), slice(0, 5)),
        (slice(-1, 2), slice(0, 4), slice(0, 5)),
        (slice(0, 3, 2), slice(0, 4), slice(0, 5)),
    ],
)
def test_boxes_must_lie_inside(box: tuple[slice, ...]) -> None:
    with pytest.raises(ParameterError, match=r"does not lie in volume 'v' of shape \(3, 4, 5\)"):
        of(np.zeros((3, 4, 5), np.uint8)).read(box)


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        ((4, 5), None, r"image has shape \(4, 5\); expected a grey volume \(z, y, x\)"),
        (
            (3, 4, 5),
            np.zeros((3, 4, 5), np.float32),
            "labels has dtype float32; expected integer instance ids",
        ),
        ((3, 4, 5), np.zeros((3, 4, 5), bool), "labels has dtype bool"),
        ((3, 4, 5), np.zeros((5, 4, 3), int), r"\(5, 4, 3\), its image \(3, 4, 5\): wrong axis order"),
        ((3, 4, 5), np.zeros((3, 4, 6), int), r"\(3, 4, 6\), its image \(3, 4, 5\); expected the same shape"),
    ],
)
def test_arrays_that_do_not_fit(image: tuple[int, ...], labels: np.ndarray | None, message: str) -> None:
    with pytest.raises(DataError, match=f"volume 'v': .*{message}"):
        of(np.zeros(image, np.uint8), labels)


def test_images_of_numbers_only() -> None:
    with pytest.raises(DataError, match="dtype bool"):
        of(np.zeros((3, 4, 5), bool))


def test_spacing_must_be_there_and_in_order() -> None:
    with pytest.raises(DataError, match=r"a\.tif: no voxel spacing; pass spacing=\(z, y, x\) in nm"):
        check_spacing(None, "a.tif")
    for wrong in ((4, 4), (30, 6, 0), (30, 6, float("nan")), 10.0, ("30nm",), "30 nm"):
        with pytest.raises(DataError, match=r"a\.tif: spacing.*three positive numbers"):
            check_spacing(wrong, "a.tif")
    with pytest.raises(DataError, match=r"a\.tif.*4 x 30 nm in the plane.*wrong axis order"):
        check_axis_order((4, 4, 30), "a.tif")
    assert check_axis_order([30, 6, 6], "a.tif") == (30.0, 6.0, 6.0)


def test_known_foreground_is_asked_for() -> None:
    image = np.zeros((70, 70, 70), np.uint8)
    labels = np.full(image.shape, UNKNOWN, np.int16)
    with pytest.raises(DataError, match="'v' has no labels"):
        check_foreground(of(image))
    with pytest.raises(
        DataError, match=r"'v': labels hold no known foreground.*an? instance id|at least one"
    ):
        check_foreground(of(image, labels))
    labels[69, 69, 69] = 2
    check_foreground(of(image, labels))


def test_looking_for_foreground_stops_at_the_first() -> None:
    labels = Recorder(np.ones((200, 128, 128), np.int16))
    check_foreground(of(np.zeros(labels.shape, np.uint8), labels))
    assert len(labels.boxes) == 1
    assert all(part.stop - part.start <= 64 for part in labels.boxes[0])


def test_the_fingerprint_follows_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    image, labels = rng.integers(0, 255, (6, 8, 8), np.uint8), rng.integers(0, 5, (6, 8, 8))
    volume = of(image, labels)
    before = volume.fingerprint()
    assert before == replace(volume, name="other", labels=labels.astype(np.uint8)).fingerprint()
    monkeypatch.setattr("mtl.datasets.em.volumes.SLAB_VOXELS", 130)
    assert len(list(volume.slabs())) == 3
    changed = labels.copy()
    changed[5, 7, 7] += 1
    assert replace(volume, labels=changed).fingerprint() != replace(volume).fingerprint()
    assert replace(volume, spacing=(40, 4, 5)).fingerprint() != volume.fingerprint()


def test_an_empty_box_is_refused() -> None:
    volume = EMVolume("v", np.zeros((4, 5, 6), np.uint8), None, (1.0, 1.0, 1.0))
    with pytest.raises(ParameterError, match="does not lie in volume 'v'"):
        volume.read((slice(0, 0), slice(0, 5), slice(0, 6)))


def test_a_range_does_not_hide_values_that_are_no_numbers() -> None:
    image = np.full((4, 5, 6), np.nan, np.float32)
    volume = EMVolume("v", image, None, (1.0, 1.0, 1.0), intensity_range=(0.0, 5.0))
    with pytest.raises(DataError, match="image values are NaN"):
        volume.read(volume.box)


def test_grey_values_that_fill_little_of_their_type_are_named():
    dim = of(np.linspace(0, 4095, 60).reshape(3, 4, 5).astype(np.uint16))
    with pytest.raises(DataError, match=r"from 0 to 4095 fill little of the range of uint16; .*=0,4095"):
        check_contrast(dim)
    check_contrast(replace(dim, intensity_range=(0, 4095)))
    check_contrast(of((dim.image * 16).astype(np.uint16)))
    check_contrast(of(np.full((3, 4, 5), 7, np.uint8)))
    signed = of(np.linspace(0, 900, 60).reshape(3, 4, 5).astype(np.int16))
    with pytest.raises(DataError, match="of int16"):
        check_contrast(signed)


def test_a_box_of_two_slices_is_refused() -> None:
    volume = of(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(ParameterError, match="expected a slice for each of z, y, x"):
        volume.read((slice(0, 1), slice(0, 1)))
