r"""Touching segments with like embeddings become one: mean shift splits what drifts, this puts it together.

The embedding of a long neurite wanders through space by more than any bandwidth that still parts neighbours.
Neighbours along the neurite differ little, though. Greedily, the touching pair with the nearest means

.. math:: |\mu_i - \mu_j| < \text{distance}

is merged, its mean updated by size, until none is left (centroid linkage on the graph of contacts).
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from mtl.inference.segments import Labels, contacts

STRIDE = 7  # every 7th voxel is enough for the mean of a segment


def merge_touching(labels: Labels, embedding: NDArray[np.float32], distance: float) -> NDArray[np.int32]:
    """Segments (*sp, 0 background, dense ids) merged; ids 1..K.

    embedding (E, *sp). The means are taken from every 7th voxel, which is what makes this cheap; a segment
    that none of them meets keeps to itself.
    """
    sizes, means = _means(labels, embedding)
    parent = _merged(contacts(labels), sizes, means, distance)
    names = np.zeros(len(parent), np.int32)
    kept = np.unique(parent[1:])
    names[kept] = np.arange(1, len(kept) + 1)
    return names[parent][labels]


def _means(labels: Labels, embedding: NDArray[np.float32]) -> tuple[NDArray, NDArray]:
    """Voxels (K+1,) of every segment, and mean embeddings (K+1, E), NaN where no voxel was looked at."""
    flat, some = labels.reshape(-1), labels.reshape(-1)[::STRIDE]
    length = int(labels.max(initial=0)) + 1
    sizes = np.bincount(flat, minlength=length).astype(float)
    counted = np.bincount(some, minlength=length)
    sums = [np.bincount(some, c[::STRIDE], length) for c in embedding.reshape(len(embedding), -1)]
    with np.errstate(invalid="ignore"):
        return sizes, np.stack(sums, 1) / counted[:, None]


def _merged(pairs: NDArray[np.int64], sizes: NDArray, means: NDArray, distance: float) -> NDArray[np.int64]:
    """For every segment the id of the one that it ended in."""
    parent = np.arange(len(sizes))
    apart = np.linalg.norm(means[pairs[:, 0]] - means[pairs[:, 1]], axis=1)
    heap = [(d, i, j, 0, 0) for d, (i, j) in zip(apart.tolist(), pairs.tolist(), strict=True) if d < distance]
    if not heap:
        return parent
    heapq.heapify(heap)
    neighbours: list[set[int]] = [set() for _ in sizes]
    for i, j in pairs.tolist():
        neighbours[i].add(j)
        neighbours[j].add(i)
    version = [0] * len(sizes)  # a pair in the heap is stale once either mean has moved
    while heap:
        _, i, j, of_i, of_j = heapq.heappop(heap)
        if (version[i], version[j]) != (of_i, of_j):
            continue
        if len(neighbours[i]) < len(neighbours[j]):
            i, j = j, i
        means[i] = (sizes[i] * means[i] + sizes[j] * means[j]) / (sizes[i] + sizes[j])
        sizes[i] += sizes[j]
        parent[j], version[i], version[j] = i, version[i] + 1, -1
        for other in neighbours[j]:
            neighbours[other].discard(j)
            if other != i:
                neighbours[other].add(i)
                neighbours[i].add(other)
        others = list(neighbours[i])
        for other, d in zip(others, np.linalg.norm(means[others] - means[i], axis=1).tolist(), strict=True):
            if d < distance:
                heapq.heappush(heap, (d, i, other, version[i], version[other]))
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    return parent
