"""Data Science Bowl 2018: the layout's traps on made files, the README's counts on the real ones."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.datasets.histology import read_dsb2018
from mtl.errors import DataError

from .conftest import picture, squares


def mask_file(root: Path, number: int = 1, name: str = "aa") -> Path:
    return root / "stage1_train" / name / "masks" / f"m{number}.png"


def test_images_masks_and_table_become_tiles(dsb_folder: Path) -> None:
    first, second = read_dsb2018(dsb_folder)
    np.testing.assert_array_equal(first.instances, squares())
    np.testing.assert_array_equal(first.image, picture())
    assert (first.id, first.appearance, first.group) == ("dsb2018/aa", "stain_white", "s00")
    assert (second.appearance, second.group) == ("fluo", "none/bb")


def test_the_folder_of_images_itself_may_be_given_and_the_table_may_be_missing(dsb_folder: Path) -> None:
    (dsb_folder / "images.csv").unlink()
    tiles = read_dsb2018(dsb_folder / "stage1_train")
    assert [tile.group for tile in tiles] == ["none/aa", "none/bb"]


def test_appearances_choose_images(dsb_folder: Path) -> None:
    assert [tile.id for tile in read_dsb2018(dsb_folder, ["fluo"])] == ["dsb2018/bb"]
    with pytest.raises(DataError, match="no image of appearance 'purple'; images.csv has fluo, stain_white"):
        read_dsb2018(dsb_folder, ["purple"])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "1", "P", "I;16"])
def test_every_mode_becomes_three_channels(dsb_folder: Path, mode: str) -> None:
    grey = picture()[..., 0]
    path = dsb_folder / "stage1_train" / "aa" / "images" / "aa.png"
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(grey).convert(mode).save(path)
    image = read_dsb2018(dsb_folder)[0].image
    assert image.shape == (24, 32, 3) and image.dtype == np.uint8
    expected = np.asarray(Image.fromarray(grey).convert("1").convert("L")) if mode == "1" else grey
    np.testing.assert_array_equal(image, np.repeat(expected[..., None], 3, axis=2))


def test_masks_that_overlap_are_refused_by_name(dsb_folder: Path) -> None:
    Image.fromarray(((squares() == 2) | (squares() == 1)).astype(np.uint8) * 255).save(
        mask_file(dsb_folder, 2)
    )
    with pytest.raises(DataError, match=r"m2\.png: 36 pixels lie in m1\.png too"):
        read_dsb2018(dsb_folder)


def test_a_mask_of_another_size_is_refused_by_name(dsb_folder: Path) -> None:
    Image.fromarray((squares().T == 3).astype(np.uint8) * 255).save(mask_file(dsb_folder, 3))
    with pytest.raises(DataError, match=r"m3\.png: 24 x 32 pixels, but .*aa\.png has 32 x 24; width and"):
        read_dsb2018(dsb_folder)


def test_empty_missing_and_damaged_masks_are_refused_by_name(dsb_folder: Path) -> None:
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(mask_file(dsb_folder))
    with pytest.raises(DataError, match=r"m1\.png: an empty mask"):
        read_dsb2018(dsb_folder)
    mask_file(dsb_folder).write_bytes(mask_file(dsb_folder, 2).read_bytes()[:40])
    with pytest.raises(DataError, match=r"m1\.png: expected a complete picture"):
        read_dsb2018(dsb_folder)
    for number in (1, 2, 3):
        mask_file(dsb_folder, number).unlink()
    with pytest.raises(DataError, match="aa: no masks; one file per nucleus"):
        read_dsb2018(dsb_folder)


def test_two_images_no_folder_and_a_table_without_columns_are_refused(
    dsb_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no folders stage1_train/<id>/images"):
        read_dsb2018(tmp_path / "nowhere")
    (dsb_folder / "images.csv").write_text("id,appearance\naa,fluo\n")
    with pytest.raises(DataError, match="images.csv: column 'colour_group' is missing"):
        read_dsb2018(dsb_folder)
    (dsb_folder / "images.csv").unlink()
    Image.fromarray(picture()).save(dsb_folder / "stage1_train" / "aa" / "images" / "other.png")
    with pytest.raises(DataError, match="one image is expected, 2 were found"):
        read_dsb2018(dsb_folder)


@pytest.mark.real_data
def test_the_real_subset_has_the_counts_of_its_readme(data_root: Path) -> None:
    tiles = read_dsb2018(data_root / "dsb2018_stage1_subset")
    assert len(tiles) == 112 and sum(len(tile.nucleus_ids) for tile in tiles) == 4068
    kinds = Counter(tile.appearance for tile in tiles)
    assert kinds["fluo"] == 22 and kinds["stain_white"] + kinds["stain_purple"] == 90
    groups = Counter(tile.group for tile in tiles if tile.appearance != "fluo")
    assert groups == {"s03": 64, "s00": 22, "s02": 4}
    fluorescence = [tile for tile in tiles if tile.appearance == "fluo"]
    assert all((tile.image[..., 0] == tile.image[..., 2]).all() for tile in fluorescence), "grey as RGBA"
    assert len({tile.shape for tile in tiles}) == 5
    assert len({tile.group for tile in fluorescence}) == 22, "no colour group: each by itself"


def test_what_is_incomplete_is_refused_by_name(dsb_folder: Path) -> None:
    shutil.rmtree(dsb_folder / "stage1_train" / "bb" / "images")
    with pytest.raises(DataError, match="bb: no folder 'images'"):
        read_dsb2018(dsb_folder)
    shutil.rmtree(dsb_folder / "stage1_train" / "bb")
    with pytest.raises(DataError, match=r"images\.csv: 'bb' has no folder in stage1_train"):
        read_dsb2018(dsb_folder)
    (dsb_folder / "images.csv").write_text("")
    with pytest.raises(DataError, match=r"images\.csv: expected a table \(EmptyDataError"):
        read_dsb2018(dsb_folder)
