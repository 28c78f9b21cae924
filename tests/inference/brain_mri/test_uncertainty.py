"""Entropies against scipy and by hand; dropout draws against the head itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from mtl.errors import ParameterError
from mtl.inference.brain_mri.uncertainty import (
    UncertaintyOptions,
    changed_copies,
    dropout_logits,
    summarise,
)
from mtl.models.brain_mri import ClassificationHead


def test_entropies_equal_a_naive_loop():
    p = torch.randn(7, 5, 2, generator=torch.Generator().manual_seed(0)).softmax(-1).numpy()
    for image, found in enumerate(summarise(torch.from_numpy(p))):
        total = stats.entropy(p[:, image].mean(axis=0))
        within = np.mean([stats.entropy(one) for one in p[:, image]])
        assert found.predictive_entropy == pytest.approx(total, abs=1e-6)
        assert found.mutual_information == pytest.approx(total - within, abs=1e-6)
        assert found.mean_probability == pytest.approx(p[:, image, 1].mean(), abs=1e-6)
        assert found.std_probability == pytest.approx(p[:, image, 1].std(), abs=1e-6)
        assert found.samples == 7


def test_sure_networks_that_contradict_each_other_and_unsure_ones_that_agree():
    contradicting, agreeing = torch.eye(2)[:, None], torch.full((2, 1, 2), 0.5)
    (first,), (second,) = summarise(contradicting), summarise(agreeing)
    assert first.predictive_entropy == first.mutual_information == pytest.approx(math.log(2))
    assert second.predictive_entropy == pytest.approx(math.log(2))
    assert second.mutual_information == 0


@pytest.fixture
def head() -> ClassificationHead:
    torch.manual_seed(1)
    return ClassificationHead(12, dropout=0.4).eval().requires_grad_(False)


def test_draws_average_to_the_head_and_spread_as_its_dropout_does(head):
    bottleneck = torch.randn(3, 12, 4, 4)
    drawn = dropout_logits(head, bottleneck, samples=4000, seed=0)
    deviation = drawn.std(dim=0)
    assert ((drawn.mean(dim=0) - head(bottleneck)).abs() < 5 * deviation / math.sqrt(4000)).all()
    head.dropout.train()
    peers = torch.stack([head(bottleneck) for _ in range(2000)])
    torch.testing.assert_close(deviation, peers.std(dim=0), rtol=0.1, atol=0)
    head.eval()
    torch.testing.assert_close(dropout_logits(head, bottleneck, 0, 0)[0], head(bottleneck))


def test_draws_are_seeded_and_do_not_depend_on_the_company(head):
    bottleneck = torch.randn(3, 12, 4, 4)
    first = dropout_logits(head, bottleneck, 6, seed=3)
    torch.manual_seed(99)
    assert torch.equal(first, dropout_logits(head, bottleneck, 6, seed=3))
    assert not torch.equal(first, dropout_logits(head, bottleneck, 6, seed=4))
    torch.testing.assert_close(first[:, 1:2], dropout_logits(head, bottleneck[1:2], 6, seed=3))


def test_copies_are_mirrored_and_turned_with_the_background_kept():
    image = np.full((41, 41), -0.5, np.float32)
    image[8:14, 10:30] = 2.0
    mirrored, *turned = changed_copies(torch.from_numpy(image)[None, None], background=-0.5)
    np.testing.assert_array_equal(mirrored[0, 0], image[:, ::-1])
    references = [ndimage.rotate(image, a, reshape=False, order=1, cval=-0.5) for a in (6.0, -6.0)]
    errors = [[np.abs(t[0, 0].numpy() - r).mean() for r in references] for t in turned]
    assert min(errors[0]) < 0.01 and min(errors[1]) < 0.01
    assert {int(np.argmin(row)) for row in errors} == {0, 1}
    assert turned[0][0, 0, 0, 0] == -0.5


@pytest.mark.parametrize(("samples", "augmented"), [(0, False), (-1, True)])
def test_nothing_to_repeat_is_refused(samples, augmented):
    with pytest.raises(ParameterError, match=f"dropout_samples={samples} must be"):
        UncertaintyOptions(samples, augmented)
    assert UncertaintyOptions(0, True).dropout_samples == 0
