"""Benchmark A3: an encoder of the visible tubelets only, against all of them (ViT-S, 1,568 tubelets)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from mtl.models.angiography import MaskedVideoModeling, VideoEncoder
from mtl.models.angiography.mask_shapes import drawn_mask
from mtl.studies.angiography.masked_peers import encoded_in_full, video_mae
from mtl.timing import Case

#: Share of hidden tubelets, and how many times as fast as with all of them is hoped for.
RATIOS = ((0.75, 5.8), (0.9, 14.0))
VIDEO_MAE_GOAL = 1.0
#: Of the gradient's norm: twelve layers in float32, sums in another order.
TOLERANCE = 1e-4
Step = Callable[[], tuple[Tensor, ...]]


def vit_s() -> VideoEncoder:
    """ViT-S over 16 frames of 224 x 224: 8 x 14 x 14 tubelets."""
    torch.manual_seed(0)
    return VideoEncoder(16, 224, (2, 16, 16), width=384, depth=12, heads=6, pool="mean")


def masked_cases(
    encoder: VideoEncoder | None = None, ratios: Sequence[tuple[float, float]] = RATIOS
) -> list[Case]:
    """A3: one clip, forward and backward; ``(ratio, goal)`` each. First the encoder, then the whole step."""
    encoder = vit_s() if encoder is None else encoder
    video = made_clip(encoder)
    cases = []
    for ratio, goal in ratios:
        keep, _ = drawn_mask(encoder.grid, 1, ratio, generator=torch.Generator().manual_seed(0))
        # A fixed random weighting of the outputs: the sum of a layer norm's output would have no gradient.
        weights = torch.randn(1, keep.shape[1], encoder.width, generator=torch.Generator().manual_seed(1))
        ours = step(encoder, lambda k=keep, w=weights: (encoder.encode_visible(video, k) * w).sum())
        theirs = step(encoder, lambda k=keep, w=weights: (encoded_in_full(encoder, video, k) * w).sum())
        what = f"encoder, {video_tokens(encoder)} tubelets, {100 * ratio:.0f} % hidden, forward and backward"
        gate = lambda a=ours, b=theirs: gradient_gate(a(), b())  # noqa: E731
        cases.append(Case("A3", what, "all tubelets, hidden ones not looked at", ours, theirs, gate, goal))
        cases.append(_whole_step(encoder, video, ratio))
        if find_spec("transformers") is not None:
            cases.append(_against_video_mae(encoder, video, keep, what, ours))
    return cases


def made_clip(encoder: VideoEncoder) -> Tensor:
    """``(1, C, T, H, W)`` of noise in [0, 1]."""
    sides = [cells * size for cells, size in zip(encoder.grid, encoder.tubelet, strict=True)]
    return torch.rand(1, encoder.in_channels, *sides, generator=torch.Generator().manual_seed(0))


def video_tokens(encoder: VideoEncoder) -> int:
    """Tubelets of the longest clip."""
    return encoder.grid[0] * encoder.grid[1] * encoder.grid[2]


def step(network: torch.nn.Module, loss: Callable[[], Tensor]) -> Step:
    """Gradients of all parameters that the loss depends on."""
    parameters = [
        p for name, p in network.named_parameters() if not name.startswith(("pool.", "encoder.pool."))
    ]
    return lambda: torch.autograd.grad(loss(), parameters)


def gradient_gate(found: Sequence[Tensor], expected: Sequence[Tensor]) -> str:
    """Raises ``AssertionError`` where the gradient is off by more than `TOLERANCE` of its norm."""
    apart = sum(float((a - b).square().sum()) for a, b in zip(found, expected, strict=True)) ** 0.5
    gap = apart / sum(float(b.square().sum()) for b in expected) ** 0.5
    assert gap <= TOLERANCE, f"gradients differ by {gap:.1e} of their norm"
    return f"gradients off by {gap:.1e} of their norm"


def _whole_step(encoder: VideoEncoder, video: Tensor, ratio: float) -> Case:
    """With the decoder, which sees all places on both sides: no goal is set for it."""
    torch.manual_seed(0)
    model = MaskedVideoModeling(encoder, ratio=ratio)

    def loss(all_tokens: bool) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        output = model(video, generator=generator, all_tokens=all_tokens)
        return (output["masked_prediction"] - output["masked_target"]).square().mean()

    ours, theirs = step(model, lambda: loss(False)), step(model, lambda: loss(True))
    what = f"encoder, decoder and loss, {video_tokens(encoder)} tubelets, {100 * ratio:.0f} % hidden"
    return Case(
        "A3", what, "all tubelets in the encoder", ours, theirs, lambda: gradient_gate(ours(), theirs())
    )


def _against_video_mae(encoder: VideoEncoder, video: Tensor, keep: Tensor, what: str, ours: Step) -> Case:
    """Another network of the same size: only the shape of what it gives can be compared."""
    model = video_mae(encoder)
    hidden = torch.ones(1, video_tokens(encoder), dtype=torch.bool).scatter_(1, keep, False)
    frames = video.transpose(1, 2).contiguous()
    encode = lambda: model(frames, bool_masked_pos=hidden).last_hidden_state  # noqa: E731
    parameters = list(model.parameters())
    theirs = lambda: torch.autograd.grad(encode().square().sum(), parameters, allow_unused=True)  # noqa: E731

    def gate() -> str:
        found, expected = (1, keep.shape[1], encoder.width), tuple(encode().shape)
        assert found == expected, f"{found} tokens, not {expected}"
        return "as many tokens of the same width; other weights"

    return Case("A3", what, "Hugging Face VideoMAE", ours, theirs, gate, VIDEO_MAE_GOAL)
