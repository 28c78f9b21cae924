r"""Structure tensor of the distance transform: along which way an instance runs at every voxel.

.. math:: T = \frac{G_\sigma * (g g^\top)}{G_\sigma * 1}, \qquad g = \nabla_{\sigma/3} D

inside each instance alone (a normalised convolution: neither neighbours nor what lies beyond the crop take
part), then blended to isotropy where the gradient has no direction, near the medial axis:

.. math:: (1 - w)\, T + w \frac{\operatorname{tr} T}{S} I, \qquad w = (D / \max_\mathrm{instance} D)^2 .

:math:`D` is an instance's distance (0 outside it), :math:`\sigma` counts voxels of the finest axis and is
the same length in nm along all axes. Symmetric and positive semi-definite.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from mtl.errors import ParameterError
from mtl.targets.em.boxes import tiles_of
from mtl.targets.em.gaussian import reach, slope_matrix, smoothing_matrix, window_matrix
from mtl.targets.instances import Instances

CACHED = 2**16  # numbers worked on at a time: they stay in a core's own cache


def tensor_of_distance(instances: Instances, sigma: float = 5.0) -> NDArray[np.float32]:
    """``(S * S, *sp)`` row-major, axes in the order of the labels; 0 in background and unknown.

    Also 0 where there is no gradient: a one-voxel instance, an instance that fills the crop. Raises
    ParameterError for a window that is not above 0.
    """
    if not 0 < sigma < np.inf:
        raise ParameterError(
            f"sigma = {sigma}: a finite number above 0 is expected, voxels of the finest axis"
        )
    shape, spacing = instances.ids.shape, instances.spacing
    sigmas = tuple(sigma * min(spacing) / step for step in spacing)
    with _blas().limit(limits=1, user_api="blas"):
        slopes = _slopes(instances, sigmas)
        pairs = list(combinations_with_replacement(range(len(shape)), 2))
        sums = _sums_of_products(instances, slopes, sigmas, pairs)
    return _blended(sums, instances.relative_distance, pairs)


@cache
def _blas() -> ThreadpoolController:
    """Loader workers share the cores: a product of small matrices runs on one thread."""
    return ThreadpoolController()


def _slopes(instances: Instances, sigmas: Sequence[float]) -> NDArray[np.float32]:
    """``(S, *sp)``: at each instance voxel the gradient of its own instance's distance."""
    ids, ndim = instances.ids, instances.ids.ndim
    smooth = [smoothing_matrix(n, s / 3) for n, s in zip(ids.shape, sigmas, strict=True)]
    derive = [
        slope_matrix(n, s / 3) / np.float32(step)
        for n, s, step in zip(ids.shape, sigmas, instances.spacing, strict=True)
    ]
    slopes = np.zeros((ndim, *ids.shape), np.float32)
    for number, tile in tiles_of(instances, [max(1, reach(s / 3)) for s in sigmas], 1 + ndim):
        own = instances.distance[tile.inner] * (ids[tile.inner] == number)
        blocks = [[m[o, i].copy() for m, o, i in zip(ms, *tile, strict=True)] for ms in (smooth, derive)]
        _add_inside(slopes[:, *tile.outer], _gradient(own, *blocks), ids[tile.outer] == number)
    return slopes


def _gradient(
    field: NDArray[np.float32], smooth: list[NDArray[np.float32]], derive: list[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Derivative along each axis, smoothed along the others; what they share is computed once."""
    derived: list[NDArray[np.float32]] = []
    for axis in reversed(range(field.ndim)):
        derived = [_along(smooth[axis], one, axis) for one in derived]
        derived.insert(0, _along(derive[axis], field, axis))
        if axis:
            field = _along(smooth[axis], field, axis)
    return derived


def _sums_of_products(
    instances: Instances,
    slopes: NDArray[np.float32],
    sigmas: Sequence[float],
    pairs: list[tuple[int, int]],
) -> NDArray[np.float32]:
    """``(len(pairs) + 1, *sp)``: G * g_a g_b for each pair of axes, then G * 1, each inside its instance."""
    ids = instances.ids
    smooth = [window_matrix(n, s) for n, s in zip(ids.shape, sigmas, strict=True)]
    sums = np.zeros((len(pairs) + 1, *ids.shape), np.float32)
    for number, tile in tiles_of(instances, [reach(s) for s in sigmas], len(sums)):
        blocks = [m[o, i].copy() for m, o, i in zip(smooth, *tile, strict=True)]
        within, inside = ids[tile.inner] == number, ids[tile.outer] == number
        own = np.empty((ids.ndim + 1, *within.shape), np.float32)
        np.multiply(slopes[:, *tile.inner], within, out=own[:-1])
        own[-1] = within
        step = max(1, CACHED // within.size)
        for first in range(0, len(sums), step):
            some = slice(first, first + step)
            found = _products(own, [*pairs, (ids.ndim, ids.ndim)][some])
            for axis in reversed(range(ids.ndim)):
                found = _along(blocks[axis], found, axis + 1)
            _add_inside(sums[some, *tile.outer], found, inside)
    return sums


def _products(own: NDArray[np.float32], pairs: list[tuple[int, int]]) -> NDArray[np.float32]:
    products = np.empty((len(pairs), *own.shape[1:]), np.float32)
    for number, (a, b) in enumerate(pairs):
        np.multiply(own[a], own[b], out=products[number])
    return products


def _add_inside(
    target: NDArray[np.float32], found: Sequence[NDArray[np.float32]], inside: NDArray[np.bool_]
) -> None:
    """Every voxel belongs to one instance: a sum writes where a masked copy would, and is faster."""
    mask = inside.astype(np.float32)  # a product of two types is several times as slow
    for one, values in zip(target, found, strict=True):
        values *= mask
        np.add(one, values, out=one)


def _along(matrix: NDArray[np.float32], field: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """``matrix (o, n)`` applied to one axis (of length n) of ``field``."""
    if axis == field.ndim - 1:
        return field @ matrix.T
    before, after = field.shape[:axis], field.shape[axis + 1 :]
    return (matrix @ field.reshape(*before, field.shape[axis], -1)).reshape(*before, len(matrix), *after)


def _blended(
    sums: NDArray[np.float32], relative: NDArray[np.float32], pairs: list[tuple[int, int]]
) -> NDArray[np.float32]:
    ndim, tensor = relative.ndim, np.empty((relative.ndim**2, *relative.shape), np.float32)
    for first in range(0, len(relative), rows := max(1, CACHED // relative[0].size)):
        part = slice(first, first + rows)
        isotropy = relative[part] ** 2
        norm = 1 / np.maximum(sums[-1, part], np.finfo(np.float32).tiny)
        trace = sum(sums[number, part] for number, (a, b) in enumerate(pairs) if a == b)
        trace *= norm * isotropy / np.float32(ndim)
        norm *= 1 - isotropy
        for number, (a, b) in enumerate(pairs):
            entry = tensor[a * ndim + b, part]
            np.multiply(sums[number, part], norm, out=entry)
            if a == b:
                entry += trace
            else:
                tensor[b * ndim + a, part] = entry
    return tensor
