"""Semantic and target losses against loops over voxels, gradients included."""

from __future__ import annotations

import pytest
import torch
from em_batches import random_labels, random_tensor

from mtl.losses.em import semantic_loss, target_loss


def slow_semantic(logits, classes):
    """CE, IoU and Dice as the formulas say them."""
    of_samples = []
    for z, y in zip(logits, classes, strict=True):
        places = [tuple(p) for p in (y != -100).nonzero().tolist()]
        if not places:
            continue
        p = {v: z[(slice(None), *v)].exp() / z[(slice(None), *v)].exp().sum() for v in places}
        cross_entropy = -sum(p[v][y[v]].log() for v in places) / len(places)
        ious, dices = [], []
        for c in sorted({int(y[v]) for v in places}):
            overlap = sum(p[v][c] for v in places if y[v] == c)
            predicted, true = sum(p[v][c] for v in places), sum(1 for v in places if y[v] == c)
            ious.append(overlap / (predicted + true - overlap))
            dices.append(2 * overlap / (predicted + true))
        of_samples.append(
            torch.stack([cross_entropy, 1 - sum(ious) / len(ious), 1 - sum(dices) / len(dices)])
        )
    return torch.stack(of_samples).mean(0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_semantic_loss_and_gradient_equal_the_slow_loop(dims, n_classes):
    classes = random_labels(0, dims, batch=3, ids=n_classes - 1)
    classes[1] = torch.where(classes[1] == 1, 0, classes[1])  # a class that this sample does not hold
    classes[2] = -100
    logits = random_tensor(1, n_classes, dims, batch=3)
    leaf, slow_leaf = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    parts, slow = semantic_loss(leaf, classes, 1.0, 0.5, 2.0), slow_semantic(slow_leaf, classes)
    for name, expected in zip(("ce", "iou", "dice"), slow, strict=True):
        torch.testing.assert_close(parts[f"semantic/{name}"], expected, rtol=1e-9, atol=1e-12)
    expected = torch.autograd.grad((slow * torch.tensor([1.0, 0.5, 2.0])).sum(), slow_leaf)[0]
    torch.testing.assert_close(
        torch.autograd.grad(parts["semantic"], leaf)[0], expected, rtol=1e-9, atol=1e-12
    )


def test_unknown_voxels_have_exactly_zero_gradient_in_every_term():
    classes = random_labels(0, 3, ids=1)
    leaf = (random_tensor(1, 2, 3) * 50).requires_grad_()
    for name, value in semantic_loss(leaf, classes).items():
        gradient = torch.autograd.grad(value, leaf, retain_graph=True)[0].movedim(1, -1)
        assert torch.count_nonzero(gradient[classes == -100]) == 0, name
        assert torch.count_nonzero(gradient) > 0, name


def test_a_weight_of_zero_removes_a_term():
    logits, classes = random_tensor(1, 2, 2), random_labels(0, 2, ids=1)
    parts = semantic_loss(logits, classes, weight_ce=0.0, weight_dice=0.0)
    assert set(parts) == {"semantic", "semantic/iou"}


def test_no_known_voxel_gives_zero_and_no_nan():
    leaf = random_tensor(1, 2, 2).requires_grad_()
    loss = semantic_loss(leaf, torch.full(leaf[:, 0].shape, -100))["semantic"]
    assert loss == 0 and torch.count_nonzero(torch.autograd.grad(loss, leaf)[0]) == 0


def test_target_loss_and_gradient_equal_the_slow_loop():
    labels, ids = random_labels(0, 3, batch=3), torch.tensor([1, 2, 9])  # the third is not there
    logits = random_tensor(1, 1, 3, batch=3)
    leaf, slow_leaf = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    values = []
    for b in (0, 1):
        places = [tuple(p) for p in (labels[b] != -100).nonzero().tolist()]
        p = {v: 1 / (1 + (-slow_leaf[b, 0][v]).exp()) for v in places}
        inside = [v for v in places if labels[b][v] == ids[b]]
        bce = sum(-(p[v] if v in inside else 1 - p[v]).log() for v in places) / len(places)
        dice = 1 - 2 * sum(p[v] for v in inside) / (sum(p.values()) + len(inside))
        values.append(torch.stack([bce, dice]))
    slow = torch.stack(values).mean(0)
    parts = target_loss(leaf, labels, ids)
    torch.testing.assert_close(torch.stack([parts["target/ce"], parts["target/dice"]]), slow)
    expected = torch.autograd.grad(slow.sum(), slow_leaf)[0]
    found = torch.autograd.grad(parts["target"], leaf)[0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert torch.count_nonzero(found[:, 0][labels == -100]) == 0
