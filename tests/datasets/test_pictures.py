"""Every picture mode becomes the same grey; a damaged file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from mtl.datasets.pictures import picture_files, read_grey, read_mask
from mtl.errors import DataError

RAMP = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


def _saved(path: Path, picture: Image.Image, **options) -> np.ndarray:
    picture.save(path, **options)
    return read_grey(path)


def test_grey_rgb_and_palette_give_the_same_values(tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP)
    palette = Image.fromarray(RAMP)
    palette = palette.convert("P")
    for name, picture in {"l.png": grey, "rgb.png": grey.convert("RGB"), "p.png": palette}.items():
        values = _saved(tmp_path / name, picture)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, RAMP)


def test_transparency_is_laid_over_black(tmp_path: Path) -> None:
    alpha = np.where(np.arange(6) < 3, 255, 0).astype(np.uint8) * np.ones((4, 1), np.uint8)
    layers = np.dstack([RAMP, RAMP, RAMP, alpha])
    values = _saved(tmp_path / "rgba.png", Image.fromarray(layers))
    np.testing.assert_array_equal(values[:, :3], RAMP[:, :3])
    np.testing.assert_array_equal(values[:, 3:], 0)


def test_a_transparent_palette_entry_is_black(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    picture.putpalette([200, 200, 200, 90, 90, 90])
    values = _saved(tmp_path / "p.png", picture, transparency=0)
    np.testing.assert_array_equal(values, [[0, 90], [90, 0]])


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    deep = (RAMP.astype(np.uint16) * 200) + 7
    np.testing.assert_array_equal(_saved(tmp_path / "deep.png", Image.fromarray(deep)), deep)


def test_colour_uses_the_601_luma(tmp_path: Path) -> None:
    colour = np.zeros((2, 3, 3), np.uint8)
    colour[:, 0, 0] = colour[:, 1, 1] = colour[:, 2, 2] = 200
    values = _saved(tmp_path / "c.png", Image.fromarray(colour))
    np.testing.assert_allclose(values[0], np.array([0.299, 0.587, 0.114]) * 200, atol=0.6)


def test_the_content_decides_not_the_extension(tmp_path: Path) -> None:
    np.testing.assert_array_equal(_saved(tmp_path / "png.jpg", Image.fromarray(RAMP), format="PNG"), RAMP)


def test_masks_are_cut_at_127(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 100, 127, 128, 255]], np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), [[0, 0, 0, 1, 1]])


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DataError, match=r"half\.jpg.*complete picture"):
        read_grey(path)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png"):
        read_grey(tmp_path / "text.png")


def test_a_tiff_of_several_pages_is_refused_but_not_one_with_a_preview(tmp_path: Path) -> None:
    page, preview = Image.fromarray(RAMP), Image.fromarray(RAMP).resize((2, 2))
    page.save(tmp_path / "planes.tif", save_all=True, append_images=[page, page])
    with pytest.raises(DataError, match=r"planes\.tif: a TIFF of 3 pages of one size"):
        read_grey(tmp_path / "planes.tif")
    page.save(tmp_path / "previewed.tif", save_all=True, append_images=[preview])
    np.testing.assert_array_equal(read_grey(tmp_path / "previewed.tif"), RAMP)


def test_the_switch_that_hides_damage_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="LOAD_TRUNCATED_IMAGES"):
        read_grey(tmp_path / "a.png")


def test_litter_is_ignored_and_names_may_have_blanks_and_capitals(tmp_path: Path) -> None:
    for name in ("b 1.JPG", "a.jpeg", ".hidden.jpg", "._a.jpeg", "Thumbs.db", "desktop.ini", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in picture_files(tmp_path)] == ["a.jpeg", "b 1.JPG"]
