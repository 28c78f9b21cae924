"""Euclidean distance to the nearest voxel of another id, all instances in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from numpy.typing import NDArray


def distance_to_other_ids(ids: NDArray[np.unsignedinteger], spacing: Sequence[float]) -> NDArray[np.float32]:
    """``(*sp)`` nm from each instance voxel to the nearest voxel of another id, centre to centre.

    Faces of the crop are no boundaries: beyond them nothing is known. 0 where ``ids`` is 0; also 0 where the
    crop holds one id alone, as no distance is known there.

    Source: P. Felzenszwalb and D. Huttenlocher, Theory of Computing 8 (2012), in the multi-label form of
    the library ``edt``.
    """
    distance = edt.edt(ids, anisotropy=tuple(spacing), black_border=False, parallel=1)
    if not np.isfinite(distance.flat[0]):  # infinite at one voxel only if at all
        return np.zeros_like(distance)
    return distance
