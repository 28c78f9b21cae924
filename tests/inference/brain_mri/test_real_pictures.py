"""The real pictures: disguised PNGs, palettes, blanks in names, any size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mtl.datasets.brain_mri import KaggleTumor, LggKaggle3m
from mtl.inference.brain_mri import predict_folder

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_a_folder_of_real_pictures(predictor, data_root, tmp_path):
    folder = data_root / "brain_mri_253" / "brain_tumor_dataset"
    result = predict_folder(predictor, folder, tmp_path / "out")
    pictures = sorted(path for path in folder.glob("[yn]*/*"))
    assert sorted(result.table["file"]) == [path.relative_to(folder).as_posix() for path in pictures]
    assert len(result.failed) == 0 and result.table["tumor_probability"].between(0, 1).all()
    disguised = [p for p in pictures if p.suffix.lower() == ".jpg" and Image.open(p).format == "PNG"]
    assert len(disguised) >= 3 and any(" " in path.name for path in pictures)
    for row in result.table[result.table["mask"].notna()].itertuples():
        with Image.open(folder / row.file) as picture, Image.open(result.out / row.mask) as mask:
            assert mask.size == picture.size


def test_the_methods_agree_on_real_slices_and_read_them_as_training_does(predictor, data_root):
    kaggle = KaggleTumor(data_root / "brain_mri_253")
    lgg = LggKaggle3m(data_root / "lgg_kaggle_3m")
    chosen = [
        (source, item) for source in (kaggle, lgg) for item in source.slices[:: len(source.slices) // 12]
    ]
    together = predictor.predict_batch([source.path_of(item) for source, item in chosen])
    for (source, item), expected in zip(chosen, together, strict=True):
        path = source.path_of(item)
        np.testing.assert_array_equal(expected.image, source.read(item)[0])
        for found in (
            predictor.predict_single(path),
            predictor.predict_conditional(path),
            predictor.predict_with_gradcam(path),
            predictor.predict_full(path),
        ):
            assert found.tumor_prob == pytest.approx(expected.tumor_prob, abs=1e-5)
            if found.seg_logits is not None:
                np.testing.assert_allclose(found.seg_logits, expected.seg_logits, atol=1e-5, rtol=0)
