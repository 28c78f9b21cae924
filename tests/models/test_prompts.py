"""Points as tensors: what is refused, what is painted, and the residual's bounds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import ParameterError
from mtl.models.click_patches import ClickPatches
from mtl.models.em import INJECTIONS, EMModel
from mtl.models.prompts import (
    PointPromptEncoder,
    PointPrompts,
    ball_offsets,
    check_points,
    click_balls,
    point_indicator,
)


def prompts(points: list, labels: list) -> PointPrompts:
    """One sample."""
    return PointPrompts(torch.tensor([points]), torch.tensor([labels]))


@pytest.mark.parametrize("point", [(5, 0, 0), (0, -1, 0), (0, 0, 7), (0, 6, 0)])
@pytest.mark.parametrize("injection", INJECTIONS)
def test_points_outside_are_refused_by_name(point, injection):
    model = EMModel(features=4, injection=injection, blocks_down=(1, 1), blocks_up=(1,))
    wrong = prompts([(0, 0, 0), point], [1, 0])
    with pytest.raises(ParameterError, match=r"sample 0: point \(.*\) lies outside.*shape \(5, 6, 7\)"):
        model(torch.rand(1, 1, 5, 6, 7), wrong)


def test_check_points_names_sample_point_label_and_shape():
    good = prompts([(1, 2), (9, 9)], [1, -1])
    check_points(good, (3, 4))
    with pytest.raises(ParameterError, match=r"sample 'a/0': point \(9, 9\)"):
        check_points(PointPrompts(good.points, torch.tensor([[1, 0]])), (3, 4), ["a/0"])
    with pytest.raises(ParameterError, match="point label 2"):
        check_points(PointPrompts(good.points, torch.tensor([[1, 2]])), (3, 4))
    with pytest.raises(ParameterError, match=r"points \(1, 2, 2\).*\(B, P, 3\)"):
        check_points(good, (3, 4, 5))
    with pytest.raises(ParameterError, match="float32.*integers are expected"):
        check_points(PointPrompts(good.points.float(), good.labels), (3, 4))


def test_a_class_that_there_is_not_is_refused():
    encoder = PointPromptEncoder(2, 4, 2)
    with pytest.raises(ParameterError, match="semantic_ids: class 2 is not one of 0 to 1"):
        encoder(prompts([(1, 2)], [1]), torch.tensor([2]), (3, 4))


def test_indicator_channels_are_those_of_the_specification():
    x = point_indicator(
        prompts([(0, 1), (2, 3), (0, 1), (1, 1)], [1, 0, 1, -1]), torch.tensor([2]), 3, (3, 4)
    )
    assert x.shape == (1, 6, 3, 4)
    positive, negative = torch.zeros(3, 4), torch.zeros(3, 4)
    positive[0, 1], negative[2, 3] = 1, 1
    nothing = torch.zeros(3, 4)
    assert torch.equal(
        x[0], torch.stack([positive, negative, nothing, nothing, positive + negative, positive])
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([2, 3]))
def test_residual_is_exactly_zero_out_of_reach_and_without_points(seed, dims):
    generator = torch.Generator().manual_seed(seed)
    shape = (7, 6, 5)[:dims]
    encoder = PointPromptEncoder(2, 4, dims)
    torch.nn.init.normal_(encoder.convolution.weight, generator=generator)
    points = torch.stack([torch.randint(length, (2, 3), generator=generator) for length in shape], dim=2)
    labels = torch.randint(-1, 2, (2, 3), generator=generator)
    residual = encoder(PointPrompts(points, labels), torch.tensor([0, 1]), shape)
    for b in range(2):
        near = torch.zeros(shape, dtype=torch.bool)
        for point, label in zip(points[b].tolist(), labels[b].tolist(), strict=True):
            if label >= 0:
                near[tuple(slice(max(p - encoder.reach, 0), p + encoder.reach + 1) for p in point)] = True
        assert torch.count_nonzero(residual[b][:, ~near]) == 0
        assert not near.any() or torch.count_nonzero(residual[b]) > 0
    assert "bias" not in " ".join(name for name, _ in encoder.named_parameters())


def test_a_closed_gate_opens_within_a_hundred_steps_of_adam():
    encoder = PointPromptEncoder(2, 4, 2)
    start = float((encoder.gain * encoder.gate).detach().abs().max())
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
    click = prompts([(2, 2)], [1])
    for _ in range(100):
        optimiser.zero_grad()
        (encoder(click, torch.tensor([1]), (5, 5))[..., 2, 2] - 1).square().mean().backward()
        optimiser.step()
    assert start < 0.011 and float((encoder.gain * encoder.gate).detach().abs().max()) > 0.5


def test_balls_are_round_in_nanometres():
    offsets = ball_offsets(2.0, (30.0, 6.0, 6.0))
    assert offsets[:, 0].unique().tolist() == [0] and len(offsets) == 13
    assert len(ball_offsets(1.0, (1.0, 1.0, 1.0))) == 7
    balls = click_balls(prompts([(0, 0), (4, 4)], [1, 0]), (5, 6), ball_offsets(1.0, (1.0, 1.0)))
    assert balls[0, 0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0]]
    assert balls[0, 1].nonzero().tolist() == [[3, 4], [4, 3], [4, 4], [4, 5]]


def test_patches_cut_and_put_are_slices():
    volume = torch.arange(2 * 3 * 5 * 6, dtype=torch.float64).view(2, 3, 5, 6)
    points = torch.tensor([[[0, 0], [2, 3]], [[4, 5], [1, 4]]])
    patches = ClickPatches(points, 1, (5, 6))
    cut = patches.cut(volume)
    assert torch.equal(cut[1], volume[0, :, 1:4, 2:5]) and torch.equal(cut[3], volume[1, :, 0:3, 3:6])
    assert torch.equal(cut[0][:, 1:, 1:], volume[0, :, :2, :2]) and cut[0][:, 0].count_nonzero() == 0
    expected = volume.clone()
    for b, y, x in ((0, 0, 0), (0, 2, 3), (1, 4, 5), (1, 1, 4)):
        expected[b, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] *= 10
    assert torch.equal(patches.put(volume, 10 * cut), expected)
