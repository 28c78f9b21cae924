r"""From the direction head to instances: every voxel follows the predicted directions to where they meet.

The head gives the unit vector (in nm) towards the centroid, or the skeleton, of a voxel's instance. Each
foreground voxel points to the neighbour (8 in 2-D, 26 in 3-D) that lies most nearly in that direction,

.. math:: \text{next}(x) = x + \operatorname*{arg\,max}_{o \in \{-1,0,1\}^S \setminus 0}
    \frac{d(x) \cdot (o \odot s)}{|o \odot s|} \qquad (s \text{ the spacing}),

and stays where it is if that is background or the vector is short (at the target). Following all pointers to
their ends takes :math:`\log_2` of the longest path: the pointer of the pointer is looked up again and again.
Ends that lie within ``reach`` of one another are one instance. (Cellpose, Stringer et al. 2021, follows such
flows step by step.) A centroid outside of its object sends voxels to the object's edge: long bent neurites
are split, and the skeleton is the better target for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cc3d
import edt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError
from mtl.inference.segments import connected_parts, grow

SHORT = 0.3  # of a unit: the head is near the target, or does not know
DOUBLINGS = 12  # paths of up to 4096 steps


def decode_directions(
    direction: ArrayLike,
    foreground: ArrayLike,
    spacing: Sequence[float],
    *,
    reach: float | None = None,
    min_size: int = 50,
    fill: bool = False,
) -> NDArray[np.int32]:
    """Instances (*sp), ids 1..K, 0 background.

    direction (S, *sp) float, foreground (*sp) bool: both predicted. spacing: nm along each axis.
    reach: distance (nm) up to which ends of paths are joined; None: 1.5 times the coarsest voxel side.
    min_size, fill: as in `mtl.inference.em.decoding.decode_embeddings`.
    Raises DataError where shapes or the spacing's length do not fit, or directions in the foreground are NaN.
    """
    direction, foreground = np.asarray(direction, np.float32), np.asarray(foreground)
    shape = foreground.shape
    if direction.shape != (len(shape), *shape) or len(spacing) != len(shape) or foreground.dtype != bool:
        raise DataError(
            f"direction {direction.shape}, foreground {foreground.dtype} {shape}, spacing of {len(spacing)}: "
            "expected (S, *sp), bool (*sp) and S numbers"
        )
    inside = np.flatnonzero(foreground)
    if len(inside) == 0:
        return np.zeros(shape, np.int32)
    if np.isnan(direction.reshape(len(shape), -1)[:, inside]).any():
        raise DataError("direction holds NaN in the foreground: expected numbers")
    ends = _ends(_pointers(direction, foreground, inside, spacing), inside)
    meeting = np.zeros(shape, bool)
    meeting.reshape(-1)[ends] = True
    near = edt.edt(~meeting, anisotropy=tuple(spacing)) <= (reach or 1.5 * max(spacing)) / 2
    groups = cc3d.connected_components(near, connectivity=26 if len(shape) == 3 else 8)
    labels = np.zeros(shape, np.int64)
    labels.reshape(-1)[inside] = groups.reshape(-1)[ends]
    whole = np.ones_like(foreground) if fill else foreground
    return grow(connected_parts(labels, min_size), whole)


def _pointers(
    direction: NDArray[np.float32], foreground: NDArray[np.bool_], inside: NDArray, spacing: Sequence[float]
) -> NDArray[np.int64]:
    """Flat index (N,) of the voxel that every voxel points to; background points to itself."""
    shape = foreground.shape
    steps = np.array([o for o in itertools.product((-1, 0, 1), repeat=len(shape)) if any(o)])
    lengths = steps * np.asarray(spacing)
    lengths /= np.linalg.norm(lengths, axis=1, keepdims=True)
    vectors = direction.reshape(len(shape), -1)[:, inside]
    chosen = steps[(lengths.astype(np.float32) @ vectors).argmax(0)]
    target = np.stack(np.unravel_index(inside, shape), 1) + chosen
    leaves = ((target < 0) | (target >= shape)).any(1) | (np.linalg.norm(vectors, axis=0) < SHORT)
    target = np.ravel_multi_index(tuple(np.clip(target, 0, np.array(shape) - 1).T), shape)
    pointers = np.arange(foreground.size)
    pointers[inside] = np.where(leaves | ~foreground.reshape(-1)[target], inside, target)
    return pointers


def _ends(pointers: NDArray[np.int64], inside: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where every foreground voxel's path ends; on a small circle about a target: somewhere on it."""
    for _ in range(DOUBLINGS):
        further = pointers[pointers]
        if np.array_equal(further, pointers):
            break
        pointers = further
    return pointers[inside]
