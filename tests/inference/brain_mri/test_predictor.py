"""The five methods against the plain network, counted encoder passes, thresholds, inputs, errors."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.datasets.brain_mri import BrainNormalisation, MultiSourceDataset, collate
from mtl.datasets.phantoms.brain_mri import BrainPhantom
from mtl.errors import CheckpointError, DataError, ParameterError
from mtl.files import read_json, write_json
from mtl.inference.brain_mri import Calibration, MultiTaskPredictor
from mtl.inference.brain_mri.uncertainty import UncertaintyOptions
from mtl.model_folder import load_model
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri.predict import predict_cases

CLOSE = {"rtol": 0, "atol": 1e-5}
AUGMENTED = UncertaintyOptions(5, test_time_augmentation=True)


@pytest.fixture(scope="module")
def plain(checkpoint) -> MultiTaskModel:
    """The network as training left it: batch norms in place, default layout."""
    return load_model(MultiTaskModel, checkpoint)


def reference(model: MultiTaskModel, image: np.ndarray) -> dict[str, np.ndarray]:
    """One image through the plain network."""
    square, _ = BrainNormalisation().prepare(image.astype(np.float32), model.image_size)
    with torch.no_grad():
        output = model(torch.from_numpy(square)[None, None])
    prob = output["cls"].softmax(1)[0, 1].item()
    return {"cls": output["cls"][0].numpy(), "seg": output["seg"][0, 0].numpy(), "prob": prob}


def test_the_five_methods_agree_with_the_plain_network(predictor, plain, images):
    together = predictor.predict_batch(images)
    conditional = predictor.predict_batch(images, conditional=True)
    assert {one.predicted_class for one in together} == {0, 1}
    for image, *found in zip(images, together, conditional, strict=True):
        expected = reference(plain, image)
        found += [
            predictor.predict_single(image),
            predictor.predict_conditional(image),
            predictor.predict_with_gradcam(image),
            predictor.predict_full(image),
        ]
        for one in found:
            assert one.tumor_prob == pytest.approx(expected["prob"], abs=1e-5)
            np.testing.assert_allclose(one.cls_logits, expected["cls"], **CLOSE)
            if one.seg_logits is not None:
                np.testing.assert_allclose(one.seg_logits, expected["seg"], **CLOSE)
        assert sum(one.seg_logits is None for one in found) == (2 if expected["prob"] < 0.3 else 0)
        np.testing.assert_allclose(found[-1].grad_cam, found[-2].grad_cam, **CLOSE)


def test_one_image_at_a_time_or_sixteen(checkpoint, images):
    wanted = {"grad_cam": True, "uncertainty": AUGMENTED}
    one, sixteen = (
        MultiTaskPredictor(checkpoint, batch_size=size).predict_batch(images, **wanted) for size in (1, 16)
    )
    for a, b in zip(one, sixteen, strict=True):
        for name in ("cls_logits", "seg_logits", "grad_cam"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), **CLOSE)
        assert a.uncertainty.predictive_entropy == pytest.approx(b.uncertainty.predictive_entropy, abs=1e-5)
        assert a.uncertainty.mutual_information == pytest.approx(b.uncertainty.mutual_information, abs=1e-5)


@pytest.mark.parametrize("fold_batch_norm", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_the_fast_path_changes_nothing(checkpoint, plain, images, fold_batch_norm, channels_last):
    fast = MultiTaskPredictor(checkpoint, fold_batch_norm=fold_batch_norm, channels_last=channels_last)
    norms = [m for m in fast.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == (0 if fold_batch_norm else 10)
    for image, found in zip(images[:4], fast.predict_batch(images[:4]), strict=True):
        np.testing.assert_allclose(found.seg_logits, reference(plain, image)["seg"], **CLOSE)


def test_bfloat16_is_close(checkpoint, plain, images):
    fast = MultiTaskPredictor(checkpoint, precision="bfloat16")
    for image, found in zip(images, fast.predict_batch(images), strict=True):
        expected = 1 / (1 + np.exp(-reference(plain, image)["seg"]))
        assert np.abs(found.mask_probability - expected).mean() < 0.02
        assert found.seg_logits.dtype == np.float32


def test_the_predictor_agrees_with_the_evaluation_of_the_study(predictor, plain):
    source = BrainPhantom(n_patients=6, slices_per_patient=2, size=64, seed=3)
    dataset = MultiSourceDataset([source], plain.image_size, BrainNormalisation())
    ids = list(dataset.table["id"])
    samples = dataset.subset(ids)
    batch = collate([samples[i] for i in range(len(samples))])
    options = {"classifies": True, "min_tumor_pixels": 10, "device": torch.device("cpu")}
    table = predict_cases(plain, [batch], keep_masks=True, **options).set_index("id")
    natives = {item.id: source.read(item)[0] for item in source.slices}
    for name in ids:
        found = predictor.predict_single(natives[name])
        assert found.tumor_prob == pytest.approx(table.loc[name, "tumor_prob"], abs=1e-5)
        np.testing.assert_allclose(found.mask_probability, table.loc[name, "mask"], atol=1e-3)  # float16
        assert found.prepared_mask.sum() == table.loc[name, "predicted_pixels"]


# ---------------------------------------------------------------- passes
def test_one_encoder_pass_per_image_whatever_is_asked(predictor, passes, images):
    calls = [
        lambda: predictor.predict_single(images[0]),
        lambda: predictor.predict_conditional(images[0]),
        lambda: predictor.predict_with_gradcam(images[0]),
        lambda: predictor.predict_full(images[0]),
        lambda: predictor.predict_full(images[0], UncertaintyOptions(100)),
        lambda: predictor.predict_batch(images, grad_cam=True, uncertainty=UncertaintyOptions()),
    ]
    for call, expected in zip(calls, [[1], [1], [1], [1], [1], [16, 4]], strict=True):
        passes["encoder"].batches.clear()
        call()
        assert passes["encoder"].batches == expected
    passes["encoder"].batches.clear()
    predictor.predict_full(images[0], AUGMENTED)
    assert passes["encoder"].batches == [1, 1, 1, 1]


def test_the_decoder_runs_only_for_the_images_at_or_above_the_threshold(predictor, passes, images):
    probabilities = np.array([one.tumor_prob for one in predictor.predict_batch(images, do_seg=False)])
    assert passes["decoder"].batches == []
    predictor.batch_size = len(images)
    predictor.classification_threshold = float(np.sort(probabilities)[8])
    found = predictor.predict_batch(images, conditional=True)
    expected = probabilities >= predictor.classification_threshold
    assert expected.sum() == 12 and passes["decoder"].batches == [12]
    assert [one.mask is not None for one in found] == list(expected)
    assert [one.mask_available for one in found] == list(expected)
    whole = predictor.predict_batch(images)
    for one, other, decoded in zip(found, whole, expected, strict=True):
        if decoded:
            np.testing.assert_allclose(one.seg_logits, other.seg_logits, **CLOSE)
    predictor.classification_threshold, passes["decoder"].batches = 1.0, []
    assert all(one.mask is None for one in predictor.predict_batch(images, conditional=True))
    assert passes["decoder"].batches == []


def test_only_the_tasks_that_are_asked_for(predictor, passes, images):
    alone = predictor.predict_single(images[0], do_cls=False)
    assert passes["cls_head"].batches == [] and passes["decoder"].batches == [1]
    assert alone.tumor_prob is None and alone.cls_logits is None and alone.mask_available
    other = predictor.predict_single(images[0], do_seg=False)
    assert passes["cls_head"].batches == [1] and passes["decoder"].batches == [1]
    assert other.mask is None and other.seg_logits is None and not other.mask_available
    whole = predictor.predict_single(images[0])
    assert whole.tumor_prob == pytest.approx(other.tumor_prob, abs=1e-6)
    np.testing.assert_allclose(whole.seg_logits, alone.seg_logits, **CLOSE)
    assert predictor.predict_batch([]) == []
    with pytest.raises(ParameterError, match="do_seg and do_cls are both False"):
        predictor.predict_single(images[0], do_seg=False, do_cls=False)
    for method in (predictor.predict_conditional, predictor.predict_with_gradcam):
        with pytest.raises(ParameterError, match="do_cls=False, but .* needs the classification"):
            method(images[0], do_cls=False)


# ---------------------------------------------------------------- geometry
def test_masks_and_maps_lie_on_the_native_slice(predictor, make_head):
    canvas, window = np.zeros((90, 110), np.uint8), (slice(10, 70), slice(55, 105))
    canvas[window] = make_head(3)
    found, alone = predictor.predict_full(canvas), predictor.predict_full(make_head(3))
    assert found.mask.shape == found.grad_cam.shape == canvas.shape
    inside, geometry = np.zeros(canvas.shape, bool), found.geometry
    rows = slice(geometry.top, geometry.top + geometry.height)
    inside[rows, geometry.left : geometry.left + geometry.width] = True
    assert not found.mask[~inside].any() and found.grad_cam[~inside].max() == 0
    both = (found.mask[window] & alone.mask).sum()
    assert 2 * both > 0.8 * (found.mask.sum() + alone.mask.sum()) > 0
    spot = canvas > 150  # brighter than any texture
    assert (found.mask & spot).sum() > 0.5 * spot.sum() > 0
    assert np.corrcoef(found.grad_cam[window].ravel(), alone.grad_cam.ravel())[0, 1] > 0.9
    assert found.tumor_area_pixels == found.mask.sum()


# ---------------------------------------------------------------- inputs
def test_a_slice_is_the_same_as_array_picture_and_file(predictor, tmp_path, make_head):
    grey = make_head(5)
    colour = np.stack([grey, grey, grey], axis=2)
    Image.fromarray(grey).save(tmp_path / "a b.png")
    shutil.copy(tmp_path / "a b.png", tmp_path / "disguised.jpg")
    Image.fromarray(colour).save(tmp_path / "colour.PNG")
    np.savez(tmp_path / "slice.npz", image=grey[None].astype(np.float32))
    flair = np.stack([grey[::-1], grey, grey[:, ::-1]], axis=2)
    Image.fromarray(flair).save(tmp_path / "TCGA_CS_1_19990101_7.tif")
    Image.fromarray(grey).save(tmp_path / "grey.tif")
    given = [
        grey, grey.astype(np.float64), colour, colour.astype(np.float32), Image.fromarray(grey),
        Image.fromarray(colour).convert("RGBA"), str(tmp_path / "a b.png"), *sorted(tmp_path.iterdir()),
    ]  # fmt: skip
    for found in predictor.predict_batch(given):
        np.testing.assert_allclose(found.image, grey, atol=1e-4)
        np.testing.assert_allclose(found.seg_logits, predictor.predict_single(grey).seg_logits, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("cut.jpg", b"\xff\xd8\xff\xe0 no more", "cut.jpg: expected a complete picture"),
        ("empty.npz", b"", "empty.npz: expected an .npz archive"),
        ("gone.png", None, "gone.png: no such file"),
        ("brain.nii.gz", b"x", "brain.nii.gz: a volume, not a slice; predict_volume takes it"),
        ("notes.txt", b"hello", "notes.txt: expected a complete picture"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(predictor, tmp_path, name, content, expected):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=expected):
        predictor.predict_single(tmp_path / name)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((30, 30)), "constant"),
        (np.full((30, 30), np.nan), "NaN"),
        (np.zeros((4, 30, 30)), r"shape \(4, 30, 30\)"),
        (np.ones((1, 30)), r"shape \(1, 30\)"),
    ],
)
def test_an_array_that_is_no_slice_is_refused(predictor, image, expected):
    with pytest.raises(DataError, match=expected):
        predictor.predict_single(image)


def test_a_blank_picture_is_named(predictor, tmp_path):
    Image.fromarray(np.full((40, 40), 7, np.uint8)).save(tmp_path / "blank.png")
    with pytest.raises(DataError, match="blank.png: .*constant"):
        predictor.predict_single(tmp_path / "blank.png")


# ---------------------------------------------------------------- checkpoint and thresholds
@pytest.fixture
def copied(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "best")


def test_temperature_and_threshold_come_with_the_checkpoint_unless_given(copied, images):
    before = MultiTaskPredictor(copied)
    assert (before.temperature, before.classification_threshold) == (1.0, 0.3)
    Calibration(temperature=2.5, classification_threshold=0.45, n=9, split_hash="abc").save(copied)
    after = MultiTaskPredictor(copied)
    assert (after.temperature, after.classification_threshold) == (2.5, 0.45)
    for image in images[:3]:
        found = after.predict_full(image)
        np.testing.assert_allclose(found.cls_logits, before.predict_single(image).cls_logits, atol=1e-6)
        gap = float(found.cls_logits[1] - found.cls_logits[0])
        assert found.tumor_prob == pytest.approx(1 / (1 + np.exp(-gap / 2.5)), abs=1e-6)
        assert found.predicted_class == int(found.tumor_prob >= 0.45)
    given = MultiTaskPredictor(copied, temperature=1.5, classification_threshold=0.9)
    assert (given.temperature, given.classification_threshold) == (1.5, 0.9)


def test_the_mask_threshold_is_used_on_both_masks(checkpoint, images):
    low, high = (
        MultiTaskPredictor(checkpoint, mask_threshold=t).predict_single(images[1]) for t in (0.2, 0.8)
    )
    np.testing.assert_array_equal(low.prepared_mask, low.mask_probability > 0.2)
    np.testing.assert_array_equal(high.prepared_mask, high.mask_probability > 0.8)
    assert low.mask.sum() > high.mask.sum() and not (high.mask & ~low.mask).any()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"mask_threshold": 1.5}, "mask_threshold=1.5"),
        ({"classification_threshold": -1}, "classification_threshold=-1"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"precision": "float8"}, "precision='float8' must be one of float32, bfloat16"),
        ({"device": "abacus"}, "device='abacus' cannot be used here"),
    ],
)
def test_an_argument_out_of_range_is_named(checkpoint, options, expected):
    with pytest.raises(ParameterError, match=expected):
        MultiTaskPredictor(checkpoint, **options)


def test_a_folder_that_is_no_checkpoint_is_refused(copied, tmp_path):
    with pytest.raises(CheckpointError, match="gone: not a model folder"):
        MultiTaskPredictor(tmp_path / "gone")
    (copied / "calibration.json").write_text('{"temperature": -1}')
    with pytest.raises(CheckpointError, match="calibration.json: temperature and classification_threshold"):
        MultiTaskPredictor(copied)
    (copied / "calibration.json").unlink()
    write_json(copied / "config.json", read_json(copied / "config.json") | {"normalisation": None})
    with pytest.raises(CheckpointError, match="config.json: normalisation=None"):
        MultiTaskPredictor(copied)
