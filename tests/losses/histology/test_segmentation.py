"""Segmentation from sparse labels, its pseudo-labels, and the edge term, against loops over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import sobel as scipy_sobel

from mtl.losses.histology import LossConfig, MultiTaskLoss
from mtl.losses.histology.pseudo_labels import PseudoLabels, agreement, pseudo_labels
from mtl.losses.histology.segmentation import edge_loss, outline_band, segmentation_loss

from .made_batches import blob_mask, random_mask, random_tensor

CONFIG = LossConfig()


def slow_segmentation(z, y, weight, ramp):
    """As the formula says it, pixel by pixel."""
    bce = lambda logit, target: math.log1p(math.exp(-abs(logit))) + max(logit, 0) - logit * target  # noqa: E731
    weighted = total = 0.0
    dices, background = [], []
    for b in range(len(z)):
        overlap = both = 0.0
        for logit, label, w in zip(z[b].ravel(), y[b].ravel(), weight[b].ravel(), strict=True):
            p = 1 / (1 + math.exp(-logit))
            positive = 1.0 if p > 0.9 and not label else 0.0
            negative = 1.0 if p < 0.2 and not label else 0.0
            c = min(label + positive, 1.0)
            of_pixel = label * w + 0.3 * ramp * (positive + negative)
            weighted, total = weighted + of_pixel * bce(logit, c), total + of_pixel
            known = label + ramp * (positive + negative)
            overlap += known * p * c
            both += known * (p**2 + c**2)
            if not label:
                background.append(bce(logit, 0.0))
        dices.append(1 - (2 * overlap + 1) / (both + 1))
    cross_entropy = weighted / total if total else 0.0
    far = np.mean(background) if background else 0.0
    return 0.5 * cross_entropy + 0.5 * np.mean(dices) + 0.05 * far


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_segmentation_equals_the_loop(seed: int, share: float, ramp: float) -> None:
    z, y = random_tensor(seed, 2, 1, 7, 8, scale=4.0).double(), random_mask(seed, 2, 7, 8, share).double()
    weight = random_tensor(seed + 1, 2, 1, 7, 8).abs().double()
    pseudo = pseudo_labels(z.sigmoid(), y, CONFIG)
    found = segmentation_loss(z, y, pseudo, CONFIG, weight, ramp)
    assert float(found) == pytest.approx(
        slow_segmentation(z.numpy(), y.numpy(), weight.numpy(), ramp), abs=1e-9
    )


def described(z: torch.Tensor, y: torch.Tensor) -> float:
    only = LossConfig(
        **{name: 0.0 for name in LossConfig().__dict__ if name.startswith("alpha")} | {"alpha_seg": 1}
    )
    return float(MultiTaskLoss(only)({"preds": z}, y, torch.zeros_like(y))["segmentation"])


@pytest.mark.parametrize("size", [6.0, 9.0, 15.0])
def test_a_perfect_mask_is_cheap_and_nucleus_everywhere_ten_times_as_dear(size: float) -> None:
    y = blob_mask()
    perfect, everywhere = described((2 * y - 1) * size, y), described(torch.full_like(y, size), y)
    assert perfect < 0.03
    assert everywhere >= 10 * perfect


def test_pseudo_labels_lie_outside_what_is_outlined_and_never_on_both_sides() -> None:
    p, y = random_tensor(0, 3, 1, 30, 30, scale=4).sigmoid(), random_mask(1, 3, 30, 30)
    for config in (CONFIG, LossConfig(clean_up=True, smallest=6)):
        labels = pseudo_labels(p, y, config)
        assert not (labels.positive * labels.negative).any()
        assert not (labels.positive * y).any() and not (labels.negative * y).any()
        assert not labels.positive.requires_grad


def test_clean_up_drops_crumbs_and_fills_holes() -> None:
    p = torch.full((1, 1, 40, 40), 0.5)
    p[0, 0, 5:25, 5:25] = 0.95  # a disc of 400 pixels with a hole of 16 that looks like background
    p[0, 0, 10:14, 10:14] = 0.05
    p[0, 0, 32:36, 32:36] = 0.95  # a crumb of 16
    y = torch.zeros_like(p)
    labels = pseudo_labels(p, y, LossConfig(clean_up=True))
    assert labels.positive[0, 0, 5:25, 5:25].all() and labels.positive.sum() == 400
    assert labels.negative.sum() == 0
    plain = pseudo_labels(p, y, CONFIG)
    assert plain.positive.sum() == 400 and plain.negative.sum() == 16


def test_agreement_counts_what_the_hidden_truth_says() -> None:
    y = torch.zeros(1, 1, 2, 4)
    y[0, 0, 0, 0] = 1
    hidden = torch.tensor([[[[1, 1, 1, 0], [0, 0, 0, 0]]]])
    labels = PseudoLabels(
        torch.tensor([[[[0.0, 1, 0, 1], [0, 0, 0, 0]]]]), torch.tensor([[[[0.0, 0, 1, 0], [1, 1, 1, 0]]]])
    )
    counts = {name: int(value) for name, value in agreement(labels, hidden, y).items()}
    assert counts == {
        "pseudo_positive": 2, "right_positive": 1, "hidden_positive": 2,
        "pseudo_negative": 4, "right_negative": 3, "hidden_negative": 5,
    }  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_the_band_is_where_scipys_sobel_is_not_zero(seed: int) -> None:
    y = random_mask(seed, 1, 9, 7, 0.4)
    plane = y[0, 0].numpy().astype(float)
    expected = (scipy_sobel(plane, 0, mode="nearest") != 0) | (scipy_sobel(plane, 1, mode="nearest") != 0)
    assert np.array_equal(outline_band(y)[0, 0].numpy() > 0, expected)


def test_the_outer_side_counts_only_where_the_network_sees_background() -> None:
    y = torch.zeros(1, 1, 12, 12)
    y[0, 0, 4:8, 4:8] = 1
    band, z = outline_band(y), random_tensor(3, 1, 1, 12, 12, scale=2)
    p = torch.where(torch.arange(12) < 6, 0.9, 0.1).expand(1, 1, 12, 12)
    expected = [
        math.log1p(math.exp(-v)) if label else math.log1p(math.exp(v))
        for v, label, guess, on in zip(z.ravel().tolist(), y.ravel(), p.ravel(), band.ravel(), strict=True)
        if on and (label or guess < 0.5)
    ]
    assert float(edge_loss(z, y, p)) == pytest.approx(np.mean(expected), abs=1e-6)
    assert float(edge_loss(z, torch.zeros_like(y), p)) == 0


@pytest.mark.parametrize("side", [0, 2, 8, 30, 64])
def test_a_perfect_mask_of_any_size_costs_little_and_nucleus_everywhere_much(side: int) -> None:
    y = torch.zeros(1, 1, 64, 64)
    y[..., :side, :side] = 1
    perfect = described((2 * y - 1) * 6, y)
    assert 0 <= perfect < 0.03
    if side < 64:
        assert described(torch.full_like(y, 6.0), y) > 10 * perfect


@pytest.mark.parametrize("size", [5.0, 15.0, 19.9, 40.0])
def test_no_rounding_makes_the_loss_negative(size: float) -> None:
    y = torch.ones(1, 1, 32, 32)
    assert described(torch.full_like(y, size), y) >= 0
