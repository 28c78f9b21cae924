r"""Basins of a watershed merged where the wall between them is weak on average.

One gap in a membrane joins two neurites in any method that follows connected voxels. The mean along the whole
wall forgives it (mean-boundary agglomeration: Arbelaez et al., PAMI 2011; Nunez-Iglesias et al., PLoS ONE
2013; average linkage in Bailoni et al., CVPR 2022): the two neighbours with the weakest wall are merged,

.. math:: w_{ij} = \frac{1}{|C_{ij}|} \sum_{x \in C_{ij}} m(x)

over the voxels :math:`C_{ij}` on both sides of their contact is formed anew for the neighbours of the pair,
and so on while a wall's mean of the map m is above the given height. RAG and merging are scikit-image's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import graph

from mtl.inference.segments import Labels


def merge_across_weak_walls(labels: Labels, inside: NDArray[np.floating], height: float) -> NDArray[np.int32]:
    """Labels (*sp), ids 1..K, no background, merged; ids 1..K.

    inside (*sp): high inside of cells, low on membranes. Walls of a mean above ``height`` fall.
    """
    if labels.max(initial=0) < 2:
        return labels.astype(np.int32)
    strength = -np.asarray(inside, np.float64)
    merged = graph.merge_hierarchical(
        labels,
        graph.rag_boundary(labels, strength, connectivity=1),
        thresh=-height,
        rag_copy=False,
        in_place_merge=True,
        merge_func=lambda *_: None,
        weight_func=_mean_of_both_walls,
    )
    return merged.astype(np.int32) + 1


def _mean_of_both_walls(rag: graph.RAG, merged: int, kept: int, neighbour: int) -> dict[str, Any]:
    """The wall between ``neighbour`` and the union of ``merged`` and ``kept``."""
    walls = [rag[node].get(neighbour, {"weight": 0.0, "count": 0}) for node in (merged, kept)]
    count = sum(wall["count"] for wall in walls)
    return {"count": count, "weight": sum(wall["count"] * wall["weight"] for wall in walls) / count}
