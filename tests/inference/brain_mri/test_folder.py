"""A folder as people have them: blanks, disguises, litter, damage, volumes."""

from __future__ import annotations

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mtl.errors import DataError
from mtl.inference.brain_mri import predict_folder
from mtl.inference.brain_mri.folder import COLUMNS

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


@pytest.fixture
def folder(tmp_path, make_head):
    root = tmp_path / "scans of today"
    (root / "sub").mkdir(parents=True)
    Image.fromarray(make_head(1)).save(root / "1 no.JPG", "JPEG")
    Image.fromarray(make_head(2)).save(root / "Y92.png")
    Image.fromarray(make_head(3)).save(root / "sub" / "Y92.jpg", "PNG")
    Image.fromarray(make_head(3)).save(root / "sub" / "Y92.png")
    Image.fromarray(make_head(5)).save(root / "case_4.tif")
    Image.fromarray(make_head(5)).save(root / "case_4_mask.tif")
    np.savez(root / "slice.npz", image=make_head(7))
    volume = np.stack([make_head(seed, (54, 48)).T for seed in (1, 3, 5, 7)], axis=2)
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), AFFINE), root / "sub" / "p1.nii.gz")
    (root / "damaged.jpg").write_bytes((root / "1 no.JPG").read_bytes()[:500])
    (root / "broken.nii.gz").write_bytes(b"no volume")
    (root / "notes.txt").write_text("not an image")
    (root / ".hidden.png").write_bytes(b"")
    return root


def test_every_file_has_a_row_and_what_belongs_to_it(predictor, folder, tmp_path):
    told, cases = [], []
    out = tmp_path / "out"
    result = predict_folder(predictor, folder, out, on_start=told.append, on_case=cases.append)
    files = ["1 no.JPG", "Y92.png", "broken.nii.gz", "case_4.tif", "damaged.jpg", "slice.npz",
             "sub/Y92.jpg", "sub/Y92.png", "sub/p1.nii.gz"]  # fmt: skip
    assert list(result.table["file"]) == files == [case.row["file"] for case in cases] and told == [9]
    assert result.left_out == ["notes.txt"]
    assert sorted(result.failed["file"]) == ["broken.nii.gz", "damaged.jpg"]
    assert all(
        name in error for name, error in zip(result.failed["file"], result.failed["error"], strict=True)
    )

    table = pd.read_parquet(out / "predictions.parquet").set_index("file")
    assert list(pd.read_csv(out / "predictions.csv").columns) == list(COLUMNS)
    pd.testing.assert_frame_equal(table.reset_index(), result.table)
    for name in ("1 no.JPG", "Y92.png", "case_4.tif", "slice.npz", "sub/Y92.jpg"):
        alone, row = predictor.predict_full(folder / name), table.loc[name]
        assert row["tumor_probability"] == pytest.approx(alone.tumor_prob, abs=1e-5)
        assert row["predicted_label"] == alone.predicted_label
        assert row["predictive_entropy"] == pytest.approx(alone.uncertainty.predictive_entropy, abs=1e-5)
        assert (out / "overlays" / f"{name}_gradcam.png").is_file()
        assert pd.notna(row["mask"]) == alone.mask_available
        if alone.mask_available:
            mask = np.asarray(Image.open(out / row["mask"]))
            np.testing.assert_array_equal(mask, 255 * alone.mask)
            assert row["tumor_area_pixels"] == alone.mask.sum()
            assert (out / "overlays" / f"{name}_outline.png").is_file()
    assert set(table["predicted_label"].dropna()) == {"tumour", "no tumour"}
    assert table.loc["sub/Y92.jpg", "mask"] != table.loc["sub/Y92.png", "mask"]

    row = table.loc["sub/p1.nii.gz"]
    mask = nibabel.load(out / row["mask"])
    np.testing.assert_array_equal(mask.affine, AFFINE)
    assert row["mask"] == "masks/sub/p1_mask.nii.gz" and mask.shape == (48, 54, 4)
    assert row["tumor_area_pixels"] == np.asarray(mask.dataobj).sum() > 0
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]


def test_slices_go_through_the_network_together_and_what_was_written_is_not_read(
    predictor, passes, folder, tmp_path
):
    out = folder / "results"
    first = predict_folder(predictor, folder, out)
    # two slices before the first volume, four before the second, its four, and the highest of these again
    assert passes["encoder"].batches == [2, 4, 4, 1]
    second = predict_folder(predictor, folder, out)
    assert list(second.table["file"]) == list(first.table["file"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gone", "gone: not a folder"),
        ("empty", "empty: no image in it; expected JPEG"),
        ("a.txt", "not a folder"),
    ],
)
def test_a_folder_without_images_is_refused_and_nothing_is_written(predictor, tmp_path, name, expected):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=expected):
        predict_folder(predictor, tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_named(predictor, folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="output folder .*file/out cannot be written"):
        predict_folder(predictor, folder, tmp_path / "file" / "out")
