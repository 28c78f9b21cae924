"""Which nuclei an annotator has outlined: each with one chance, the same ones in every epoch and run."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from mtl.datasets.histology.tiles import NucleiTile
from mtl.errors import ParameterError


def revealed_ids(tile: NucleiTile, fraction: float, seed: int = 0) -> np.ndarray:
    """Ids of the nuclei of a tile that are outlined, rising: int32 ``(n,)``.

    Each with probability ``fraction``, decided by the seed, the tile's id and its own: what a smaller
    fraction reveals, a larger one reveals too. Raises `ParameterError` for a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ParameterError(f"label_fraction = {fraction:g}: above 0 and at most 1 is expected")
    ids = tile.nucleus_ids
    rng = np.random.default_rng([seed, zlib.crc32(tile.id.encode())])
    return ids[rng.random(len(ids)) < fraction]


def revealed(tile: NucleiTile, fraction: float, seed: int = 0) -> np.ndarray:
    """Instances int32 ``(H, W)`` of the outlined nuclei; all else is 0, which here means *not labelled*."""
    return only_nuclei(tile.instances, revealed_ids(tile, fraction, seed))


def only_nuclei(instances: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """``instances`` with 0 wherever another id than ``ids`` stands."""
    return np.where(np.isin(instances, ids), instances, 0)


def reveal_all(tiles: Sequence[NucleiTile], fraction: float, seed: int = 0) -> list[np.ndarray]:
    """`revealed` of every tile. Raises `ParameterError` where no nucleus at all is left."""
    found = [revealed(tile, fraction, seed) for tile in tiles]
    if not any(instances.any() for instances in found):
        n = sum(len(tile.nucleus_ids) for tile in tiles)
        raise ParameterError(
            f"label_fraction = {fraction:g} leaves none of the {n} nuclei of {len(tiles)} tiles labelled: "
            "raise it, or choose another seed"
        )
    return found
