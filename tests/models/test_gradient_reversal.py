"""The gradient behind the reversal layer is exactly -lambda times the plain one; the discriminator learns."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mtl.models.brain_mri import MultiTaskModel
from mtl.models.gradient_reversal import SourceAdversarialModel, SourceDiscriminator, reverse_gradient


@pytest.fixture
def model() -> SourceAdversarialModel:
    torch.manual_seed(0)
    return SourceAdversarialModel(n_sources=3, reversal_weight=0.7, base_filters=4, depth=2).eval()


def test_values_pass_and_the_gradient_is_turned_round():
    x = torch.randn(3, 5, requires_grad=True)
    weights = torch.randn(3, 5)
    y = reverse_gradient(x, 0.25)
    assert torch.equal(y, x)
    (y * weights).sum().backward()
    assert torch.equal(x.grad, -0.25 * weights)


def test_encoder_gets_minus_lambda_times_the_gradient_and_the_discriminator_its_own(model):
    image, source = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 1])
    loss = F.cross_entropy(model(image, do_seg=False, do_source=True)["source"], source)
    plain = F.cross_entropy(model.source_head(model.encoder(image)[-1]), source)
    encoder, head = list(model.encoder.parameters()), list(model.source_head.parameters())
    reversed_, straight = (torch.autograd.grad(value, encoder + head) for value in (loss, plain))
    assert torch.equal(loss, plain) and any(g.abs().max() > 0 for g in straight[: len(encoder)])
    for turned, own in zip(reversed_[: len(encoder)], straight[: len(encoder)], strict=True):
        torch.testing.assert_close(turned, -0.7 * own)
    for turned, own in zip(reversed_[len(encoder) :], straight[len(encoder) :], strict=True):
        assert torch.equal(turned, own)


def test_the_discriminator_learns_to_tell_sources_apart_while_features_forget_them():
    """One free feature map per source: descent separates them for the head, and joins them for itself."""
    torch.manual_seed(1)
    features = torch.nn.Parameter(torch.tensor([[2.0], [-2.0]]).repeat(1, 4)[..., None, None])
    source, head = torch.tensor([0, 1]), SourceDiscriminator(4, 2, hidden=16)
    learner = torch.optim.SGD(head.parameters(), lr=0.1)
    before = F.cross_entropy(head(features), source).item()
    for _ in range(50):
        learner.zero_grad()
        F.cross_entropy(head(reverse_gradient(features, 1.0)), source).backward()
        learner.step()
    assert F.cross_entropy(head(features), source).item() < 0.5 * before
    held = F.cross_entropy(head(features), source).item()
    with torch.no_grad():
        features -= 0.05 * features.grad
    assert F.cross_entropy(head(features), source).item() > held


def test_without_the_source_it_is_the_plain_model_and_its_parts_freeze(model):
    torch.manual_seed(0)
    plain = MultiTaskModel(base_filters=4, depth=2).eval()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("source_head")}
    plain.load_state_dict(state)
    image = torch.randn(2, 1, 16, 16)
    assert torch.equal(model(image)["cls"], plain(image)["cls"]) and "source" not in model(image)
    assert list(model.parts) == [*plain.parts, "source_head"]


def test_saved_with_its_own_arguments(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = SourceAdversarialModel.from_pretrained(tmp_path)
    assert again.reversal_weight == 0.7 and again.source_head.logits.out_features == 3
