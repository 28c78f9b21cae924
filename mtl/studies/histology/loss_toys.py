"""The eight losses one by one, on a made-up scene: where each does what it is meant to, and where it does
not.

The scene has three nuclei: one is outlined, one touches it, one lies apart; nobody has drawn the last two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from mtl.losses.histology import LossConfig
from mtl.losses.histology.contrast import pixel_loss, prototype_loss
from mtl.losses.histology.pseudo_labels import pseudo_labels
from mtl.losses.histology.regression import hv_loss
from mtl.losses.histology.segmentation import edge_loss, outline_band, segmentation_loss
from mtl.losses.histology.smoothness import local_disagreement, total_variation
from mtl.targets.histology import distance_map

SIDE = 56
CONFIG = LossConfig()
#: Row, column and radius of the nuclei: outlined, touching it, apart.
DISCS = ((20, 17, 10), (20, 37, 9), (44, 40, 8))


@dataclass(frozen=True)
class Case:
    """What the network says ``(H, W)``, what that costs, and minus the gradient: where it would be moved."""

    said: np.ndarray
    value: float | None
    push: np.ndarray


@dataclass(frozen=True)
class Toy:
    """One loss: what it aims at ``(H, W)``, a case where it helps and one where it does not, and why."""

    loss: str
    target: np.ndarray
    works: Case
    fails: Case
    why_works: str
    why_fails: str


def scene() -> np.ndarray:
    """Instances 1, 2, 3 ``(H, W)``."""
    y, x = np.mgrid[:SIDE, :SIDE]
    instances = np.zeros((SIDE, SIDE), np.int32)
    for number, (cy, cx, r) in enumerate(DISCS, start=1):
        instances[(np.hypot(y - cy, x - cx) < r) & (instances == 0)] = number
    return instances


def toys() -> list[Toy]:
    """All eight, in their order."""
    return [_segmentation(), _edge(), _hv(), _recon(), _prototypes(), _pixels(), _variation(), _holes()]


def _segmentation() -> Toy:
    y, everything = _outlined(), scene() > 0
    sees = _logits(everything, 4.0)
    shy = _logits(everything, 4.0)
    shy[..., torch.from_numpy(scene() == 3)] = -1.6  # p = 0.17: below the threshold of a pseudo-negative
    cost = lambda z: segmentation_loss(z, y, pseudo_labels(z.sigmoid(), y, CONFIG), CONFIG)  # noqa: E731
    return Toy(
        "segmentation", _of_pseudo(sees, y),
        _case(cost, sees, torch.sigmoid), _case(cost, shy, torch.sigmoid),
        "nuclei that nobody drew are confirmed by pseudo-labels",
        "a nucleus that the network doubts becomes a pseudo-negative and is pushed down",
    )  # fmt: skip


def _edge() -> Toy:
    y = _outlined()
    soft = torch.tensor(gaussian_filter((scene() > 0).astype(np.float32), 2.0))[None, None]
    blurred = torch.logit(soft.clamp(0.02, 0.98))
    alone = blurred.clone()
    alone[..., torch.from_numpy(scene() == 2)] = -1.0  # the neighbour is not seen yet
    cost = lambda z: edge_loss(z, y, z.detach().sigmoid())  # noqa: E731
    return Toy(
        "edge", outline_band(y)[0, 0].numpy(),
        _case(cost, blurred, torch.sigmoid), _case(cost, alone, torch.sigmoid),
        "a blurred outline is sharpened; where the neighbour is seen, its side is left alone",
        "a neighbour that is not seen yet is pushed down along the contact",
    )  # fmt: skip


def _hv() -> Toy:
    labels, both = scene(), np.isin(scene(), (1, 2))
    mask = torch.tensor(both, dtype=torch.float32)[None, None]
    two = np.where(both, labels, 0)
    apart, joined = (_tensor(distance_map(ids)[0]) for ids in (two, both.astype(np.int32)))
    guess = torch.full_like(apart, 0.6)
    return Toy(
        "hv", apart[0, 0].numpy(),
        _case(lambda h: hv_loss(h, apart, mask), guess), _case(lambda h: hv_loss(h, joined, mask), guess),
        "two nuclei outlined one by one have two centres: the map parts them",
        "outlined as one, they have a single centre between them",
    )  # fmt: skip


def _recon() -> Toy:
    image = 0.85 - 0.45 * (scene() > 0) + 0.08 * _noise(3.0)
    blurred = gaussian_filter(image, 3.0)
    aim = _tensor(image)
    squared = lambda x: (x - aim).square().mean()  # noqa: E731
    copied = _tensor(image + 0.002)
    return Toy(
        "recon", image,
        _case(squared, _tensor(blurred)), _case(squared, copied),
        "what the bottleneck forgets of the picture, nuclei among it, is asked for",
        "a picture that is copied well costs nothing, whether nuclei are understood or not",
    )  # fmt: skip


def _prototypes() -> Toy:
    y, everything = _outlined(), scene() > 0
    embedding = _embedding(everything, 0.5)
    right = _tensor((~everything).astype(np.float32))
    wrong = 1 - y  # all that is not outlined taken for background, the other nuclei too
    cost = lambda negative: lambda e: prototype_loss(_unit(e), y, negative, CONFIG).value  # noqa: E731
    return Toy(
        "obj_emb", y[0, 0].numpy() - right[0, 0].numpy(),
        _case(cost(right), embedding, _first), _case(cost(wrong), embedding, _first),
        "features of nuclei and of background gather at two prototypes",
        "with undrawn nuclei among the negatives the prototypes move together and nuclei repel nuclei",
    )  # fmt: skip


def _pixels() -> Toy:
    y, everything = _outlined(), scene() > 0
    embedding = _embedding(everything, 0.5)
    sure = _tensor(np.where(everything, 0.9, 0.02).astype(np.float32))
    unsure = torch.full_like(sure, 0.4)

    def cost(probability: Tensor) -> Callable[[Tensor], Tensor]:
        torch.manual_seed(0)
        return lambda e: pixel_loss(_unit(e), y, probability, CONFIG).value

    there = bool(pixel_loss(_unit(embedding), y, unsure, CONFIG).there)
    absent = _case(cost(unsure), embedding, _first)
    return Toy(
        "pixel_con", y[0, 0].numpy() - (sure < 0.1)[0, 0].float().numpy(),
        _case(cost(sure), embedding, _first), absent if there else Case(absent.said, None, absent.push),
        "single pixels of nuclei attract one another and repel sure background",
        "while the network is unsure everywhere no pixel qualifies as a negative: there is no loss",
    )  # fmt: skip


def _variation() -> Toy:
    clean = (scene() > 0).astype(np.float32)
    speckled = _logits(clean > 0, 3.0) + 2.5 * _tensor(_noise(0.0))
    tiny = _logits(np.hypot(*(np.mgrid[:SIDE, :SIDE] - 28)) < 3, 3.0)
    cost = lambda z: total_variation(z.sigmoid())  # noqa: E731
    return Toy(
        "total_var", clean, _case(cost, speckled, torch.sigmoid), _case(cost, tiny, torch.sigmoid),
        "speckle is smoothed away",
        "the cheapest small nucleus is none: its outline is all that counts",
    )  # fmt: skip


def _holes() -> Toy:
    holed = scene() == 1
    holed[18:21, 15:18] = False
    gap = np.isin(scene(), (1, 2)) & ~(np.abs(np.mgrid[:SIDE, :SIDE][1] - 27) < 2)
    cost = lambda z: local_disagreement(z.sigmoid())  # noqa: E731
    return Toy(
        "small_hole", (scene() > 0).astype(np.float32),
        _case(cost, _logits(holed, 3.0), torch.sigmoid), _case(cost, _logits(gap, 3.0), torch.sigmoid),
        "a small hole in a nucleus is filled",
        "a thin gap between two nuclei is a small hole as well",
    )  # fmt: skip


def _case(
    cost: Callable[[Tensor], Tensor], said: Tensor, shown: Callable[[Tensor], Tensor] = lambda x: x
) -> Case:
    leaf = said.clone().requires_grad_()
    value = cost(leaf)
    (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True)
    gradient = torch.zeros_like(leaf) if gradient is None else gradient
    return Case(shown(said)[0, 0].numpy(), float(value.detach()), -gradient[0, 0].numpy())


def _outlined() -> Tensor:
    return _tensor((scene() == 1).astype(np.float32))


def _logits(mask: np.ndarray, size: float) -> Tensor:
    return _tensor(np.where(mask, size, -size).astype(np.float32))


def _of_pseudo(logits: Tensor, y: Tensor) -> np.ndarray:
    """1 outlined, 0.5 pseudo-positive, -0.5 pseudo-negative, 0 neither."""
    found = pseudo_labels(logits.sigmoid(), y, CONFIG)
    return (y + 0.5 * found.positive - 0.5 * found.negative)[0, 0].numpy()


def _embedding(nuclei: np.ndarray, contrast: float) -> Tensor:
    """Two channels: the first is higher in nuclei."""
    first = contrast * (2.0 * nuclei - 1) + 0.6 * _noise(1.5)
    return torch.tensor(np.stack([first, np.ones_like(first)])[None], dtype=torch.float32)


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=1)


def _first(x: Tensor) -> Tensor:
    return _unit(x)[:, :1]


def _tensor(plane: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(plane, np.float32))[None, None]


def _noise(length: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((SIDE, SIDE))
    noise = gaussian_filter(noise, length) if length else noise
    return noise / noise.std()
