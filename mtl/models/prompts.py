r"""Point prompts: clicks as tensors, painted into a volume, encoded to a residual, or as embeddings.

The encoder's input has :math:`C + 3` sparse channels: positive points, negative points, the one-hot target
class at all points, and the instance indicator at positive points. Its output

.. math:: r = g \odot \mathrm{ReLU}(\mathrm{norm}(W * x)), \qquad
          \mathrm{norm}(h)_c = s_c h_c / \sqrt{\overline{h^2}}

has no bias anywhere, so that it is exactly zero where no point is in reach, and everywhere without points.
The norm runs over the channels of a voxel: one over the volume would let every click touch all of it.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.models.local_layers import ChannelNorm, convolve, local_convolution
from mtl.models.voxel_places import flat_places

POSITIVE, NEGATIVE, PADDING = 1, 0, -1


class PointPrompts(NamedTuple):
    """Clicks of a batch; their order does not matter, and a point given twice counts once.

    ``points`` ``(B, P, S)`` int64 voxel indices in the axis order of the volume (z, y, x or y, x); ``labels``
    ``(B, P)`` int: 1 positive, 0 negative, -1 padding (its coordinates do not matter).
    """

    points: Tensor
    labels: Tensor


def check_points(
    prompts: PointPrompts, shape: tuple[int, ...], sample_names: list[str] | None = None
) -> None:
    """Refuse points that a volume of ``shape`` does not hold; for tensors on the CPU (where a batch is made).

    Raises:
        ParameterError: names the sample, the point and the shape; or the label, or the tensor's shape or
        type.
    """
    points, labels = prompts
    dims = len(shape)
    if points.dim() != 3 or points.shape[2] != dims or labels.shape != points.shape[:2]:
        raise ParameterError(
            f"points {tuple(points.shape)} with labels {tuple(labels.shape)}: (B, P, {dims}) and (B, P) are "
            f"expected for volumes of shape {tuple(shape)}"
        )
    if points.is_floating_point() or labels.is_floating_point():
        raise ParameterError(f"points are {points.dtype}, labels {labels.dtype}: integers are expected")
    if len(wrong := labels[(labels < PADDING) | (labels > POSITIVE)]):
        raise ParameterError(f"point label {int(wrong[0])}: 1 positive, 0 negative or -1 padding is expected")
    outside = ((points < 0) | (points >= torch.tensor(shape))).any(2) & (labels != PADDING)
    if outside.any():
        b, p = (int(i) for i in outside.nonzero()[0])
        name = f"sample {b}" if sample_names is None else f"sample {sample_names[b]!r}"
        raise ParameterError(
            f"{name}: point {tuple(points[b, p].tolist())} lies outside the volume of shape {tuple(shape)} "
            "(axis order as in the volume, indices from 0)"
        )


def check_prompts(prompts: PointPrompts, semantic_ids: Tensor | None, batch: Tensor, n_classes: int) -> None:
    """Refuse prompts that do not fit a batch ``(B, channels, *sp)``. Raises ``ParameterError``."""
    if len(prompts.points) != len(batch) or (semantic_ids is not None and len(semantic_ids) != len(batch)):
        classes = "" if semantic_ids is None else f" and {len(semantic_ids)} semantic_ids"
        raise ParameterError(
            f"{len(prompts.points)} rows of points{classes} for a batch of {len(batch)}: one each is expected"
        )
    if prompts.points.is_cuda:
        return  # it would have to be waited for; there, who makes the batch has checked it
    check_points(prompts, tuple(batch.shape[2:]))
    if semantic_ids is not None:
        check_classes(semantic_ids, n_classes)


def paint(points: Tensor, values: Tensor, shape: tuple[int, ...], offsets: Tensor | None = None) -> Tensor:
    """Zeros but for ``values`` at ``points``.

    ``points`` ``(B, P, S)`` and ``values`` ``(B, P, M)`` in [0, 1] to ``(B, M, *shape)``. Where several
    points meet, the sum is cut at 1. ``offsets`` ``(O, S)`` makes every point a figure; what of it lies
    outside is cut off. Works without asking the device for anything.
    """
    places = points[:, :, None] if offsets is None else points[:, :, None] + offsets
    index, inside = flat_places(places, shape)
    index = index.flatten(1)
    spread = torch.where(inside[..., None], values[:, :, None], 0.0).flatten(1, 2).transpose(1, 2)
    canvas = values.new_zeros(len(points), values.shape[2], shape_size(shape))
    canvas.scatter_add_(2, index[:, None].expand_as(spread), spread)
    return canvas.clamp_(max=1).view(len(points), -1, *shape)


def shape_size(shape: tuple[int, ...]) -> int:
    """Voxels of a volume of ``shape``."""
    return torch.Size(shape).numel()


def click_balls(prompts: PointPrompts, shape: tuple[int, ...], offsets: Tensor) -> Tensor:
    """Balls of 1 around positive (channel 0) and negative (channel 1) points: ``(B, 2, *shape)`` float32."""
    kinds = torch.stack([prompts.labels == POSITIVE, prompts.labels == NEGATIVE], dim=2)
    return paint(prompts.points, kinds.float(), shape, offsets)


def ball_offsets(radius: float, spacing: tuple[float, ...]) -> Tensor:
    """Offsets ``(O, S)`` int64 of the voxels within ``radius`` steps of the finest axis of ``spacing``."""
    steps = [length / min(spacing) for length in spacing]
    ranges = [range(-int(radius / step), int(radius / step) + 1) for step in steps]
    inside = [
        offset
        for offset in product(*ranges)
        if sum((o * step) ** 2 for o, step in zip(offset, steps, strict=True)) <= radius**2
    ]
    return torch.tensor(inside, dtype=torch.int64)


def point_indicator(
    prompts: PointPrompts, semantic_ids: Tensor, n_classes: int, shape: tuple[int, ...]
) -> Tensor:
    """The encoder's input ``(B, n_classes + 3, *shape)`` float32, of 0 and 1.

    Channels: [0] positive points, [1] negative points, [2 .. n_classes + 1] one-hot of the sample's target
    class ``semantic_ids`` ``(B,)`` at all points, [-1] instance indicator at positive points.
    """
    positive, negative = prompts.labels == POSITIVE, prompts.labels == NEGATIVE
    classes = torch.arange(n_classes, device=semantic_ids.device) == semantic_ids[:, None, None]
    of_class = classes & (positive | negative)[:, :, None]
    values = torch.cat([torch.stack([positive, negative], 2), of_class, positive[:, :, None]], dim=2)
    return paint(prompts.points, values.float(), shape)


class PointPromptEncoder(nn.Module):
    """Points to a residual for features, near zero at first and exactly zero out of reach.

    The convolution starts with standard deviation 1e-4 and the gate near zero, so that training starts as in
    automatic mode. The norm alone would not keep the residual small: it lifts it to unit variance as soon
    as the weights have grown.

    Args:
        n_classes: of the semantic head; channels: of the features; spatial_dims: 2 or 3.
    """

    #: Voxels along each axis that a point's residual reaches.
    reach = 1
    #: The gate is this times its parameter: an optimiser that moves every parameter by about the learning
    #: rate per step (Adam) would otherwise need a thousand steps to open it.
    gain = 10.0

    def __init__(self, n_classes: int, channels: int, spatial_dims: int = 3) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.convolution = local_convolution(spatial_dims, n_classes + 3, channels, bias=False)
        nn.init.normal_(self.convolution.weight, std=1e-4)
        self.norm = ChannelNorm(channels)
        self.gate = nn.Parameter(torch.full((channels,), 1e-3))

    def forward(self, prompts: PointPrompts, semantic_ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Residual ``(B, channels, *shape)``.

        Args:
            prompts: inside ``shape`` (on the CPU checked here, elsewhere by :func:`check_points` beforehand).
            semantic_ids: ``(B,)`` int64, the class that the points mean.

        Raises:
            ParameterError: points outside, or a class that there is not.
        """
        if not prompts.points.is_cuda:
            check_points(prompts, shape)
            check_classes(semantic_ids, self.n_classes)
        return self.residual(self.indicator(prompts, semantic_ids, shape))

    def indicator(self, prompts: PointPrompts, semantic_ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """:func:`point_indicator` in the type of the weights."""
        return point_indicator(prompts, semantic_ids, self.n_classes, shape).to(self.convolution.weight.dtype)

    def residual(self, indicator: Tensor, padded: bool = True) -> Tensor:
        """``(B, n_classes + 3, *sp)`` to ``(B, channels, *sp)``; not ``padded``, 2 voxels less a side."""
        hidden = self.norm(convolve(self.convolution, indicator, padded)).relu()
        return hidden * (self.gain * self.gate).view(-1, *[1] * (indicator.dim() - 2))


def check_classes(semantic_ids: Tensor, n_classes: int) -> None:
    """Refuse class ids outside 0..n_classes-1 (CPU). Raises ``ParameterError``."""
    if len(wrong := semantic_ids[(semantic_ids < 0) | (semantic_ids >= n_classes)]):
        raise ParameterError(f"semantic_ids: class {int(wrong[0])} is not one of 0 to {n_classes - 1}")


def embeddings_at(embedding: Tensor, prompts: PointPrompts) -> Tensor:
    """Embedding of every point's voxel: ``(B, E, *sp)`` to ``(B, P, E)``; that of padding is arbitrary."""
    index, _ = flat_places(prompts.points, tuple(embedding.shape[2:]))
    flat = embedding.flatten(2)
    return flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


def embedding_logits(embedding: Tensor, prompts: PointPrompts, delta_d: float = 1.5) -> Tensor:
    r"""Log-odds of every voxel to belong to the prompted object, from distances in embedding space alone.

    .. math:: z_i = \min(|f_i - \mu_-|, \delta_d)^2 - |f_i - \mu_+|^2

    with the mean embeddings :math:`\mu_\pm` at positive and negative points (without negative ones
    :math:`|f_i - \mu_-|` is endless): above 0 where nearer to the positive points, and within ``delta_d``.
    After Snell, Swersky and Zemel, *Prototypical Networks for Few-shot Learning*, NeurIPS 2017.

    Returns:
        ``(B, 1, *sp)``, float32 at least; a sample without a positive point has ``-inf`` everywhere.
    """
    embedding = embedding if embedding.dtype == torch.float64 else embedding.float()
    at_points = embeddings_at(embedding, prompts)
    squares = []
    for kind in (POSITIVE, NEGATIVE):
        chosen = (prompts.labels == kind)[:, :, None]
        mean = torch.where(chosen, at_points, 0.0).sum(1) / chosen.sum(1).clamp_min(1)
        away = (embedding.flatten(2) - mean[:, :, None]).square().sum(1, keepdim=True)
        squares.append(torch.where(chosen.any(1, keepdim=True), away, torch.inf))
    logits = squares[1].clamp_max(delta_d**2) - squares[0]
    return logits.view(len(embedding), 1, *embedding.shape[2:])
