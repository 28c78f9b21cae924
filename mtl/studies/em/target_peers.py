"""EM targets as they are usually computed, one instance after the other with scipy: slow, and easy to check.

They are what `mtl.targets.em` is compared with, in its tests and in the benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

UNKNOWN = -100


def instance_ids(labels: NDArray[np.int64]) -> list[int]:
    """Ids of all instances."""
    return [int(number) for number in np.unique(labels) if number not in (0, UNKNOWN)]


def looped_targets(
    labels: NDArray[np.int64], spacing: Sequence[float], ids: Sequence[int] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Weight, direction to the centroid and structure tensor: every instance filters the whole crop.

    Args:
        ids: of the instances that are computed; all where not given.
    """
    ndim = labels.ndim
    targets = {"weight": np.zeros(labels.shape), "direction": np.zeros((ndim, *labels.shape))}
    targets["tensor"] = np.zeros((ndim * ndim, *labels.shape))
    for number in instance_ids(labels) if ids is None else ids:
        mask = labels == number
        depth = instance_distance(mask, spacing)
        targets["weight"][mask] = instance_weight(mask, depth)[mask]
        targets["direction"][:, mask] = towards_centroid(mask, spacing)
        tensor = instance_tensor(mask, depth, spacing)
        targets["tensor"][:, mask] = tensor[:, mask]
    return targets


def boxed_tensor(labels: NDArray[np.int64], spacing: Sequence[float]) -> NDArray[np.float64]:
    """The structure tensor with each instance in its bounding box and a margin that the filters need."""
    ndim = labels.ndim
    result = np.zeros((ndim * ndim, *labels.shape), np.float32)
    numbers = {number: place for place, number in enumerate(instance_ids(labels), start=1)}
    dense = np.zeros(labels.shape, np.int32)
    for number, place in numbers.items():
        dense[labels == number] = place
    reach = [max(1, int(4 * sigma / 3 + 0.5)) for sigma in sigmas_of(spacing)]
    for place, box in enumerate(ndimage.find_objects(dense), start=1):
        wide = tuple(
            slice(max(0, side.start - n), min(length, side.stop + n))
            for side, n, length in zip(box, reach, labels.shape, strict=True)
        )
        mask = dense[wide] == place
        tensor = instance_tensor(mask, instance_distance(mask, spacing), spacing)
        result[:, *wide][:, mask] = tensor[:, mask]
    return result


def instance_distance(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    """nm to the nearest voxel outside the instance; 0 where there is none."""
    if mask.all():
        return np.zeros(mask.shape)
    return ndimage.distance_transform_edt(mask, sampling=spacing)


def instance_weight(
    mask: NDArray[np.bool_], depth: NDArray[np.float64], edge: float = 10.0, bone: float = 10.0
) -> NDArray[np.float64]:
    """e * b of one instance, 0 outside."""
    inner = ndimage.binary_erosion(mask, np.ones((3,) * mask.ndim), border_value=1)
    highest = depth.max()
    relative = depth / highest if highest > 0 else depth
    return mask * np.where(inner, 1, edge) * (1 + (bone - 1) * relative)


def towards_centroid(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    """``(S, n)`` unit vectors of the instance's voxels."""
    positions = np.argwhere(mask).T * np.reshape(spacing, (-1, 1))
    offset = positions.mean(axis=1, keepdims=True) - positions
    length = np.linalg.norm(offset, axis=0)
    return np.where(length > 1e-3 * min(spacing), offset / np.maximum(length, 1e-12), 0)


def sigmas_of(spacing: Sequence[float], sigma: float = 5.0) -> list[float]:
    """Sigma in voxels of each axis."""
    return [sigma * min(spacing) / step for step in spacing]


def instance_tensor(
    mask: NDArray[np.bool_],
    depth: NDArray[np.float64],
    spacing: Sequence[float],
) -> NDArray[np.float64]:
    """``(S * S, *sp)`` of one instance.

    Mirrored at its sides: those of a box within the crop must lie as far away as the derivative reaches.
    """
    ndim, outer = mask.ndim, sigmas_of(spacing)
    gradient = [np.where(mask, instance_slope(depth, axis, spacing), 0) for axis in range(ndim)]
    norm = np.maximum(ndimage.gaussian_filter(mask.astype(float), outer, mode="constant"), 1e-30)
    tensor = np.zeros((ndim, ndim, *mask.shape))
    for a, b in combinations_with_replacement(range(ndim), 2):
        smoothed = ndimage.gaussian_filter(gradient[a] * gradient[b], outer, mode="constant") / norm
        tensor[a, b] = tensor[b, a] = smoothed
    isotropy = (depth / max(depth.max(), 1e-30)) ** 2
    trace = np.trace(tensor) / ndim
    tensor *= 1 - isotropy
    for axis in range(ndim):
        tensor[axis, axis] += isotropy * trace
    return tensor.reshape(ndim * ndim, *mask.shape)


def instance_slope(field: NDArray[np.float64], axis: int, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Derivative along one axis, smoothed along the others; the field is mirrored at its faces."""
    for other, sigma in enumerate(sigmas_of(spacing, 5 / 3)):
        if other == axis:
            field = ndimage.correlate1d(field, _slope_kernel(sigma), axis, mode="reflect") / spacing[axis]
        else:
            field = ndimage.gaussian_filter1d(field, sigma, other, mode="reflect")
    return field


def _slope_kernel(sigma: float) -> NDArray[np.float64]:
    """Derivative of a Gaussian for which the slope of a ramp is exact."""
    radius = max(1, int(4 * sigma + 0.5))
    offsets = np.arange(-radius, radius + 1)
    kernel = offsets * np.exp(-(offsets**2 - 1) / (2 * sigma**2))
    return kernel / (kernel * offsets).sum()
