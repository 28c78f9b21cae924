"""From the embedding head to instances, without any ground truth.

Predicted foreground only; modes of the embedding (`mtl.inference.em.modes`); voxels of one mode parted where
they do not touch, because a network without coordinates gives distant neurites the same embedding; crumbs
given to their neighbours; touching segments with like embeddings merged (`mtl.inference.em.agglomeration`).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError, ParameterError
from mtl.inference.em.agglomeration import merge_touching
from mtl.inference.em.modes import find_modes
from mtl.inference.segments import connected_parts, grow


def decode_embeddings(
    embedding: ArrayLike,
    foreground: ArrayLike,
    *,
    bandwidth: float = 1.5,
    merge_distance: float = 1.5,
    min_size: int = 50,
    fill: bool = False,
    seed: int = 0,
) -> NDArray[np.int32]:
    """Instances (*sp), ids 1..K, 0 background.

    embedding (E, *sp) float (array or CPU tensor), foreground (*sp) bool: the *predicted* one.
    bandwidth: radius of the mean shift; delta_d of the loss fits embeddings that meet it, smaller values
    those that do not. merge_distance: touching segments whose mean embeddings are nearer become one; 0: none.
    min_size: voxels below which a segment is a crumb: its voxels go to the segments around it, or to the
    background where it stands alone. fill: grow the instances over the background too, for data in which
    cells touch. seed: of the draw of voxels.
    Raises DataError for shapes that do not fit and embeddings that are not finite; ParameterError for a
    bandwidth that is not positive or a negative distance or size.
    """
    embedding, foreground = _checked(embedding, foreground, bandwidth, merge_distance, min_size)
    whole = np.ones_like(foreground) if fill else foreground
    if not foreground.any():
        return np.zeros(foreground.shape, np.int32)
    modes = find_modes(torch.from_numpy(embedding), torch.from_numpy(foreground), bandwidth, min_size, seed)
    if len(modes.centres) == 0:
        return np.zeros(foreground.shape, np.int32)
    nearest = modes.nearest.numpy().reshape(foreground.shape)
    labels = connected_parts(np.where(foreground, nearest + 1, 0), min_size)
    labels = grow(labels, foreground)
    if merge_distance > 0:
        labels = merge_touching(labels, embedding, merge_distance)
    return grow(labels, whole) if fill else labels


def _checked(
    embedding: ArrayLike, foreground: ArrayLike, bandwidth: float, merge_distance: float, min_size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if not (bandwidth > 0 and math.isfinite(bandwidth)):
        raise ParameterError(f"bandwidth = {bandwidth}: expected a positive number")
    if merge_distance < 0 or min_size < 0:
        raise ParameterError(f"merge_distance = {merge_distance}, min_size = {min_size}: expected 0 or more")
    embedding = np.ascontiguousarray(embedding, dtype=np.float32)
    foreground = np.ascontiguousarray(foreground)
    if embedding.shape[1:] != foreground.shape or foreground.ndim not in (2, 3):
        raise DataError(
            f"embedding {embedding.shape} and foreground {foreground.shape}: expected (E, *sp) and (*sp) in "
            "2-D or 3-D"
        )
    if foreground.dtype != bool:
        raise DataError(f"foreground is {foreground.dtype}: expected bool (threshold the probability)")
    if not np.isfinite(embedding.sum()):
        raise DataError("the embedding is not finite everywhere")
    return embedding, foreground
