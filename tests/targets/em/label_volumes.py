"""Random labels for the tests of targets: Voronoi cells, noise, and cases at the edge of the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

UNKNOWN = -100
Labelled = tuple[np.ndarray, tuple[float, ...]]


def cells(shape: tuple[int, ...], n: int, rng: np.random.Generator) -> np.ndarray:
    """Each voxel belongs to the nearest of n seeds."""
    grid = np.stack(np.indices(shape), axis=-1).reshape(-1, 1, len(shape))
    seeds = rng.uniform(0, 1, (1, n, len(shape))) * shape
    return (((grid - seeds) ** 2).sum(-1).argmin(1) + 1).reshape(shape).astype(np.int64)


@st.composite
def labelled_crops(draw: st.DrawFn, largest: int = 10) -> Labelled:
    """Labels and spacing: 2-D or 3-D, cells or noise; background, unknown voxels, one-voxel instances."""
    ndim = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.lists(st.integers(1, largest), min_size=ndim, max_size=ndim)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 5))  # 1 and none of the below: an instance that fills the crop
    labels = cells(shape, n, rng) if draw(st.booleans()) else rng.integers(1, n + 1, shape)
    for value in (0, UNKNOWN):
        labels[rng.random(shape) < draw(st.sampled_from([0, 0, 0.2, 0.6]))] = value
    if draw(st.booleans()):
        labels[tuple(rng.integers(0, shape))] = 70_001  # ids need not be dense
    spacing = draw(st.sampled_from([(1.0, 1.0, 1.0), (30.0, 6.0, 6.0), (50.0, 4.0, 4.5), (4.0, 6.0, 11.0)]))
    return labels, spacing[-ndim:]
