"""From a network's outputs, or the image alone, to instances: of a tile or part whole, or plane by plane.

Of ``volume`` only spacing and planarity count; ``found`` may be of any piece of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mtl.datasets.em import EMVolume
from mtl.inference.em.decoding import decode_embeddings
from mtl.inference.em.directions import decode_directions
from mtl.inference.em.watershed import watershed_instances
from mtl.inference.segments import stacked_planes
from mtl.studies.em.prediction import VolumePrediction

Decoding = Callable[..., np.ndarray]


def by_embedding(
    volume: EMVolume, found: VolumePrediction, *, threshold: float, **settings: Any
) -> np.ndarray:
    """Modes of the embedding in the foreground above ``threshold``, grown over what is left."""
    method = partial(decode_embeddings, fill=True, **settings)
    return plane_by_plane(volume, method, found.embedding, found.foreground > threshold)


def by_direction(
    volume: EMVolume, found: VolumePrediction, *, threshold: float, **settings: Any
) -> np.ndarray:
    """Where the predicted directions meet, in the foreground above ``threshold``, grown over what is left."""
    n_axes = 2 if volume.planar else 3
    method = partial(decode_directions, spacing=volume.spacing[-n_axes:], fill=True, **settings)
    return plane_by_plane(volume, method, found.direction, found.foreground > threshold)


def by_boundary(volume: EMVolume, found: VolumePrediction, **settings: Any) -> np.ndarray:
    """Watershed on the predicted foreground."""
    return by_watershed(volume, found.foreground, **settings)


def by_watershed(volume: EMVolume, inside: np.ndarray, **settings: Any) -> np.ndarray:
    """Watershed on a map ``(*sp)`` that is high inside of cells, such as the image."""
    n_axes = 2 if volume.planar else 3
    method = partial(watershed_instances, spacing=volume.spacing[-n_axes:], **settings)
    return plane_by_plane(volume, method, inside)


def plane_by_plane(volume: EMVolume, method: Decoding, *fields: np.ndarray) -> np.ndarray:
    """``method`` on all of it, or on every plane of a planar volume, with ids that no two planes share.

    Args:
        fields: ``(..., *sp)``, the arguments of ``method``.
    """
    if not volume.planar:
        return method(*fields)
    return stacked_planes(
        method(*(np.ascontiguousarray(field[..., number, :, :]) for field in fields))
        for number in range(fields[0].shape[-3])
    )
