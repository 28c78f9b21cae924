"""Maps and reconstruction against loops; the Sobel filter against MONAI's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.losses.histology.regression import hv_loss, sobel

from .made_batches import random_mask, random_tensor


@pytest.mark.parametrize("maps", [1, 2])
def test_the_mean_is_taken_per_sample_and_then_over_those_with_a_nucleus(maps: int) -> None:
    predicted, target = random_tensor(0, 3, maps, 6, 7), random_tensor(1, 3, maps, 6, 7)
    mask = random_mask(2, 3, 6, 7)
    mask[1] = 0
    means = []
    for b in (0, 2):
        inside = mask[b, 0] > 0
        means.append(((predicted[b] - target[b]) ** 2)[:, inside].mean())
    assert float(hv_loss(predicted, target, mask)) == pytest.approx(float(np.mean(means)), rel=1e-6)
    assert float(hv_loss(predicted, target, torch.zeros_like(mask))) == 0


def test_the_gradient_term_compares_each_map_along_its_own_axis() -> None:
    predicted, target, mask = (
        random_tensor(0, 1, 2, 9, 9),
        random_tensor(1, 1, 2, 9, 9),
        random_mask(2, 1, 9, 9),
    )
    inside = mask[0, 0] > 0
    across = (sobel(predicted[:, :1], -1) - sobel(target[:, :1], -1))[0, 0][inside]
    down = (sobel(predicted[:, 1:], -2) - sobel(target[:, 1:], -2))[0, 0][inside]
    expected = hv_loss(predicted, target, mask) + 2.0 * (across.square() + down.square()).mean() / 2
    torch.testing.assert_close(hv_loss(predicted, target, mask, gradient=2.0), expected)
    one = hv_loss(predicted[:, :1], target[:, :1], mask, gradient=2.0)
    torch.testing.assert_close(one, hv_loss(predicted[:, :1], target[:, :1], mask))


def test_the_filter_gives_the_slope_of_a_ramp_and_is_monais() -> None:
    from monai.transforms import SobelGradients

    ramp = torch.arange(9.0).expand(1, 1, 7, 9)
    inner = sobel(ramp, -1)[0, 0, :, 2:-2]
    torch.testing.assert_close(inner, torch.full_like(inner, 1.0))
    assert sobel(ramp, -2).abs().max() < 1e-6
    x = random_tensor(0, 1, 8, 9)
    for axis, ours in ((1, -1), (0, -2)):
        theirs = SobelGradients(kernel_size=5, spatial_axes=axis, padding_mode="replicate")(x)
        torch.testing.assert_close(sobel(x[None], ours)[0, :, 2:-2, 2:-2], theirs[:, 2:-2, 2:-2])
