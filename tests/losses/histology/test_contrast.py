"""Both contrastive losses against loops; what collapse, size and emptiness do to them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.losses.histology import LossConfig
from mtl.losses.histology.contrast import _on_grid, pixel_loss, prototype_loss

from .made_batches import blob_mask, random_mask, random_tensor, unit

CONFIG = LossConfig()


def slow_prototypes(o, a, n):
    """One group: cells as lists of vectors; None where it does not count."""
    if sum(x > 0 for x in a) < 2 or not any(x > 0 for x in n):
        return None
    mean = lambda shares: unit(sum(s * v for s, v in zip(shares, o, strict=True))[None])[0]  # noqa: E731
    plus, minus = mean(a), mean(n)
    loss = 0.0
    for share, v in zip(a, o, strict=True):
        positive, negative = math.exp(float(v @ plus) / 0.1), math.exp(float(v @ minus) / 0.1)
        loss += share * -math.log(positive / (positive + negative))
    return loss / sum(a)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_prototypes_equal_the_loop_on_both_levels(seed: int, empty: bool) -> None:
    o = unit(random_tensor(seed, 3, 5, 4, 4)).double()
    y, n = random_mask(seed, 3, 4, 4).double(), random_mask(seed + 1, 3, 4, 4).double()
    n = n * (1 - y)
    if empty:
        y[0] = 0
    cells = [(list(o[b].flatten(1).T), y[b].flatten().tolist(), n[b].flatten().tolist()) for b in range(3)]
    images = [found for cell in cells if (found := slow_prototypes(*cell)) is not None]
    batch = slow_prototypes(*(sum((cell[i] for cell in cells), []) for i in range(3)))
    expected = (sum(images) / len(images) if images else 0) + 0.5 * (batch or 0)
    term = prototype_loss(o, y, n, CONFIG)
    assert float(term.value) == pytest.approx(expected, abs=1e-8)
    assert bool(term.there) == (batch is not None)


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_any_grid_will_do_and_shares_are_areas(stride: int) -> None:
    y = blob_mask()
    n = 1 - y
    grid = -(-48 // stride)
    o = unit(random_tensor(0, 2, 8, grid, grid))
    term = prototype_loss(o, y, n, CONFIG)
    assert torch.isfinite(term.value) and term.there
    if 48 % stride == 0:
        share = y.unfold(2, stride, stride).unfold(3, stride, stride).mean((-1, -2))
        whole = prototype_loss(o, share, 1 - share, CONFIG)
        torch.testing.assert_close(term.value, whole.value)


def test_collapse_raises_the_prototype_loss_and_separation_lowers_it() -> None:
    y = blob_mask()
    two = unit(torch.cat([y, 1 - y], dim=1).repeat(1, 4, 1, 1) + 0.1 * random_tensor(0, 2, 8, 48, 48))
    collapsed = torch.ones(2, 8, 48, 48) / math.sqrt(8)
    apart, alike = (float(prototype_loss(o, y, 1 - y, CONFIG).value) for o in (two, collapsed))
    assert alike == pytest.approx(1.5 * math.log(2), abs=1e-5) and apart < 0.1 * alike


def test_prototypes_are_absent_without_two_positives_or_any_negative() -> None:
    o, y = unit(random_tensor(0, 2, 5, 6, 6)), torch.zeros(2, 1, 6, 6)
    assert not prototype_loss(o, y, 1 - y, CONFIG).there
    y[0, 0, 0, 0] = 1
    assert not prototype_loss(o, y, 1 - y, CONFIG).there
    y[1, 0, 3, 3] = 1
    assert prototype_loss(o, y, 1 - y, CONFIG).there, "two in the batch"
    assert not prototype_loss(o, y, torch.zeros_like(y), CONFIG).there


def slow_pixels(e, positives, negatives):
    losses = []
    for i in positives:
        near = sum(math.exp(float(e[i] @ e[j]) / 0.1) for j in positives if j != i)
        far = sum(math.exp(float(e[i] @ e[j]) / 0.1) for j in negatives)
        losses.append(math.log(near + far) - math.log(near))
    return sum(losses) / len(losses)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_pixels_equal_the_loop_where_all_are_sampled(seed: int) -> None:
    e, y = unit(random_tensor(seed, 3, 5, 5, 6)).double(), random_mask(seed, 3, 5, 6).double()
    p = random_tensor(seed + 1, 3, 1, 5, 6, scale=3).sigmoid().double()
    y[2] = 0
    expected = []
    for b in range(3):
        positives = (y[b].flatten() > 0).nonzero().flatten().tolist()
        negatives = ((y[b].flatten() == 0) & (p[b].flatten() < 0.1)).nonzero().flatten().tolist()
        if len(positives) >= 2 and negatives:
            expected.append(slow_pixels(e[b].flatten(1).T, positives, negatives))
    term = pixel_loss(e, y, p, CONFIG)
    assert bool(term.there) == bool(expected)
    assert float(term.value) == pytest.approx(sum(expected) / len(expected) if expected else 0.0, abs=1e-8)


def test_at_most_so_many_pixels_are_drawn_and_others_get_no_gradient() -> None:
    e = random_tensor(0, 1, 4, 40, 40).requires_grad_()
    y, p = torch.zeros(1, 1, 40, 40), torch.full((1, 1, 40, 40), 0.01)
    y[..., :20] = 1
    pixel_loss(unit(e), y, p, LossConfig(most_pixels=16)).value.backward()
    touched = (e.grad.abs().sum(1) > 0)[0]
    assert touched[:, :20].sum() == 16 and touched[:, 20:].sum() == 16


def test_pixels_are_absent_while_no_negative_qualifies() -> None:
    e, y = unit(random_tensor(0, 2, 4, 8, 8)).requires_grad_(), random_mask(1, 2, 8, 8)
    term = pixel_loss(e, y, torch.full((2, 1, 8, 8), 0.5), CONFIG)
    assert not term.there and float(term.value.detach()) == 0
    (gradient,) = torch.autograd.grad(term.value, e, allow_unused=True)
    assert gradient is None or not gradient.any()


@pytest.mark.parametrize(("side", "stride"), [(100, 16), (33, 16), (48, 16), (40, 8), (65, 4)])
def test_a_pixel_lies_in_its_own_cell_where_the_border_cuts_the_last_one(side: int, stride: int) -> None:
    cells = -(-side // stride)
    for place in (0, stride - 1, side // 2, side - 8, side - 1):
        mask = torch.zeros(1, 1, side, side)
        mask[..., place, place] = 1
        found = _on_grid(mask, torch.Size((cells, cells))).view(cells, cells).nonzero().tolist()
        assert found == [[place // stride, place // stride]]
