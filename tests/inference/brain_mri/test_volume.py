"""Volumes in any orientation: the loader's own slices, and a mask that lies where it belongs."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from mtl.datasets.brain_mri import BratsVolumes
from mtl.errors import DataError
from mtl.inference.brain_mri import predict_volume
from mtl.inference.brain_mri.uncertainty import UncertaintyOptions

AFFINE = np.array([[-1.5, 0, 0, 40], [0, 1.2, 0, -30], [0, 0, 3, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def voxels(make_head) -> np.ndarray:
    """Nine slices (x, y, z), the outer two empty."""
    slices = [make_head(seed, (54, 48)).T for seed in range(9)]
    slices[0] = slices[8] = np.zeros_like(slices[0])
    return np.stack(slices, axis=2).astype(np.int16)


def stored_as(voxels: np.ndarray, codes: str) -> nibabel.Nifti1Image:
    """The same volume (given in LAS) in another voxel order."""
    change = ornt_transform(axcodes2ornt("LAS"), axcodes2ornt(codes))
    turned = nibabel.apply_orientation(voxels, change)
    return nibabel.Nifti1Image(turned, AFFINE @ inv_ornt_aff(change, voxels.shape))


@pytest.mark.parametrize(
    ("codes", "suffix"), [("LAS", ".nii.gz"), ("RPI", ".nii"), ("SAL", ".nii"), ("ASR", ".nii.gz")]
)
def test_the_mask_lies_on_the_input_whatever_its_orientation(predictor, voxels, tmp_path, codes, suffix):
    predictor.classification_threshold = 0.0
    volume = stored_as(voxels, codes)
    nibabel.save(volume, tmp_path / f"p_flair{suffix}")
    found = predict_volume(predictor, tmp_path / f"p_flair{suffix}")
    assert np.isnan(found.tumor_prob[[0, 8]]).all() and np.isfinite(found.tumor_prob[1:8]).all()

    found.save_mask(tmp_path / f"mask{suffix}")
    saved = nibabel.load(tmp_path / f"mask{suffix}")
    assert saved.shape == volume.shape and saved.get_data_dtype() == np.uint8
    np.testing.assert_allclose(saved.affine, volume.affine)
    mask = np.asarray(saved.dataobj)
    assert set(np.unique(mask)) == {0, 1} and found.tumor_voxels == mask.sum()
    back = nibabel.apply_orientation(mask, ornt_transform(axcodes2ornt(codes), axcodes2ornt("RAS")))
    for z in range(1, 8):  # naively: every slice by itself, turned up by hand
        upright = np.rot90(voxels[::-1, :, z].astype(np.float32))
        expected = predictor.predict_single(upright)
        np.testing.assert_array_equal(np.rot90(back[:, :, z]), expected.mask)
        assert found.tumor_prob[z] == pytest.approx(expected.tumor_prob, abs=1e-5)


def test_slices_are_those_that_training_reads(predictor, voxels, tmp_path):
    volume = stored_as(voxels, "PSR")
    (tmp_path / "p").mkdir()
    nibabel.save(volume, tmp_path / "p" / "p_flair.nii.gz")
    nibabel.save(
        nibabel.Nifti1Image(np.zeros_like(volume.dataobj), volume.affine), tmp_path / "p/p_seg.nii.gz"
    )
    source = BratsVolumes(tmp_path, step=1)
    found = predict_volume(predictor, tmp_path / "p" / "p_flair.nii.gz", grad_cam=True)
    assert [item.slice for item in source.slices] == list(np.flatnonzero(np.isfinite(found.tumor_prob)))
    for item in source.slices:
        expected = predictor.predict_single(source.read(item)[0])
        assert found.tumor_prob[item.slice] == pytest.approx(expected.tumor_prob, abs=1e-5)
    assert found.highest_slice == np.nanargmax(found.tumor_prob)
    shown = next(item for item in source.slices if item.slice == found.highest_slice)
    np.testing.assert_array_equal(found.highest.image, source.read(shown)[0])
    assert found.highest.grad_cam is not None and found.highest.uncertainty is None


def test_slices_below_the_threshold_have_no_mask_and_the_highest_has_what_is_asked(
    predictor, passes, voxels, tmp_path
):
    nibabel.save(stored_as(voxels, "LAS"), tmp_path / "a.nii")
    predictor.classification_threshold = 0.0
    every = predict_volume(predictor, tmp_path / "a.nii")
    predictor.classification_threshold = float(np.sort(every.tumor_prob)[3])
    passes["decoder"].batches.clear()
    found = predict_volume(predictor, tmp_path / "a.nii", uncertainty=UncertaintyOptions(4))
    below = ~(found.tumor_prob >= predictor.classification_threshold)
    assert below.sum() == 5 and not found.mask[:, :, below].any()
    np.testing.assert_array_equal(found.mask[:, :, ~below], every.mask[:, :, ~below])
    assert passes["decoder"].batches == [4, 1]
    assert found.highest.uncertainty.samples == 4


def test_the_first_of_four_channels_is_taken(predictor, voxels, tmp_path):
    four = np.stack([voxels, voxels[::-1], voxels[:, ::-1], voxels], axis=3)
    nibabel.save(nibabel.Nifti1Image(four, AFFINE), tmp_path / "four.nii.gz")
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / "one.nii.gz")
    many, one = (predict_volume(predictor, tmp_path / f"{name}.nii.gz") for name in ("four", "one"))
    np.testing.assert_array_equal(many.mask, one.mask)
    many.save_mask(tmp_path / "mask.nii.gz")
    assert nibabel.load(tmp_path / "mask.nii.gz").shape == voxels.shape


def test_qform_and_units_travel_with_the_mask(predictor, voxels, tmp_path):
    volume = nibabel.Nifti1Image(voxels, AFFINE)
    volume.set_qform(AFFINE, code=1)
    volume.set_sform(None, code=0)
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, tmp_path / "q.nii")
    predict_volume(predictor, tmp_path / "q.nii").save_mask(tmp_path / "mask.nii")
    saved = nibabel.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(saved.affine, nibabel.load(tmp_path / "q.nii").affine)
    assert saved.header["qform_code"] == 1 and saved.header.get_xyzt_units()[0] == "mm"


def test_a_volume_that_is_none_is_named(predictor, voxels, tmp_path):
    nan = voxels.astype(np.float32)
    nan[20, 20, 3] = np.nan
    bad = {"nan": nan, "flat": voxels[:, :, 3], "blank": np.zeros_like(voxels)}
    for name, array in bad.items():
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / "cut.nii.gz")
    whole = (tmp_path / "cut.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nii.gz").write_text("hello")
    expected = {
        "nan": "NaN or infinite", "flat": "expected a volume of three axes", "blank": "no slice has 10%",
        "cut": "they cannot be read", "text": "expected a NIfTI volume",
    }  # fmt: skip
    for name, message in expected.items():
        with pytest.raises(DataError, match=f"{name}.nii.gz: .*{message}"):
            predict_volume(predictor, tmp_path / f"{name}.nii.gz")
