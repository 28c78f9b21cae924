"""Tubelets, positions, pooling and the encoder that skips hidden tubelets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mtl.errors import DataError, ParameterError
from mtl.models.angiography import ExternalVideoBackbone, VideoEncoder
from mtl.models.angiography.pooling import POOLS, PlacePool, make_pool
from mtl.models.angiography.positions import SpaceTimePositions
from mtl.models.angiography.tubelets import tubelets_at, tubelets_of, video_of


def small(**options: object) -> VideoEncoder:
    sizes = {"frames": 4, "image_size": (8, 12), "tubelet": (2, 4, 4), "width": 16, "depth": 2, "heads": 2}
    return VideoEncoder(**(sizes | options)).eval()


def test_tubelets_lie_time_slowest_then_rows_then_columns() -> None:
    video = torch.rand(2, 3, 4, 8, 12)
    found = tubelets_of(video, (2, 4, 4))
    n = 0
    for t in range(2):
        for y in range(2):
            for x in range(3):
                box = video[:, :, 2 * t : 2 * t + 2, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                assert torch.equal(found[:, n], box.flatten(1))
                n += 1
    assert found.shape == (2, n, 3 * 2 * 4 * 4)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(1, 3)] * 3), st.tuples(*[st.integers(1, 3)] * 3), st.integers(1, 2))
def test_a_video_comes_back_from_its_tubelets(grid, tubelet, channels) -> None:
    video = torch.rand(2, channels, *(g * p for g, p in zip(grid, tubelet, strict=True)))
    assert torch.equal(video_of(tubelets_of(video, tubelet), tubelet, grid), video)


def test_some_tubelets_are_those_of_all() -> None:
    video, places = torch.rand(2, 3, 4, 8, 12), torch.tensor([[0, 3, 11], [5, 5, 7]])
    every = tubelets_of(video, (2, 4, 4))
    expected = torch.stack([every[b, places[b]] for b in range(2)])
    assert torch.equal(tubelets_at(video, (2, 4, 4), places), expected)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_shapes_and_grid(pool: str, positions: str) -> None:
    encoder = small(pool=pool, positions=positions)
    tokens, pooled = encoder(torch.rand(2, 3, 4, 8, 12))
    assert encoder.grid == (2, 2, 3) and tokens.shape == (2, 12, 16) and pooled.shape == (2, 16)
    if pool == "mean":
        torch.testing.assert_close(pooled, tokens.mean(1))


def test_places_are_weighed_one_by_one_and_missing_ones_say_nothing() -> None:
    pool = PlacePool(8, 6).double()
    tokens = torch.rand(2, 6, 8, dtype=torch.float64)
    blocks = pool.out.weight.view(8, 6, -1)
    expected = pool.out.bias + sum(pool.narrow(tokens[:, n]) @ blocks[:, n].T for n in range(6))
    torch.testing.assert_close(pool(tokens), expected)
    four = pool.out.bias + sum(pool.narrow(tokens[:, n]) @ blocks[:, n].T for n in range(4))
    torch.testing.assert_close(pool(tokens[:, :4]), four)
    with pytest.raises(DataError, match="6 places"):
        pool(torch.rand(2, 7, 8, dtype=torch.float64))
    with pytest.raises(ParameterError, match="attention, mean"):
        make_pool("places", 8, 2)


def test_the_embedding_is_a_strided_convolution() -> None:
    encoder = small(mean=0.3, std=0.7).double()
    video = torch.rand(1, 3, 4, 8, 12).double()
    weight = encoder.embed.weight.view(16, 3, 2, 4, 4)
    expected = nn.functional.conv3d((video - 0.3) / 0.7, weight, encoder.embed.bias, stride=(2, 4, 4))
    torch.testing.assert_close(encoder._embedded(encoder.patches(video)), expected.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_positions_tell_all_tubelets_apart(positions: str) -> None:
    table = SpaceTimePositions((3, 4, 5), 16, positions)(3)[0]
    assert table.shape == (60, 16)
    distance = torch.cdist(table, table) + torch.eye(60)
    assert distance.min() > 1e-3


def test_a_shorter_clip_has_the_first_positions() -> None:
    positions = SpaceTimePositions((3, 4, 5), 16, "learned")
    assert torch.equal(positions(2)[0], positions(3)[0, :40])


def test_positions_are_a_sum_of_time_and_place() -> None:
    table = SpaceTimePositions((3, 4, 5), 16, "sinusoidal")(3)[0].view(3, 4, 5, 16)
    torch.testing.assert_close(table[2, 1, 3] - table[0, 1, 3], table[2, 0, 0] - table[0, 0, 0])
    torch.testing.assert_close(table[1, 2, 3] - table[1, 0, 3], table[0, 2, 0] - table[0, 0, 0])


def drawn_keep(batch: int, tokens: int, kept: int) -> torch.Tensor:
    return torch.stack([torch.randperm(tokens)[:kept].sort().values for _ in range(batch)])


def test_visible_tubelets_equal_all_tubelets_with_the_hidden_ones_forbidden() -> None:
    encoder, video, keep = small().double(), torch.rand(2, 3, 4, 8, 12).double(), drawn_keep(2, 12, 5)
    quick, slow = encoder.encode_visible(video, keep), encoder.encode_visible(video, keep, all_tokens=True)
    torch.testing.assert_close(quick, slow)


def test_all_visible_is_the_plain_forward() -> None:
    encoder, video = small().double(), torch.rand(2, 3, 4, 8, 12).double()
    keep = torch.arange(12).expand(2, -1)
    torch.testing.assert_close(encoder.encode_visible(video, keep), encoder(video)[0])


def test_hidden_pixels_change_nothing_and_are_not_embedded() -> None:
    encoder, video, keep = small(), torch.rand(2, 3, 4, 8, 12), drawn_keep(2, 12, 5)
    sizes = []
    encoder.embed.register_forward_hook(lambda _, given, __: sizes.append(given[0].shape[1]))
    before = encoder.encode_visible(video, keep)
    patches = tubelets_of(video, (2, 4, 4))
    hidden = torch.ones(2, 12, dtype=torch.bool).scatter_(1, keep, False)
    other = video_of(torch.where(hidden[..., None], 9.0, patches), (2, 4, 4), (2, 2, 3))
    assert torch.equal(encoder.encode_visible(other, keep), before)
    assert sizes == [5, 5]


def test_a_still_is_a_clip_that_stands_and_clips_may_be_shorter() -> None:
    encoder, video = small(), torch.rand(2, 3, 4, 8, 12)
    still = video[:, :, :1]
    torch.testing.assert_close(encoder(still), encoder(still.repeat(1, 1, 2, 1, 1)))
    assert encoder(video[:, :, :2])[0].shape == (2, 6, 16)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 4, 8, 13), "multiples of the tubelet"),
        ((2, 3, 3, 8, 12), "multiples of the tubelet"),
        ((2, 1, 4, 8, 12), "1 channels; 3 are expected"),
        ((2, 3, 0, 8, 12), "the clip is empty"),
        ((2, 3, 4, 12, 12), "takes 8 x 12 pixels and up to 4 frames"),
        ((2, 3, 6, 8, 12), "up to 4 frames"),
        ((3, 4, 8, 12), "is expected"),
    ],
)
def test_clips_that_do_not_fit_are_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        small()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tubelet": (3, 4, 4)}, "must divide"),
        ({"pool": "max"}, "pool: 'max'"),
        ({"positions": "none"}, "positions: 'none'"),
        ({"width": 18, "heads": 2, "positions": "sinusoidal"}, "multiple of 4"),
        ({"depth": 0}, "depth=0"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        small(**options)


class Tokens(nn.Module):
    """A backbone that gives what it is told to."""

    def __init__(self, *shape: int, wrap=lambda x: x) -> None:
        super().__init__()
        self.shape, self.wrap = shape, wrap

    def forward(self, video: torch.Tensor) -> object:
        return self.wrap(torch.arange(float(torch.Size(self.shape).numel())).view(self.shape))


class Named:
    def __init__(self, x: torch.Tensor) -> None:
        self.last_hidden_state = x


@pytest.mark.parametrize(
    ("module", "options", "tokens"),
    [
        (Tokens(2, 7, 6), {}, 7),
        (Tokens(2, 7, 6), {"skip": 1}, 6),
        (Tokens(2, 6, 2, 3, 4), {}, 24),
        (Tokens(2, 6, 3, 4), {}, 12),
        (Tokens(2, 7, 6, wrap=lambda x: [None, x]), {}, 7),
        (Tokens(2, 7, 6, wrap=lambda x: {"a": x}), {"output": "a"}, 7),
        (Tokens(2, 7, 6, wrap=Named), {"output": "last_hidden_state"}, 7),
    ],
)
def test_external_backbones_give_tokens_or_maps(module: nn.Module, options: dict, tokens: int) -> None:
    backbone = ExternalVideoBackbone(module, 6, width=8, heads=2, **options)
    found, pooled = backbone(torch.rand(2, 3, 4, 8, 8))
    assert found.shape == (2, tokens, 8) and pooled.shape == (2, 8)
    raw = backbone._tokens(backbone._taken(module(torch.empty(0))))
    torch.testing.assert_close(found, backbone.norm(backbone.project(raw)))


def test_a_map_gives_its_grid_and_its_places_in_order() -> None:
    backbone = ExternalVideoBackbone(Tokens(1, 6, 2, 3, 4), 6, width=8, heads=2)
    backbone(torch.rand(1, 3, 4, 8, 8))
    assert backbone.grid == (2, 3, 4)
    feature = Tokens(1, 6, 2, 3, 4)(torch.empty(0))
    assert torch.equal(backbone._tokens(feature)[0, 1 * 12 + 2 * 4 + 3], feature[0, :, 1, 2, 3])


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (Tokens(2, 7, 5), {}, r"gives shape \(2, 7, 5\)"),
        (Tokens(2, 1, 6), {"skip": 1}, "above skip=1"),
        (Tokens(2, 7, 6, wrap=lambda x: {"a": x}), {"output": "b"}, "no output 'b'"),
        (Tokens(2, 7, 6, wrap=Named), {"output": "b"}, "no output 'b'"),
    ],
)
def test_outputs_that_do_not_fit_are_named(module: nn.Module, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ExternalVideoBackbone(module, 6, width=8, heads=2, **options)(torch.rand(2, 3, 4, 8, 8))
