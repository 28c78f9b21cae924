"""CPM-15: text masks with width first; pairs and traps of the README."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label

from mtl.datasets.histology import open_tiles, read_cpm15
from mtl.errors import DataError

from .conftest import picture, squares


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images 02 (20x), 14 and 15 (40x)."""
    for name in ("02", "14", "15"):
        Image.fromarray(picture()).convert("RGBA").save(tmp_path / f"image{name}.png")
        ids = "\n".join(str(value) for value in squares().ravel())
        (tmp_path / f"image{name}_mask.txt").write_text(f"32 24\n{ids}\n")
    return tmp_path


def test_width_comes_first_and_rows_follow(folder: Path) -> None:
    tiles = read_cpm15(folder)
    assert [tile.id for tile in tiles] == ["cpm15/image02", "cpm15/image14", "cpm15/image15"]
    for tile in tiles:
        np.testing.assert_array_equal(tile.instances, squares())
        assert tile.image.shape == (24, 32, 3)


def test_pictures_with_drawn_outlines_are_left_out(folder: Path) -> None:
    Image.fromarray(picture()).save(folder / "image02_poly.png")
    assert len(read_cpm15(folder)) == 3


def test_magnification_is_the_appearance_and_one_slide_is_one_group(folder: Path) -> None:
    first, second, third = read_cpm15(folder)
    assert [tile.appearance for tile in (first, second, third)] == ["20x", "40x", "40x"]
    assert second.group == third.group != first.group


def test_masks_that_were_exchanged_show_by_their_size(folder: Path) -> None:
    ids = "\n".join(str(value) for value in squares((32, 24)).ravel())
    (folder / "image14_mask.txt").write_text(f"24 32\n{ids}\n")
    with pytest.raises(DataError, match=r"image14_mask\.txt: 24 x 32 pixels, but image14\.png has 32 x 24"):
        read_cpm15(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("32 24\n1\n2\n", "32 x 24 pixels are announced, but there are 2 ids"),
        ("32\n1\n", "a first line 'width height'"),
        ("2 1\n1\nx\n", "one whole number per line"),
        ("2 1\n1\n-3\n", "holds the id -3"),
        ("", "a first line 'width height'"),
        ("5 0\n", "5 x 0 pixels are announced"),
    ],
)
def test_text_that_is_no_mask_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "image02_mask.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_cpm15(folder)


def test_a_missing_image_and_an_empty_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "image02.png").unlink()
    with pytest.raises(DataError, match=r"image02_mask\.txt: its image image02\.png is missing"):
        read_cpm15(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image with nuclei was found"):
        read_cpm15(tmp_path / "empty")


@pytest.mark.real_data
def test_the_real_tiles_have_the_counts_of_their_readme(data_root: Path) -> None:
    tiles = open_tiles(data_root / "cpm15_he_nuclei")
    assert [(tile.id[-2:], len(tile.nucleus_ids)) for tile in tiles] == [
        ("02", 127),
        ("14", 139),
        ("15", 137),
    ]
    assert [tile.appearance for tile in tiles] == ["20x", "40x", "40x"]
    assert len({tile.group for tile in tiles}) == 2
    for tile in tiles:
        assert tile.nucleus_ids.tolist() == list(range(1, len(tile.nucleus_ids) + 1)), "contiguous"
    pieces = {tile.id[-2:]: [label(tile.instances == k)[1] for k in tile.nucleus_ids] for tile in tiles}
    assert {name: counts.count(2) for name, counts in pieces.items()} == {"02": 1, "14": 0, "15": 1}
    areas = {tile.id[-2:]: np.median(np.bincount(tile.instances.ravel())[1:]) for tile in tiles}
    assert areas["14"] > 1.5 * areas["02"], "40x against 20x"


def test_an_image_without_a_mask_is_no_tile_that_is_left_out(folder: Path) -> None:
    (folder / "image14_mask.txt").unlink()
    with pytest.raises(DataError, match=r"image14\.png: its mask image14_mask\.txt is missing"):
        read_cpm15(folder)
