"""Losses against loops written from their formulas, and the partial-label rules."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.losses.brain_mri import CombinedSegmentationLoss, DiceLoss, MultiTaskLoss
from mtl.losses.overlap import soft_dice_loss
from mtl.models.brain_mri import MultiTaskModel


def naive_dice(logits: torch.Tensor, mask: torch.Tensor, smooth: float) -> float:
    overlap = p_sum = y_sum = 0.0
    for z, y in zip(logits.flatten().tolist(), mask.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        overlap, p_sum, y_sum = overlap + p * y, p_sum + p, y_sum + y
    return 1 - (2 * overlap + smooth) / (p_sum + y_sum + smooth)


def naive_bce(logits: torch.Tensor, mask: torch.Tensor) -> float:
    values = []
    for z, y in zip(logits.flatten().tolist(), mask.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        values.append(-(y * math.log(p) + (1 - y) * math.log(1 - p)))
    return sum(values) / len(values)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    return {
        "seg": torch.randn(4, 1, 5, 6, generator=generator),
        "cls": torch.randn(4, 2, generator=generator),
        "mask": (torch.rand(4, 1, 5, 6, generator=generator) > 0.6).float(),
        "labels": torch.tensor([0, 1, 1, 0]),
        "has_mask": torch.tensor([True, False, True, False]),
    }


def test_segmentation_loss_equals_the_naive_loop_over_masked_samples(batch):
    loss = CombinedSegmentationLoss(w_dice=0.3, w_bce=0.7)(batch["seg"], batch["mask"], batch["has_mask"])
    dice = [naive_dice(batch["seg"][i], batch["mask"][i], 1.0) for i in (0, 2)]
    bce = [naive_bce(batch["seg"][i], batch["mask"][i]) for i in (0, 2)]
    assert loss["segmentation/dice"].item() == pytest.approx(sum(dice) / 2, abs=1e-6)
    assert loss["segmentation/bce"].item() == pytest.approx(sum(bce) / 2, abs=1e-6)
    assert loss["segmentation"].item() == pytest.approx(0.3 * sum(dice) / 2 + 0.7 * sum(bce) / 2, abs=1e-6)


def test_dice_loss_is_the_mean_over_samples_not_over_the_pooled_batch(batch):
    per_sample = [naive_dice(batch["seg"][i], batch["mask"][i], 1.0) for i in range(4)]
    assert DiceLoss()(batch["seg"], batch["mask"]).item() == pytest.approx(sum(per_sample) / 4, abs=1e-6)


def test_total_is_the_weighted_sum(batch):
    loss = MultiTaskLoss(lambda_cls=0.4, label_smoothing=0.1)
    parts = loss(batch, batch["mask"], batch["labels"], batch["has_mask"])
    expected = parts["segmentation"] + 0.4 * parts["classification"]
    torch.testing.assert_close(parts["total"], expected)


def test_what_stands_in_a_missing_mask_does_not_matter(batch):
    loss = MultiTaskLoss()
    before = loss(batch, batch["mask"], batch["labels"], batch["has_mask"])["total"]
    garbage = batch["mask"].clone()
    garbage[1] = 1.0
    torch.testing.assert_close(loss(batch, garbage, batch["labels"], batch["has_mask"])["total"], before)


def test_a_batch_without_masks_leaves_the_task_out_and_the_decoder_without_gradient():
    torch.manual_seed(0)
    model = MultiTaskModel(base_filters=4, depth=2)
    none = torch.zeros(2, dtype=torch.bool)
    parts = MultiTaskLoss()(
        model(torch.randn(2, 1, 16, 16)), torch.zeros(2, 1, 16, 16), torch.tensor([0, 1]), none
    )
    assert set(parts) == {"classification", "total"}
    parts["total"].backward()
    assert all(parameter.grad is None for parameter in model.decoder.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.encoder.parameters())


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_every_task_reaches_a_trainable_parameter(task):
    torch.manual_seed(0)
    model = MultiTaskModel(base_filters=4, depth=2)
    mask = (torch.rand(2, 1, 16, 16) > 0.5).float()
    parts = MultiTaskLoss()(
        model(torch.randn(2, 1, 16, 16)), mask, torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool)
    )
    for name in [n for n in parts if n.split("/")[0] == task]:
        gradients = torch.autograd.grad(
            parts[name], list(model.parameters()), retain_graph=True, allow_unused=True
        )
        assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0, name


def test_class_weights_and_smoothing_follow_the_definition(batch):
    loss = MultiTaskLoss(class_weights=[1.0, 3.0])
    value = loss({"cls": batch["cls"]}, batch["mask"], batch["labels"], batch["has_mask"])["classification"]
    log_p = batch["cls"].log_softmax(dim=1)
    picked = torch.tensor([-log_p[i, k] for i, k in enumerate(batch["labels"].tolist())])
    weights = torch.tensor([1.0, 3.0])[batch["labels"]]
    assert value.item() == pytest.approx(float((weights * picked).sum() / weights.sum()), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 10))
def test_soft_dice_stays_in_bounds_and_perfect_masks_cost_nothing(seed, smooth):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(2, 1, 6, 6, generator=generator) > 0.5).float()
    logits = torch.randn(2, 1, 6, 6, generator=generator) * 5
    values = soft_dice_loss(logits, mask, smooth)
    assert bool(((values >= 0) & (values < 1)).all())
    assert float(soft_dice_loss((mask * 2 - 1) * 50, mask, smooth).max()) < 1e-5


def test_an_empty_mask_costs_nothing_where_nothing_is_predicted():
    empty = torch.zeros(1, 1, 8, 8)
    assert float(soft_dice_loss(empty - 50, empty)) < 1e-6
    assert float(soft_dice_loss(empty + 50, empty)) > 0.98
