"""Benchmark H1: the two signed maps of HoVer-Net for 512 x 512 pixels with few and many nuclei."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mtl.studies.histology.loss_peers import looped_hover_maps, monai_hover_maps
from mtl.targets.histology import hover_maps
from mtl.timing import Case, scaling_exponent

SIDE = 512
COUNTS = (20, 95, 385)
TOLERANCE = 2e-6
Labels = NDArray[np.int32]


def nuclei(count: int, side: int = SIDE, seed: int = 0) -> Labels:
    """``count`` discs of the usual size on a jittered grid, ids 1..count; some touch."""
    rng = np.random.default_rng(seed)
    cells = int(np.ceil(np.sqrt(count)))
    step, labels = side / cells, np.zeros((side, side), np.int32)
    y, x = np.mgrid[:side, :side]
    for number, place in enumerate(rng.permutation(cells**2)[:count], start=1):
        cy, cx = (np.array(divmod(place, cells)) + 0.5 + rng.uniform(-0.2, 0.2, 2)) * step
        disc = np.hypot(y - cy, x - cx) < rng.uniform(9, 14)
        labels[disc & (labels == 0)] = number
    return labels


def map_cases(counts: Sequence[int] = COUNTS, side: int = SIDE) -> list[Case]:
    """H1: 30x the loop over nuclei and 7x MONAI are hoped for at 385 nuclei."""
    cases = []
    for count in counts:
        labels = nuclei(count, side)
        ours = partial(hover_maps, labels)
        peers = {
            "loop over nuclei, each in its box": (partial(looped_hover_maps, labels), 30.0),
            "MONAI ComputeHoVerMaps": (partial(monai_hover_maps, labels), 7.0),
        }
        for name, (theirs, goal) in peers.items():
            hoped = goal if count == COUNTS[-1] else 0.0
            workload = f"horizontal and vertical maps, {side} x {side}, {count} nuclei"
            cases.append(Case("H1", workload, name, ours, theirs, partial(_same, ours, theirs), hoped))
    return cases


def map_exponent() -> float:
    """How the time grows with the number of nuclei that share the same pixels."""
    counts = (20, 80, 385)
    whole = nuclei(COUNTS[-1]) > 0
    seeds = [_regions(whole, count) for count in counts]
    return scaling_exponent(counts, [partial(hover_maps, labels) for labels in seeds])


def _regions(mask: NDArray[np.bool_], count: int) -> Labels:
    """The same foreground, parted among ``count`` ids: only their number differs."""
    parts, n = ndimage.label(mask)
    table = np.concatenate([[0], 1 + np.arange(n) % count]).astype(np.int32)
    return table[parts]


def _same(ours: Callable[[], NDArray], theirs: Callable[[], NDArray]) -> str:
    gap = float(np.abs(ours() - theirs()).max())
    assert gap <= TOLERANCE, f"maps off by {gap:.1e}"
    return f"maps off by {gap:.1e}"
