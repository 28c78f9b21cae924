"""Targets of the EM study, computed on the fly from instance labels; one thread, all instances together.

Labels are ``(*sp)`` integers with axes ``(z, y, x)`` or ``(y, x)``: 0 background, -100 unknown, else an
instance id. Spacing is in nm per voxel in the same order. To an instance, background and unknown voxels are
"another id"; neither has a target itself. Faces of the crop are no boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtl.errors import ParameterError
from mtl.targets.em.direction import to_centroid
from mtl.targets.em.nearest import to_skeleton
from mtl.targets.em.skeleton import curve_skeleton
from mtl.targets.em.structure_tensor import tensor_of_distance
from mtl.targets.em.weights import boundary_voxels, edge_and_bone
from mtl.targets.instances import UNKNOWN, Instances, instances_of

__all__ = [
    "UNKNOWN",
    "Instances",
    "boundary",
    "centroid_direction",
    "distance",
    "em_targets",
    "instance_weights",
    "instances_of",
    "skeleton",
    "skeleton_direction",
    "structure_tensor",
]

Field = NDArray[np.float32]


def em_targets(
    labels: ArrayLike,
    spacing: Sequence[float],
    dir_target: Literal["centroid", "skeleton"] = "centroid",
    geometry: bool = True,
    weight_edge: float = 10.0,
    weight_bone: float = 10.0,
    sigma: float = 5.0,
    ignore_index: int = UNKNOWN,
) -> dict[str, Field]:
    """All targets of one crop; the distance is computed once for all of them.

    Args:
        dir_target: where the direction points to.
        geometry: with the direction and the tensor, or with the weight alone.
        sigma: of the structure tensor's window, in voxels of the finest axis.

    Returns:
        ``weight (*sp)``, ``direction (S, *sp)``, ``tensor (S * S, *sp)`` row-major; float32.

    Raises:
        DataError: see `instances_of`.
        ParameterError: spacing, ``dir_target``, a weight or ``sigma`` is wrong.
    """
    if dir_target not in ("centroid", "skeleton"):
        raise ParameterError(f"dir_target = {dir_target!r}: 'centroid' or 'skeleton' expected")
    instances = instances_of(labels, spacing, ignore_index)
    targets = {"weight": edge_and_bone(instances, weight_edge, weight_bone)}
    if geometry:
        to_skeletons = dir_target == "skeleton"
        targets["direction"] = _to_own_skeleton(instances) if to_skeletons else to_centroid(instances)
        targets["tensor"] = tensor_of_distance(instances, sigma)
    return targets


def instance_weights(
    labels: ArrayLike,
    spacing: Sequence[float],
    weight_edge: float = 10.0,
    weight_bone: float = 10.0,
    ignore_index: int = UNKNOWN,
) -> Field:
    """``(*sp)`` weight e * b of each voxel in the instance loss; 0 in background and unknown."""
    return edge_and_bone(instances_of(labels, spacing, ignore_index), weight_edge, weight_bone)


def boundary(labels: ArrayLike, ignore_index: int = UNKNOWN) -> NDArray[np.bool_]:
    """``(*sp)``: instance voxels with another id in their 3^S neighbourhood."""
    return boundary_voxels(_unspaced(labels, ignore_index))


def distance(labels: ArrayLike, spacing: Sequence[float], ignore_index: int = UNKNOWN) -> Field:
    """``(*sp)`` nm from each instance voxel to the nearest voxel of another id.

    0 in background and unknown, and where an instance fills the crop.
    """
    return instances_of(labels, spacing, ignore_index).distance


def centroid_direction(labels: ArrayLike, spacing: Sequence[float], ignore_index: int = UNKNOWN) -> Field:
    """``(S, *sp)`` unit vectors to the centroid of the voxel's instance; 0 at it."""
    return to_centroid(instances_of(labels, spacing, ignore_index))


def skeleton(
    labels: ArrayLike, spacing: Sequence[float] | None = None, ignore_index: int = UNKNOWN
) -> NDArray[np.bool_]:
    """``(*sp)``: voxels of the instances' curve skeletons; voxels are cubes where no spacing is given."""
    if spacing is None:
        return curve_skeleton(_unspaced(labels, ignore_index))
    return curve_skeleton(instances_of(labels, spacing, ignore_index))


def skeleton_direction(labels: ArrayLike, spacing: Sequence[float], ignore_index: int = UNKNOWN) -> Field:
    """``(S, *sp)`` unit vectors to the nearest skeleton voxel of the voxel's instance; 0 on it.

    Of several that are equally near the first in the order of the axes: turning the labels turns the
    directions too but for such ties.
    """
    return _to_own_skeleton(instances_of(labels, spacing, ignore_index))


def structure_tensor(
    labels: ArrayLike, spacing: Sequence[float], sigma: float = 5.0, ignore_index: int = UNKNOWN
) -> Field:
    """``(S * S, *sp)`` row-major structure tensor of the instances' distance; 0 outside them."""
    return tensor_of_distance(instances_of(labels, spacing, ignore_index), sigma)


def _to_own_skeleton(instances: Instances) -> Field:
    return to_skeleton(instances, curve_skeleton(instances))


def _unspaced(labels: ArrayLike, ignore_index: int) -> Instances:
    return instances_of(labels, (1.0,) * np.ndim(labels), ignore_index)
