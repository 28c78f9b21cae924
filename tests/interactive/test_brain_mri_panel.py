"""The brain MRI panel without a browser: slices chosen and uploaded, what is shown of them, bad files."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.errors import DataError
from mtl.inference.brain_mri.predictor import MultiTaskPredictor
from mtl.inference.brain_mri.response import DISCLAIMER
from mtl.inference.brain_mri.uncertainty import UncertaintyOptions
from mtl.interactive.brain_mri_panel import BrainMriPanel
from mtl.model_folder import save_model
from mtl.models.brain_mri import MultiTaskModel

PERFORMANCE = [{"source": "scanner <a>", "metric": "ROC-AUC", "value": "0.91 [0.85, 0.96]"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    rule = BrainNormalisation().to_dict()
    model = MultiTaskModel(base_filters=4, depth=2, image_size=32, normalisation=rule)
    save_model(model.eval(), best := tmp_path_factory.mktemp("model") / "best", "a network without training")
    return best


def head(size: int = 48, seed: int = 0) -> np.ndarray:
    """A disc of tissue."""
    y, x = np.mgrid[:size, :size] - size / 2
    noise = np.random.default_rng(seed).random((size, size)).astype(np.float32)
    return np.where(y**2 + x**2 < (0.4 * size) ** 2, 100 + 40 * noise, 0).astype(np.float32)


def panel_of(folder: Path, threshold: float) -> BrainMriPanel:
    predictor = MultiTaskPredictor(folder, classification_threshold=threshold, device="cpu")
    cases = {"first": head(), "second": head(seed=1)}
    return BrainMriPanel(predictor, cases, PERFORMANCE, UncertaintyOptions(dropout_samples=3))


@pytest.fixture
def panel(folder: Path) -> BrainMriPanel:
    return panel_of(folder, threshold=0.001)


def png(array: np.ndarray, kind: str = "png") -> bytes:
    target = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(target, format=kind)
    return target.getvalue()


def test_the_first_case_is_shown_with_pictures_figures_and_what_they_are_worth(panel: BrainMriPanel) -> None:
    shown = panel.shown.value
    assert shown.count("<img") == 3 and shown.count('alt="') == 3
    for text in (
        "first",
        "Tumour probability",
        "Predicted outline",
        "Grad-CAM for tumour",
        "dropout",
        'aria-live="polite"',
    ):
        assert text in shown
    facts = panel.children[2].value
    assert "scanner &lt;a&gt;" in facts and "0.91 [0.85, 0.96]" in facts and DISCLAIMER in facts
    assert panel.prediction.uncertainty.samples == 3


def test_choosing_another_slice_predicts_it(panel: BrainMriPanel) -> None:
    before = panel.prediction.tumor_prob
    panel.choice.value = "second"
    expected = panel.predictor.predict_full(head(seed=1))
    assert panel.prediction.tumor_prob == pytest.approx(expected.tumor_prob) != before
    assert panel.said().startswith("second: ")


def test_below_the_threshold_there_is_no_outline_but_a_grad_cam(folder: Path) -> None:
    panel = panel_of(folder, threshold=0.999)
    assert not panel.prediction.mask_available and panel.prediction.grad_cam is not None
    assert (
        "No outline below the threshold" in panel.shown.value and "Grad-CAM for tumour" in panel.shown.value
    )
    assert "nothing: below the threshold" in panel.shown.value and "no tumour" in panel.said()


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_a_picture_is_uploaded(panel: BrainMriPanel, kind: str) -> None:
    content = memoryview(png(head(), kind))
    file = {"name": f"mine.{kind}", "type": "", "size": len(content), "content": content}
    file["last_modified"] = datetime.now(UTC)
    panel.upload.value = (file,)
    assert panel.last_error is None and f"mine.{kind}" in panel.shown.value
    assert panel.prediction.image.shape == (48, 48) and panel.plane.layout.display == "none"


def test_a_volume_is_uploaded_and_shown_plane_by_plane(panel: BrainMriPanel, tmp_path: Path) -> None:
    volume = np.stack([np.zeros((48, 48)), head(), 2 * head(seed=1)], axis=-1)
    volume[:10, :, 1] = 0
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "v.nii.gz")
    panel.open_file("v.nii.gz", (tmp_path / "v.nii.gz").read_bytes())
    assert panel.last_error is None and panel.plane.max == 2 and panel.plane.value == 2
    assert "v.nii.gz, plane 2" in panel.shown.value and panel.plane.layout.display is None
    panel.plane.value = 1
    assert "v.nii.gz, plane 1" in panel.shown.value
    panel.plane.value = 0  # an empty plane
    assert isinstance(panel.last_error, DataError) and 'role="alert"' in panel.shown.value
    panel.plane.value = 1
    assert panel.last_error is None
    panel.choice.value = "second"
    assert panel.plane.layout.display == "none"


def test_bad_files_get_a_clear_message_and_the_panel_goes_on(panel: BrainMriPanel) -> None:
    target = io.BytesIO()
    planes = [Image.fromarray(head(seed=n).astype(np.uint8)) for n in range(3)]
    planes[0].save(target, format="tiff", save_all=True, append_images=planes[1:])
    pages = target.getvalue()
    for name, content in (
        ("notes.txt", b"hello"),
        ("cut.png", png(head())[:60]),
        ("empty.png", b""),
        ("cut.nii.gz", b"\x1f\x8b\x08\x00nothing"),
        ("<b>.png", b"x"),
        ("no\0name.png", b"x"),
        ("..", b"x"),
        ("pages.tif", pages),
        ("../../up.png", b"x"),
    ):
        panel.open_file(name, content)
        assert isinstance(panel.last_error, DataError), name
        assert panel.prediction is None and 'role="alert"' in panel.shown.value
        assert "/tmp" not in panel.shown.value and "<b>.png" not in panel.shown.value
    panel.open_file("pages.tif", pages)
    assert "pages.tif: a TIFF of 3 pages of one size" in panel.shown.value
    panel.open_file("x" * 300 + ".png", png(head()))
    assert panel.last_error is None
    panel.open_file("good.png", png(head()))
    assert panel.last_error is None and panel.prediction is not None


def test_a_report_gets_a_still(panel: BrainMriPanel) -> None:
    data, metadata = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data and data["image/png"]
    assert metadata["image/png"]["alt"].startswith("first: ")
    assert all(t in metadata["image/png"]["alt"] for t in ("Slice, Predicted outline", "Grad-CAM for tumour"))


def test_without_measured_figures_it_says_so(folder: Path) -> None:
    panel = BrainMriPanel(MultiTaskPredictor(folder, device="cpu"), {})
    assert "was not measured" in panel.children[2].value and panel.said() == "No slice is chosen."
