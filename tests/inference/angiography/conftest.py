"""A captioner small enough to be followed by hand, and one of the study's own models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

PAD, EOS, BOS, CAP, AREF = 0, 3, 2, 5, 6
FIRST_WORD = 10


class FakeVideo(nn.Module):
    """One token per video, (mean grey value, 1 - mean), which is the pooled vector as well."""

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        assert not self.training and not torch.is_grad_enabled()
        mean = video.mean(dim=(1, 2, 3, 4))
        pooled = torch.stack([mean, 1 - mean], dim=1)
        return pooled[:, None], pooled


class FakeCaption(nn.Module):
    """Writes one word, the grey value in tenths, and the end; remembers how it was asked."""

    pad = PAD

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[tuple[int, ...], int, str, dict]] = []

    def generate(self, memory: Tensor, prefix: Tensor, max_length: int, method: str = "greedy", **options):
        assert not self.training
        self.calls.append((tuple(prefix.shape), max_length, method, options))
        word = FIRST_WORD + (10 * memory[:, 0, 0]).round().long()[:, None]
        end = torch.full_like(word, EOS)
        return torch.cat([prefix, word, end, torch.zeros_like(word)], dim=1)


class FakeModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.video, self.caption = FakeVideo(), FakeCaption()

    def embed_video(self, video: Tensor) -> Tensor:
        return self.video(video)[1]


@pytest.fixture
def fake() -> FakeModel:
    return FakeModel()


def batch_of(greys: list[float], first: int = 0) -> dict:
    """Clips of one grey value each, and their lists."""
    numbers = range(first, first + len(greys))
    return {
        "video": torch.stack([torch.full((3, 2, 4, 4), grey) for grey in greys]),
        "studies": [f"s{i // 2}" for i in numbers],
        "texts": [f"report {i}" for i in numbers],
        "ids": [f"c{i}" for i in numbers],
    }


@pytest.fixture
def loader() -> list[dict]:
    return [batch_of([0.2, 0.5]), batch_of([0.9], first=2)]


@pytest.fixture
def small_model() -> nn.Module:
    """The study's model at its smallest: a grid of 2 x 2 x 2 tubelets, a vocabulary of 40."""
    from mtl.models.angiography import VideoTextModel

    torch.manual_seed(0)
    return VideoTextModel(
        vocabulary=40, width=16, heads=2, context=24, frames=4, image_size=8, tubelet=(2, 4, 4),
        video_depth=1, text_depth=1, caption_depth=2, masked_width=8, masked_depth=1,
    )  # fmt: skip
