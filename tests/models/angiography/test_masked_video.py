"""How much is hidden, what the targets are, and that hidden pixels reach the loss only."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import ParameterError
from mtl.models.angiography import ExternalVideoBackbone, MaskedVideoModeling, VideoEncoder
from mtl.models.angiography.mask_shapes import MASK_SHAPES, drawn_mask
from mtl.models.angiography.masked_video import completed, make_masked_decoder, normalised
from mtl.models.angiography.tubelets import tubelets_of


def small(**options: object) -> MaskedVideoModeling:
    torch.manual_seed(0)
    encoder = VideoEncoder(4, 16, (2, 4, 4), width=16, depth=2, heads=2)
    return MaskedVideoModeling(encoder, width=8, depth=1, heads=2, **options).double()


def clip(seed: int = 1) -> torch.Tensor:
    return torch.rand(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(seed)).double()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(2, 5)), st.sampled_from(MASK_SHAPES),
    st.floats(0.01, 0.99), st.integers(0, 10**6),
)  # fmt: skip
def test_masks_split_the_clip_and_hide_the_promised_number(grid, shape, ratio, seed) -> None:
    keep, masked = drawn_mask(grid, 3, ratio, shape, generator=seeded(seed))
    t, h, w = grid
    cells = h * w if shape == "tube" else t * h * w
    hidden = min(max(round(ratio * cells), 1), cells - 1) * (t if shape == "tube" else 1)
    assert masked.shape == (3, hidden)
    for b in range(3):
        assert sorted(keep[b].tolist() + masked[b].tolist()) == list(range(t * h * w))
        assert masked[b].tolist() == sorted(masked[b].tolist())


def masks(shape: str, ratio: float = 0.4, grid=(4, 6, 5), batch: int = 20) -> torch.Tensor:
    _, masked = drawn_mask(grid, batch, ratio, shape, generator=seeded(3))
    cells = grid[0] * grid[1] * grid[2]
    return torch.zeros(batch, cells, dtype=torch.bool).scatter_(1, masked, True).view(batch, *grid)


def test_tubes_stand_still_and_random_masks_do_not() -> None:
    tube, anywhere = masks("tube"), masks("random")
    assert (tube == tube[:, :1]).all()
    assert not (anywhere == anywhere[:, :1]).flatten(1).all(1).any()
    assert not (tube == tube[:1]).all() and not (anywhere == anywhere[:1]).all()


def test_a_block_is_convex_along_each_axis() -> None:
    block = masks("block")
    for axis in (1, 2, 3):
        starts = (block & ~block.roll(1, axis)).narrow(axis, 1, block.shape[axis] - 1).sum(axis)
        first = block.select(axis, 0).long()
        assert (starts + first <= 1).all(), "no line enters the block twice"
    assert not (block == block[:1]).all()


@pytest.mark.parametrize(
    ("grid", "ratio", "shape", "message"),
    [
        ((2, 2, 2), 1.0, "random", "mask ratio = 1.0"),
        ((2, 2, 2), 0.5, "stripes", "mask shape: 'stripes'"),
        ((4, 1, 1), 0.5, "tube", "needs 2 cells"),
    ],
)
def test_masks_out_of_range_are_named(grid, ratio, shape, message) -> None:
    with pytest.raises(ParameterError, match=message):
        drawn_mask(grid, 1, ratio, shape)


@pytest.mark.parametrize("shape", MASK_SHAPES)
def test_outputs_and_targets_of_hidden_tubelets(shape: str) -> None:
    model, video = small(shape=shape), clip()
    output = model(video, generator=seeded())
    places, mask = output["masked_places"], output["mask"]
    assert output["masked_prediction"].shape == output["masked_target"].shape == (2, 24, 96)
    assert mask.shape == (2, 32) and (mask.sum(1) == 24).all() and mask.gather(1, places).all()
    patches = tubelets_of(video, (2, 4, 4))
    for b in range(2):
        for m in range(24):
            x = patches[b, places[b, m]]
            spread = ((x - x.mean()).square().mean() + 1e-6).sqrt()
            torch.testing.assert_close(output["masked_target"][b, m], (x - x.mean()) / spread)


def test_a_flat_tubelet_has_the_target_0() -> None:
    assert torch.equal(normalised(torch.full((1, 1, 8), 0.7)), torch.zeros(1, 1, 8))


def test_all_tokens_give_the_same_result() -> None:
    model, video = small(), clip()
    quick, slow = (model(video, generator=seeded(), all_tokens=slow) for slow in (False, True))
    for key, value in quick.items():
        torch.testing.assert_close(value, slow[key], msg=key)


def test_predictions_do_not_know_the_hidden_pixels_but_the_visible_ones() -> None:
    model, video = small(), clip()
    output = model(video, generator=seeded())
    filled = completed(model.encoder, video, output | {"masked_prediction": torch.zeros(2, 24, 96).double()})
    again = model(filled, generator=seeded())
    torch.testing.assert_close(again["masked_prediction"], output["masked_prediction"])
    other = model(clip(9), generator=seeded())
    assert ((other["masked_prediction"] - output["masked_prediction"]).abs().amax(-1) > 1e-9).all()


def test_perfect_predictions_complete_the_video() -> None:
    model, video = small(), clip()
    output = model(video, generator=seeded())
    perfect = completed(model.encoder, video, output | {"masked_prediction": output["masked_target"]})
    torch.testing.assert_close(perfect, video)


def test_every_parameter_learns_but_the_pool() -> None:
    model = small()
    output = model(clip(), generator=seeded())
    (output["masked_prediction"] - output["masked_target"]).square().mean().backward()
    for name, parameter in model.named_parameters():
        if ".pool." not in name:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_a_teachers_features_are_targets_without_gradient() -> None:
    model, video = small(target="features"), clip()
    features = torch.randn(2, 32, 16).double().requires_grad_()
    output = model(video, features, generator=seeded())
    assert output["masked_prediction"].shape == (2, 24, 16) and not output["masked_target"].requires_grad
    x = features[1, output["masked_places"][1, 5]].detach()
    expected = (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()
    # Features are normalised in float32.
    torch.testing.assert_close(output["masked_target"][1, 5].double(), expected, rtol=1e-5, atol=1e-5)


def test_shorter_clips_and_stills_are_masked_too() -> None:
    model = small()
    assert model(clip()[:, :, :2], generator=seeded())["mask"].shape == (2, 16)
    assert model(clip()[:, :, :1], generator=seeded())["masked_prediction"].shape == (2, 12, 96)


def test_the_described_size() -> None:
    decoder = make_masked_decoder(VideoEncoder(depth=1))
    assert 1.9e6 < sum(p.numel() for p in decoder.parameters()) < 2.2e6


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ParameterError, match="masked target: 'words'"):
        small(target="words")
    with pytest.raises(ParameterError, match="mask ratio=0"):
        small(ratio=0.0)
    with pytest.raises(ParameterError, match="predicts 96 numbers per tubelet; its target has 16"):
        small()(clip(), torch.zeros(2, 32, 16).double())
    with pytest.raises(ParameterError, match="ExternalVideoBackbone has no encode_visible"):
        MaskedVideoModeling(ExternalVideoBackbone(torch.nn.Identity(), 3, 8, heads=2))
