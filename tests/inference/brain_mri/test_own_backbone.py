"""The predictor on a network with another backbone: same answers as that network, plainly run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.errors import CheckpointError
from mtl.inference.brain_mri import MultiTaskPredictor
from mtl.model_folder import save_model
from mtl.models.backbones import ResNetModel


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    rule = BrainNormalisation().to_dict()
    model = ResNetModel(base_filters=4, depth=2, image_size=32, normalisation=rule).train()
    model(torch.randn(16, 1, 32, 32))  # statistics that batch norms can be folded with
    save_model(model, tmp_path / "best", "# Card\n")
    return tmp_path / "best"


def test_it_answers_as_the_plain_network_does(folder):
    predictor = MultiTaskPredictor(folder, model_class=ResNetModel)
    rows, columns = np.indices((60, 50))
    grey = np.where(np.hypot(rows - 30, columns - 25) < 20, 100 + rows + 2 * columns, 0).astype(np.uint8)
    found = predictor.predict_with_gradcam(grey)
    square = torch.from_numpy(predictor.prepare(grey).square)[None, None]
    with torch.no_grad():
        plain = ResNetModel.from_pretrained(folder).eval()(square)
    np.testing.assert_allclose(found.seg_logits, plain["seg"][0, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(found.cls_logits, plain["cls"][0].numpy(), atol=1e-5)
    assert found.grad_cam.shape == grey.shape


def test_without_its_class_the_folder_says_what_it_holds(folder):
    with pytest.raises(CheckpointError, match="holds a mtl.models.backbones.ResNetModel"):
        MultiTaskPredictor(folder)
