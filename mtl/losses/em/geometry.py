r"""Geometry loss: where the instance's centre lies, how its shape runs, and the picture itself.

The ``S + S^2 + 4`` channels are the direction, the structure tensor (row-major) and RGBA. With :math:`\ell`
the squared (or smooth L1) difference, :math:`F` the foreground voxels of a sample and :math:`R` the known
ones:

.. math:: L_\mathrm{dir} = \frac{1}{S |F|} \sum_{i \in F} \sum_c \ell(\hat d_{ic}, d_{ic}), \qquad
          L_\mathrm{cov} = \frac{1}{S^2 |F|} \sum_{i \in F} \sum_c \ell(\hat T_{ic}, T_{ic}), \qquad
          L_\mathrm{raw} = \frac{1}{4 |R|} \sum_{i \in R} \sum_c \ell(\sigma(\hat r_{ic}), r_{ic})

with :math:`r = (x, x, x, [i \in F])` for the image :math:`x`. A sample's loss is the weighted sum of the
terms it
has: without foreground only ``raw``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.errors import ParameterError
from mtl.losses.em.semantic import IGNORE, mean_over_samples, weighted_sum

DIFFERENCES: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "smooth_l1": F.smooth_l1_loss}
RAW_REGIONS = ("known", "foreground")
RGBA = 4


def geometry_channels(spatial_dims: int) -> int:
    """Channels of the geometry head: direction, structure tensor, RGBA."""
    return spatial_dims + spatial_dims**2 + RGBA


def geometry_loss(
    prediction: Tensor,
    labels: Tensor,
    image: Tensor,
    direction: Tensor | None,
    tensor: Tensor | None,
    weight_dir: float = 1.0,
    weight_cov: float = 1.0,
    weight_raw: float = 1.0,
    kind: str = "mse",
    raw_region: str = "known",
    ignore_index: int = IGNORE,
) -> dict[str, Tensor]:
    """Mean over the samples that have a term.

    These are the ones with a known voxel if there is ``raw`` and it wants known ones, else those with
    foreground.

    Args:
        prediction: ``(B, S + S^2 + 4, *sp)``.
        labels: ``(B, *sp)`` int64: ids, 0 background, ``ignore_index`` unknown (exactly zero gradient there).
        image: ``(B, 1, *sp)`` in [0, 1].
        direction: ``(B, S, *sp)``; tensor: ``(B, S^2, *sp)``. Each may be None if its weight is 0.
        weight_dir, weight_cov, weight_raw: of the terms; one of weight 0 is left out.
        kind: ``mse`` or ``smooth_l1``; raw_region: ``known`` or ``foreground``.

    Returns:
        ``geometry`` (the weighted sum) and its unweighted terms ``geometry/dir``, ``/cov``, ``/raw``:
        scalars.

    Raises:
        ParameterError: an unknown ``kind`` or ``raw_region``, or another number of channels.
    """
    if kind not in DIFFERENCES:
        raise ParameterError(f"kind: {kind!r} is not one of {', '.join(DIFFERENCES)}")
    if raw_region not in RAW_REGIONS:
        raise ParameterError(f"raw_region: {raw_region!r} is not one of {', '.join(RAW_REGIONS)}")
    dims = labels.dim() - 1
    if prediction.shape[1] != geometry_channels(dims):
        raise ParameterError(
            f"prediction has {prediction.shape[1]} channels; in {dims}-D the geometry has "
            f"{geometry_channels(dims)} (direction, structure tensor, RGBA)"
        )
    prediction = prediction if prediction.dtype == torch.float64 else prediction.float()
    foreground, known = labels > 0, labels != ignore_index
    region = known if raw_region == "known" else foreground
    counted = (region if weight_raw else foreground).flatten(1).any(1)
    ways, shape, colour = prediction.split([dims, dims**2, RGBA], dim=1)
    parts: dict[str, tuple[float, Tensor]] = {}
    for name, weight, found, wanted in (
        ("dir", weight_dir, ways, direction),
        ("cov", weight_cov, shape, tensor),
    ):
        if weight:
            term = _masked_mean(
                DIFFERENCES[kind](found, wanted.to(found.dtype), reduction="none"), foreground
            )
            parts[name] = weight, mean_over_samples(term, counted)
    if weight_raw:
        wanted = torch.cat(
            [image.to(colour.dtype).expand(-1, 3, *image.shape[2:]), foreground[:, None]], dim=1
        )
        term = _masked_mean(DIFFERENCES[kind](colour.sigmoid(), wanted, reduction="none"), region)
        parts["raw"] = weight_raw, mean_over_samples(term, counted)
    return weighted_sum("geometry", parts)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """``(B, C, *sp)`` to its mean over channels and the voxels of ``mask`` ``(B, *sp)``.

    ``(B,)``, 0 where the mask is empty.
    """
    kept = torch.where(mask[:, None], values, 0.0).flatten(1).sum(1)
    return kept / (values.shape[1] * mask.flatten(1).sum(1)).clamp_min(1)
