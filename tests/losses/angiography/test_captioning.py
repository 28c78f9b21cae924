"""Captions, masked tubelets and distillation against loops and against torch's cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mtl.errors import ParameterError
from mtl.losses.angiography import (
    caption_loss,
    contrastive_distillation,
    counted_tokens,
    distillation_loss,
    masked_loss,
)


def reports(seed: int, pad: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, tokens that end in PAD, and prefix lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 6, (3, 7), generator=generator)
    tokens[tokens == pad] = 6
    tokens[0, 5:] = pad
    tokens[1, 3:] = pad
    logits = torch.randn(3, 6, 8, generator=generator).double().requires_grad_()
    return logits, tokens, torch.randint(1, 5, (3,), generator=generator)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.9), st.sampled_from([0, 4]))
def test_captions_equal_a_loop_over_tokens(seed: int, smoothing: float, pad: int) -> None:
    logits, tokens, prefix = reports(seed, pad)
    smooth, plain, count = 0.0, 0.0, 0
    for r in range(3):
        for place in range(1, 7):
            if place < prefix[r] or tokens[r, place] == pad:
                continue
            p = [math.exp(x) for x in logits[r, place - 1].tolist()]
            costs = [-math.log(x / sum(p)) for x in p]
            plain += costs[tokens[r, place]]
            smooth += (1 - smoothing) * costs[tokens[r, place]] + smoothing * sum(costs) / len(costs)
            count += 1
    found = caption_loss(logits, tokens, prefix, pad, smoothing)
    assert float(found["captioning"].detach()) == pytest.approx(smooth / max(count, 1), rel=1e-10)
    assert float(found["captioning/ce"]) == pytest.approx(plain / max(count, 1), rel=1e-10)
    assert not found["captioning/ce"].requires_grad
    assert int(counted_tokens(tokens, prefix, pad).sum()) == count


def test_gradients_equal_those_of_torchs_cross_entropy() -> None:
    logits, tokens, _ = reports(3)
    wanted = torch.where(counted_tokens(tokens, 2), tokens[:, 1:], -100)
    expected = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), label_smoothing=0.1)
    found = caption_loss(logits, tokens, 2)["captioning"]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (found, expected)))
    assert torch.autograd.gradcheck(lambda z: caption_loss(z, tokens, 2)["captioning"], logits)


def test_a_batch_without_a_token_that_counts_gives_0_and_no_gradient() -> None:
    logits, tokens, _ = reports(0)
    loss = caption_loss(logits, torch.zeros_like(tokens))["captioning"]
    loss.backward()
    assert float(loss.detach()) == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(
    ("logits", "tokens", "smoothing", "message"),
    [
        ((2, 5, 8), (2, 5), 0.1, r"\(R, L - 1, V\)"),
        ((3, 4, 8), (2, 5), 0.1, r"logits \(3, 4, 8\)"),
        ((2, 4, 8), (2, 5), 1.0, "label smoothing = 1.0"),
    ],
)
def test_captions_that_do_not_fit_are_named(logits, tokens, smoothing, message) -> None:
    with pytest.raises(ParameterError, match=message):
        caption_loss(torch.zeros(logits), torch.zeros(tokens, dtype=torch.int64), smoothing=smoothing)


@pytest.mark.parametrize("wrong", [-1, 8])
def test_token_ids_without_a_column_are_named(wrong: int) -> None:
    tokens = torch.tensor([[1, 2, 3, wrong]])
    with pytest.raises(ParameterError, match=r"token ids .*: 0 to 7 is expected"):
        caption_loss(torch.zeros(1, 3, 8), tokens)


def test_masked_tubelets_count_and_others_do_not() -> None:
    prediction, target = torch.randn(2, 4, 3).double().requires_grad_(), torch.randn(2, 4, 3).double()
    mask = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0]]).bool()
    hidden = [(b, n) for b in range(2) for n in range(4) if mask[b, n]]
    expected = (
        sum(float((prediction[b, n, p] - target[b, n, p]).detach() ** 2) for b, n in hidden for p in range(3))
        / 9
    )
    loss = masked_loss(prediction, target, mask)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-10)
    (gradient,) = torch.autograd.grad(loss, prediction)
    assert torch.equal(gradient.abs().sum(-1) > 0, mask)
    torch.testing.assert_close(masked_loss(prediction, target), (prediction - target).square().mean())
    target.requires_grad_()
    assert torch.autograd.grad(masked_loss(prediction, target), target, allow_unused=True) == (None,)


def test_masked_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ParameterError, match=r"prediction \(2, 4, 3\) and target \(2, 4, 2\)"):
        masked_loss(torch.zeros(2, 4, 3), torch.zeros(2, 4, 2))
    with pytest.raises(ParameterError, match="not empty"):
        masked_loss(torch.zeros(2, 0, 3), torch.zeros(2, 0, 3))
    with pytest.raises(ParameterError, match="mask has shape"):
        masked_loss(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3), torch.ones(2, 3).bool())
    with pytest.raises(ParameterError, match="mask: nothing is hidden"):
        masked_loss(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3), torch.zeros(2, 4).bool())


def slow_kl(student: list[float], teacher: list[float], tau: float) -> float:
    p, q = ([math.exp(z / tau) for z in row] for row in (student, teacher))
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    return tau**2 * sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 5))
def test_distillation_equals_a_loop(seed: int, tau: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(2, 3, 5, generator=generator).double() for _ in range(2))
    counted = torch.rand(2, 3, generator=generator) < 0.6
    rows = [(b, i) for b in range(2) for i in range(3)]
    each = {row: slow_kl(student[row].tolist(), teacher[row].tolist(), tau) for row in rows}
    assert float(distillation_loss(student, teacher, tau)) == pytest.approx(sum(each.values()) / 6, rel=1e-8)
    kept = [each[row] for row in rows if counted[row]]
    expected = sum(kept) / max(len(kept), 1)
    assert float(distillation_loss(student, teacher, tau, counted)) == pytest.approx(expected, rel=1e-8)


def test_contrastive_distillation_takes_both_directions_and_spares_the_teacher() -> None:
    v, u, v2, u2 = (F.normalize(torch.randn(4, d).double(), dim=1).requires_grad_() for d in (3, 3, 5, 5))
    t, t2 = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (1.0, 2.0))
    loss = contrastive_distillation(v, u, t, v2, u2, t2, 1.5)
    mine, its = ((a.exp() * b @ c.T).detach() for a, b, c in ((t, v, u), (t2, v2, u2)))
    rows = [slow_kl(mine[i].tolist(), its[i].tolist(), 1.5) for i in range(4)]
    columns = [slow_kl(mine[:, i].tolist(), its[:, i].tolist(), 1.5) for i in range(4)]
    assert float(loss.detach()) == pytest.approx((sum(rows) + sum(columns)) / 8, rel=1e-8)
    found = torch.autograd.grad(loss, [v, u, t, v2, u2, t2], allow_unused=True)
    assert all(g.abs().max() > 0 for g in found[:3]) and found[3:] == (None, None, None)
    same = contrastive_distillation(v, u, t, v, u, t)
    assert float(same.detach()) == pytest.approx(0, abs=1e-12)


def test_distillation_that_does_not_fit_is_named() -> None:
    with pytest.raises(ParameterError, match="differ in shape"):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ParameterError, match="temperature = 0"):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 3), 0.0)
