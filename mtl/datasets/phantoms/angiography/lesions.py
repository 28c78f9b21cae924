r"""Stenoses of the phantom: the lumen narrows by ``percent`` over a few pixels.

Along a branch, at the distance :math:`s` from the lesion's middle and with its half length :math:`\ell`, the
radius becomes

.. math:: r'(s) = r(s)\,\bigl(1 - p\,w(|s| / \ell)\bigr), \qquad
    w(u) = 1 \; (u < \tfrac12), \quad
    \tfrac12 (1 + \cos(2\pi(u - \tfrac12))) \; (\tfrac12 \le u \le 1), \quad 0 \; (u > 1)

with :math:`p` = percent / 100: diameter reduction as reports give it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mtl.datasets.phantoms.angiography.anatomy import Tree, place_of

HALF_LENGTH = 0.055  # of the picture's side: 7 pixels of 64 in all, half of them at full depth
MIDDLE = (0.38, 0.62)  # where in a segment lesions lie
ELSEWHERE = {"mLCx": (0.66, 0.72)}  # OM2 leaves from its middle and would fill the gap


@dataclass(frozen=True)
class Lesion:
    """A planted stenosis: its segment and percent, and where on the tree it lies."""

    segment: str
    percent: int
    branch: int
    along: float


def plant(tree: Tree, findings: Sequence[tuple[str, int]], rng: np.random.Generator) -> list[Lesion]:
    """A place for each (segment, percent), near the middle of the segment."""
    shares = [rng.uniform(*ELSEWHERE.get(segment, MIDDLE)) for segment, _ in findings]
    return [
        Lesion(segment, percent, *place_of(tree, segment, share))
        for (segment, percent), share in zip(findings, shares, strict=True)
    ]


def narrowed(tree: Tree, lesions: Sequence[Lesion]) -> Tree:
    """The tree with its lumen narrowed at the lesions."""
    radius = tree.radius.copy()
    for lesion in lesions:
        u = distance_to(tree, lesion) / HALF_LENGTH
        taper = 0.5 * (1 + np.cos(2 * np.pi * (np.clip(u, 0.5, 1) - 0.5)))
        radius *= 1 - lesion.percent / 100 * taper
    return replace(tree, radius=radius)


def distance_to(tree: Tree, lesion: Lesion) -> np.ndarray:
    """Distance ``(P,)`` of every point from a lesion's middle, along its branch; infinite on others."""
    return np.where(tree.branch == lesion.branch, np.abs(tree.along - lesion.along), np.inf)
