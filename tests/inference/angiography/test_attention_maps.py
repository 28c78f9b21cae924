"""Cross-attention on the grid: which cell, which word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtl.errors import DataError
from mtl.inference.angiography import caption_attention, to_grid, upsampled, word_spans
from mtl.models.angiography import memory_of

PIECES = ["[BOS]", "[CAP]", "the", "pl", "##ad", ":", "70", "%", ".", "[EOS]", "[PAD]"]
GRID = (2, 2, 3)


WEIGHTS = torch.cat([torch.full((12, 1), 0.25), 0.75 * torch.eye(12)], dim=1)


class FakeDecoder(nn.Module):
    """Layer l, head h at place p gives cell p + l + h three quarters, the whole clip one."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [None, None]

    def forward(self, tokens: Tensor, memory: Tensor, attention_of: tuple[int, ...] = ()):
        assert not self.training
        places = torch.arange(tokens.shape[1])
        seen = {
            layer: torch.stack([WEIGHTS[(places + layer + head) % 12] for head in (0, 1)])[None]
            for layer in attention_of
        }
        return torch.zeros(1), seen


def test_words_and_the_places_of_their_pieces() -> None:
    assert word_spans(PIECES) == [("the", [2]), ("plad", [3, 4]), ("70", [6]), ("%", [7])]
    assert word_spans(["a", "[UNK]", "[LOC3]", "##x", "(", "##y", "b"]) == [
        ("[UNK]", [1]), ("x", [3]), ("y", [5]), ("b", [6]),
    ]  # fmt: skip
    assert word_spans(["[BOS]", "[EOS]", "after"]) == []


def test_cells_are_ordered_time_rows_columns() -> None:
    cells = to_grid(torch.arange(12.0), GRID)
    for t in range(2):
        for y in range(2):
            for x in range(3):
                assert cells[t, y, x] == 6 * t + 3 * y + x
    assert to_grid(torch.rand(4, 5, 12), GRID).shape == (4, 5, *GRID)
    with pytest.raises(DataError, match="12 are expected"):
        to_grid(torch.rand(13), GRID)


def test_a_word_s_map_is_from_the_places_that_wrote_it() -> None:
    tokens, memory = torch.arange(11)[None], torch.zeros(1, 13, 4)
    one = caption_attention(FakeDecoder().train(), memory, tokens, PIECES, GRID, layers=[0])
    assert one.words == ["the", "plad", "70", "%"] and one.maps.shape == (4, *GRID)
    # layer 0: heads at cells p and p + 1; "the" (place 2) was written at place 1
    assert one.maps[0].reshape(-1)[[1, 2]].tolist() == [0.5, 0.5]
    # "plad": its pieces were written at places 2 and 3
    assert one.maps[1].reshape(-1)[[2, 3, 4]].tolist() == [0.25, 0.5, 0.25]
    both = caption_attention(FakeDecoder(), memory, tokens, PIECES, GRID)
    assert both.maps[0].reshape(-1)[[1, 2, 3]].tolist() == [0.25, 0.5, 0.25]
    np.testing.assert_allclose(both.maps.sum(axis=(1, 2, 3)), 1, rtol=1e-6)
    np.testing.assert_allclose(both.average, both.maps.mean(axis=0))
    assert both.on_whole == pytest.approx(0.25)
    assert np.array_equal(both.of("pLAD"), both.maps[1])
    np.testing.assert_allclose(both.of("the", "70"), both.maps[[0, 2]].mean(axis=0))
    with pytest.raises(DataError, match="no word .*D1.* in the report"):
        both.of("D1")


def test_the_clip_s_size_keeps_values_and_places() -> None:
    assert np.allclose(upsampled(np.full(GRID, 0.3), 8, 10, 12), 0.3)
    cells = np.zeros((2, 4, 4))
    cells[1, 0, 3] = 1
    large = upsampled(cells, 4, 16, 16)
    t, y, x = np.unravel_index(large.argmax(), large.shape)
    assert t >= 2 and y < 4 and x >= 12 and large.max() == 1 and large.min() == 0


def test_errors() -> None:
    tokens, memory = torch.arange(11)[None], torch.zeros(1, 13, 4)
    with pytest.raises(DataError, match="a piece for each token"):
        caption_attention(FakeDecoder(), memory, tokens, PIECES[:-1], GRID)
    with pytest.raises(DataError, match="one report"):
        caption_attention(FakeDecoder(), memory, tokens.repeat(2, 1), PIECES, GRID)


def test_an_empty_report_has_the_map_of_its_end() -> None:
    tokens, memory = torch.arange(3)[None], torch.zeros(1, 13, 4)
    found = caption_attention(FakeDecoder(), memory, tokens, ["[BOS]", "[CAP]", "[EOS]"], GRID)
    assert found.words == [] and found.maps.shape == (0, *GRID) and found.average.shape == GRID
    assert found.on_whole == pytest.approx(0.25)


def test_the_study_s_own_decoder(small_model) -> None:
    video, tokens = torch.rand(1, 3, 4, 8, 8), torch.tensor([[2, 5, 20, 21, 3]])
    with torch.no_grad():
        memory = memory_of(*small_model.video(video))
    pieces = ["[BOS]", "[CAP]", "plad", "70", "[EOS]"]
    found = caption_attention(small_model.caption, memory, tokens, pieces, small_model.video.grid)
    assert found.maps.shape == (2, 2, 2, 2) and found.words == ["plad", "70"]
    np.testing.assert_allclose(found.maps.sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    flipped = torch.cat([memory[:, :1], memory[:, 1:].flip(1)], dim=1)
    swapped = caption_attention(
        small_model.caption, flipped, tokens, pieces, small_model.video.grid
    )  # without positions in the memory's tokens, cross-attention follows them
    np.testing.assert_allclose(swapped.maps, found.maps[:, ::-1, ::-1, ::-1], rtol=1e-4)
