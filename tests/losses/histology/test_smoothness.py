"""Total variation, local disagreement and the soft closing against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import grey_closing, uniform_filter

from mtl.losses.histology.smoothness import local_disagreement, soft_closing_gap, total_variation

from .made_batches import random_tensor


@pytest.fixture
def p() -> torch.Tensor:
    return random_tensor(0, 2, 1, 8, 9).sigmoid()


def test_total_variation_is_the_mean_step_along_both_axes(p: torch.Tensor) -> None:
    planes = p[:, 0].numpy()
    expected = np.abs(np.diff(planes, axis=2)).mean() + np.abs(np.diff(planes, axis=1)).mean()
    assert float(total_variation(p)) == pytest.approx(expected, rel=1e-6)
    assert (
        float(total_variation(torch.rand(1, 1, 1, 5))) > 0 == float(total_variation(torch.rand(1, 1, 1, 1)))
    )


def test_disagreement_uses_the_mean_of_nine_with_reflected_borders(p: torch.Tensor) -> None:
    expected = []
    for plane in p[:, 0].numpy():
        d = uniform_filter(plane, 3, mode="mirror")
        expected.append(plane * (1 - d) + (1 - plane) * d)
    assert float(local_disagreement(p)) == pytest.approx(np.mean(expected), rel=1e-5)
    assert float(local_disagreement(torch.ones(1, 1, 5, 5))) == pytest.approx(0, abs=1e-6)
    line = torch.tensor([0.0, 1.0, 1.0]).view(1, 1, 1, 3)  # its means of three: 1/3, 2/3, 1
    assert float(local_disagreement(line)) == pytest.approx((1 / 3 + 1 / 3 + 0) / 3, rel=1e-5)


def test_a_small_hole_costs_more_than_none() -> None:
    whole = torch.zeros(1, 1, 12, 12)
    whole[..., 3:9, 3:9] = 1
    holed = whole.clone()
    holed[..., 5, 5] = 0
    for loss in (local_disagreement, soft_closing_gap):
        assert loss(holed) > loss(whole)
    assert float(soft_closing_gap(whole)) == 0


def test_the_closing_is_scipys(p: torch.Tensor) -> None:
    expected = [grey_closing(plane, size=(3, 3), mode="nearest") - plane for plane in p[:, 0].numpy()]
    assert float(soft_closing_gap(p)) == pytest.approx(np.abs(expected).mean(), rel=1e-5)
