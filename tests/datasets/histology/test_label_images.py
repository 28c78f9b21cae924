"""Images with a label image each, as other sets are exported; and the one door for all layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mtl.datasets.histology import open_tiles, read_label_images
from mtl.errors import DataError

from .conftest import picture, squares


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``a`` with a 16-bit PNG of labels, ``b`` with a TIFF of int32."""
    (tmp_path / "Images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.fromarray(picture()).save(tmp_path / "Images" / "a.png")
    tifffile.imwrite(tmp_path / "Images" / "b.tif", picture(seed=1))
    Image.fromarray(squares().astype(np.uint16)).save(tmp_path / "labels" / "a.png")
    tifffile.imwrite(tmp_path / "labels" / "b.tif", squares() * 1000)
    return tmp_path


def test_images_and_labels_are_paired_by_name(folder: Path) -> None:
    first, second = read_label_images(folder, "monuseg")
    assert (first.id, first.group) == ("monuseg/a", "monuseg/a")
    np.testing.assert_array_equal(first.instances, squares())
    np.testing.assert_array_equal(second.image, picture(seed=1))
    assert second.nucleus_ids.tolist() == [1000, 2000, 3000]


def test_a_table_names_groups_and_appearances(folder: Path) -> None:
    (folder / "groups.csv").write_text("name,group,appearance\na,p1,breast\nb,p1,colon\n")
    first, second = read_label_images(folder, "own")
    assert first.group == second.group == "own/p1" and second.appearance == "colon"
    (folder / "groups.csv").write_text("name,group\na,p1\n")
    with pytest.raises(DataError, match="no row for the image 'b'"):
        read_label_images(folder)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (squares((32, 24)), "24 x 32 pixels, but b.tif has 32 x 24"),
        (squares().astype(np.float32), "float32 labels; whole numbers"),
        (np.dstack([squares()] * 3), "one channel of instance ids"),
        ((squares() > 0).astype(np.uint8) * 255, "a mask of all nuclei together"),
        (squares() - 1, "ids -1 to 2"),
        ((squares() > 0).astype(np.uint8), "a mask of all nuclei together"),
    ],
)
def test_labels_that_are_no_instances_are_refused(folder: Path, labels: np.ndarray, message: str) -> None:
    tifffile.imwrite(folder / "labels" / "b.tif", labels)
    with pytest.raises(DataError, match=message):
        read_label_images(folder)


def test_a_missing_partner_is_named_on_either_side(folder: Path) -> None:
    (folder / "labels" / "c.png").write_bytes((folder / "labels" / "a.png").read_bytes())
    with pytest.raises(DataError, match=r"c\.png: no image of this name"):
        read_label_images(folder)
    (folder / "labels" / "c.png").unlink()
    (folder / "labels" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png: no label image of this name"):
        read_label_images(folder)


def test_a_set_without_any_nucleus_is_refused(folder: Path) -> None:
    for name in ("a.png", "b.tif"):
        (folder / "labels" / name).unlink()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(folder / "labels" / name, np.zeros((24, 32), np.uint16))
    with pytest.raises(DataError, match="none of the 2 label images holds a nucleus"):
        read_label_images(folder)


def test_the_door_knows_each_layout(folder: Path, dsb_folder: Path, tmp_path: Path) -> None:
    assert open_tiles(dsb_folder)[0].source == "dsb2018"
    for path in (dsb_folder / "stage1_train").rglob("*.png"):
        path.unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="DSB 2018.*CPM-15.*images/ and labels/"):
        open_tiles(tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        open_tiles(tmp_path / "nowhere")


def test_the_door_reads_label_images(folder: Path) -> None:
    assert len(open_tiles(folder)) == 2


def test_one_nucleus_alone_is_no_mask(folder: Path) -> None:
    tifffile.imwrite(folder / "labels" / "b.tif", (squares() == 1).astype(np.uint8))
    assert read_label_images(folder)[1].nucleus_ids.tolist() == [1]


@pytest.mark.filterwarnings("ignore")  # of tifffile, about the damage
def test_damaged_label_images_and_tables_are_named(folder: Path) -> None:
    path = folder / "labels" / "b.tif"
    tifffile.imwrite(path, squares(), compression="zlib")
    data = path.read_bytes()
    for content in (b"II*\0", data[: len(data) // 2], data[:60] + bytes(30) + data[90:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"b\.tif: expected a whole label image"):
            read_label_images(folder)
    path.write_bytes(data)
    (folder / "groups.csv").write_bytes("name,group\na,1\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"groups\.csv: expected a table"):
        read_label_images(folder)
