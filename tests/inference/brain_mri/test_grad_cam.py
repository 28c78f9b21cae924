"""The closed form against automatic differentiation and against MONAI's GradCAM."""

from __future__ import annotations

import pytest
import torch
from monai.visualize import GradCAM

from mtl.inference.brain_mri.grad_cam import bottleneck_grad_cam, upsampled
from mtl.models.brain_mri import MultiTaskModel


class _Classifier(torch.nn.Module):
    """MONAI explains modules that return one tensor."""

    def __init__(self, model: MultiTaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.model(image, do_seg=False)["cls"]


@pytest.fixture
def model() -> MultiTaskModel:
    torch.manual_seed(3)
    return MultiTaskModel(base_filters=4, depth=2, image_size=32).eval()


@pytest.mark.parametrize("class_index", [0, 1])
def test_equals_monai_and_automatic_differentiation(model: MultiTaskModel, class_index: int) -> None:
    image = torch.randn(3, 1, 32, 32)
    bottleneck = model(image, do_seg=False)["features"][-1].detach().requires_grad_()
    found = bottleneck_grad_cam(model.cls_head, bottleneck, class_index)

    model.cls_head(bottleneck)[:, class_index].sum().backward()
    weights = bottleneck.grad.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(found, (weights * bottleneck).sum(1).relu().detach())
    assert found.max() > 0

    explain = GradCAM(_Classifier(model), "model.encoder.levels.2")
    maps = [explain.compute_map(image[i : i + 1], class_idx=class_index)[:, 0] for i in range(3)]
    torch.testing.assert_close(found, torch.cat(maps).detach())


def test_upsampled_maps_keep_place_and_sign() -> None:
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 3] = 1
    large = upsampled(maps, (16, 16))
    assert large.shape == (1, 16, 16) and large.min() >= 0
    assert divmod(int(large[0].argmax()), 16)[0] < 4 and divmod(int(large[0].argmax()), 16)[1] >= 12
