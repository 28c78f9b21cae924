"""What the study's maps and losses are measured against: the same, the way they are usually written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from mtl.losses.histology import LossConfig


def looped_hover_maps(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """``(2, H, W)``: every nucleus in its bounding box, one after the other."""
    maps = np.zeros((2, *labels.shape), np.float32)
    for number in np.unique(labels)[1:]:
        mask = labels == number
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        inside = mask[box]
        centre = ndimage.center_of_mass(inside)
        for channel, axis in ((0, 1), (1, 0)):
            steps = np.arange(inside.shape[axis]) - centre[axis]
            away = np.broadcast_to(steps[None] if axis else steps[:, None], inside.shape) * inside
            away = away.astype(np.float32)
            away[away < 0] /= -away.min() or 1
            away[away > 0] /= away.max() or 1
            maps[channel][box][inside] = away[inside]
    return maps


def monai_hover_maps(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """``(2, H, W)`` by MONAI's ``ComputeHoVerMaps``."""
    from monai.transforms import ComputeHoVerMaps

    return np.asarray(ComputeHoVerMaps()(labels[None]))


def usual_losses(
    output: Mapping[str, Tensor], y: Tensor, target_hv: Tensor, images: Tensor, config: LossConfig
) -> Tensor:
    """The weighted sum of the eight losses, image by image where that is how it is usually written.

    Embeddings have the size of the image, as the network gives them without ``native``. The pixel contrast
    takes the first pixels of each kind instead of random ones, so that two sides can be compared.
    """
    z, p = output["preds"], output["preds"].sigmoid()
    guess = p.detach()
    positive, negative = (guess > config.confident) & (y < 0.5), (guess < config.unlikely) & (y < 0.5)
    losses = {
        "alpha_seg": _segmentation(z, y, positive.float(), negative.float(), config),
        "alpha_edge": _edge(z, y, guess),
        "alpha_hv": _per_image((output["hv_map"] - target_hv).square(), y),
        "alpha_recon": F.mse_loss(output["recon"], images),
        "alpha_obj_emb": _prototypes(output["obj_emb"], y, negative.float(), config),
        "alpha_pixel_con": _pixels(output["pixel_emb"], y, guess, config),
        "alpha_var": (p[..., 1:] - p[..., :-1]).abs().mean() + (p[..., 1:, :] - p[..., :-1, :]).abs().mean(),
        "alpha_small_hole": _disagreement(p),
    }
    return sum(getattr(config, alpha) * loss for alpha, loss in losses.items())


def _segmentation(z: Tensor, y: Tensor, positive: Tensor, negative: Tensor, config: LossConfig) -> Tensor:
    target = (y + positive).clamp(max=1)
    weight = y + config.pseudo_weight * (positive + negative)
    cross_entropy = (
        F.binary_cross_entropy_with_logits(z, target, weight=weight, reduction="sum") / weight.sum()
    )
    dices = []
    for logits, c, known in zip(z.sigmoid(), target, y + positive + negative, strict=True):
        inside, wanted = logits[known > 0], c[known > 0]
        dices.append(
            1 - (2 * (inside * wanted).sum() + 1) / (inside.square().sum() + wanted.square().sum() + 1)
        )
    outside = z[y < 0.5]
    background = F.binary_cross_entropy_with_logits(outside, torch.zeros_like(outside))
    return 0.5 * cross_entropy + 0.5 * torch.stack(dices).mean() + config.background_weight * background


def _edge(z: Tensor, y: Tensor, guess: Tensor) -> Tensor:
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([kernel, kernel.T])[:, None].to(y.dtype)
    gradient = F.conv2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), kernels)
    band = (gradient.square().sum(1, keepdim=True) > 0) & ((y > 0.5) | (guess < 0.5))
    return F.binary_cross_entropy_with_logits(z[band], y[band])


def _per_image(squared: Tensor, y: Tensor) -> Tensor:
    means = [values[mask > 0.5].mean() for values, mask in zip(squared, y, strict=True) if (mask > 0.5).any()]
    return torch.stack(means).mean()


def _prototypes(o: Tensor, y: Tensor, negative: Tensor, config: LossConfig) -> Tensor:
    def level(features: Tensor, a: Tensor, n: Tensor) -> Tensor:
        anchors = features[:, a]
        plus, minus = F.normalize(anchors.sum(1), dim=0), F.normalize(features[:, n].sum(1), dim=0)
        logits = torch.stack([plus @ anchors, minus @ anchors], dim=1) / config.temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))

    images = [
        level(f.flatten(1), a.flatten() > 0.5, n.flatten() > 0.5)
        for f, a, n in zip(o, y, negative, strict=True)
    ]
    joined = o.transpose(0, 1).flatten(1)
    batch = level(joined, y.flatten() > 0.5, negative.flatten() > 0.5)
    return config.image_weight * torch.stack(images).mean() + config.batch_weight * batch


def _pixels(e: Tensor, y: Tensor, guess: Tensor, config: LossConfig) -> Tensor:
    losses = []
    for features, mask, p in zip(e.flatten(2), y.flatten(1), guess.flatten(1), strict=True):
        a = features[:, mask > 0.5][:, : config.most_pixels].T
        r = features[:, (mask < 0.5) & (p < config.negative_below)][:, : config.most_pixels].T
        similar = torch.exp(a @ torch.cat([a, r]).T / config.temperature)
        itself = F.pad(torch.eye(len(a)), (0, len(r)))
        similar = similar * (1 - itself)
        losses.append(-torch.log(similar[:, : len(a)].sum(1) / similar.sum(1)).mean())
    return torch.stack(losses).mean()


def _disagreement(p: Tensor) -> Tensor:
    d = F.conv2d(F.pad(p, (1, 1, 1, 1), mode="reflect"), torch.full((1, 1, 3, 3), 1 / 9, dtype=p.dtype))
    return (p * (1 - d) + (1 - p) * d).mean()
