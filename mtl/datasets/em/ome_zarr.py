"""Zarr and OME-NGFF volumes, streamed: versions 0.4 (Zarr 2) and 0.5 (Zarr 3), and plain arrays.

Source: Next-generation file formats (NGFF) 0.4 and 0.5, ngff.openmicroscopy.org: ``multiscales``, ``axes``,
``coordinateTransformations``, ``labels``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl.datasets.damaged_files import damage_named
from mtl.datasets.em.hdf5 import CREMI_IMAGE, CREMI_LABELS, CREMI_UNKNOWN
from mtl.datasets.em.ngff import Multiscales, attributes_of, multiscales_of
from mtl.datasets.em.volume_checks import check_axis_order, check_image, check_labels
from mtl.datasets.em.volumes import EMVolume
from mtl.datasets.em.zarr_arrays import DAMAGED, ZarrArray, child, describe, is_array, open_node
from mtl.errors import DataError


def open_zarr(
    store: Any,
    image: str = "",
    labels: str | Path | None = None,
    level: int = 0,
    spacing: Sequence[float] | None = None,
    channel: int = 0,
    unknown_ids: Sequence[int] = (),
    intensity_range: tuple[float, float] | None = None,
    name: str | None = None,
) -> EMVolume:
    """Open a volume without reading a chunk; boxes are streamed when they are asked for.

    Args:
        store: path of a Zarr folder, or a Zarr store.
        image: key of the image in it (an OME-NGFF image group or an array); the root by default, or
            ``volumes/raw`` where the root is a group with the CREMI names.
        labels: key of the labels in the same store, or the path of another one; by default the only label
            image that an OME-NGFF image declares.
        level: scale level, 0 the finest.
        spacing: (z, y, x) in nm; else from the scale transformations and the axes' units, or from an
            array's attribute ``resolution`` or ``voxel_size`` (nm).
        channel: which one to take where there is a channel axis.
        unknown_ids, intensity_range: see `EMVolume`.

    Raises `DataError` naming store and key: nothing there, damaged metadata, axes that are not (z, y, x), no
    spacing or unit, a level or label image that does not exist, other shapes, float labels.
    """
    root = open_node(store)
    cremi = not image and not is_array(root) and _has(root, CREMI_IMAGE, store)
    if cremi:
        image = CREMI_IMAGE
        labels = CREMI_LABELS if labels is None and _has(root, CREMI_LABELS, store) else labels
    node, where = (open_node(store, image), describe(store, image)) if image else (root, describe(store, ""))
    with damage_named(f"{where}: {DAMAGED}"):
        array, stored = _level(node, where, level, channel)
        check_image(array, array.where)
        found = _labels(store, image, node, labels, level, array)
    return EMVolume(
        name=name or _name(store),
        image=array,
        labels=found,
        spacing=check_axis_order(stored if spacing is None else spacing, array.where),
        unknown_ids=(*(CREMI_UNKNOWN if cremi else ()), *unknown_ids),
        intensity_range=intensity_range,
    )


def _level(
    node: Any, where: str, level: int, channel: int
) -> tuple[ZarrArray, tuple[float, float, float] | None]:
    """The array of a scale level and its spacing in nm (``None`` where nothing states it)."""
    if is_array(node):
        if level:
            raise DataError(f"{where}: is one array without scale levels; expected level=0, got {level}")
        attributes = dict(node.attrs)
        stated = attributes.get("resolution", attributes.get("voxel_size"))
        return ZarrArray(node, where), None if stated is None else tuple(np.asarray(stated, dtype=float))
    scales = multiscales_of(node, where)
    key = scales.key(level)
    return ZarrArray(node[key], f"{where}/{key}", scales.leading(node[key].shape, channel)), scales.spacing(
        level
    )


def _labels(
    store: Any, image: str, node: Any, labels: str | Path | None, level: int, array: ZarrArray
) -> ZarrArray | None:
    """The label array that fits the image's level, or ``None`` where there are no labels."""
    if labels is None:
        labels = _declared(node, array.where)
        if labels is None:
            return None
        labels = f"{image}/{labels}".lstrip("/")
    root = open_node(store)
    inside = not is_array(root) and _has(root, str(labels), store)
    if not inside and isinstance(labels, (str, Path)) and not Path(labels).exists():
        raise DataError(
            f"{store}: no labels {str(labels)!r}; expected a key in this store, or the path of another one"
        )
    node = open_node(store, str(labels)) if inside else open_node(labels)
    where = describe(store, str(labels)) if inside else str(labels)
    if is_array(node):
        found = ZarrArray(node, where)
    else:
        scales = multiscales_of(node, where)
        found = _of_shape(node, scales, where, level, array.shape)
    check_labels(found, array, found.where, array.where)
    return found


def _of_shape(node: Any, scales: Multiscales, where: str, level: int, shape: tuple[int, ...]) -> ZarrArray:
    """The label level of the image's shape; the one of the same number where none has it."""
    arrays = []
    for number in range(scales.n_levels):
        key = scales.key(number)
        arrays.append(ZarrArray(node[key], f"{where}/{key}", scales.leading(node[key].shape, 0)))
    fitting = [array for array in arrays if array.shape == shape]
    return fitting[0] if fitting else arrays[min(level, len(arrays) - 1)]


def _declared(node: Any, where: str) -> str | None:
    """Key of the only label image that an OME-NGFF image lists."""
    if is_array(node) or "labels" not in node:
        return None
    names = attributes_of(node["labels"]).get("labels", [])
    if len(names) > 1:
        raise DataError(
            f"{where}: has the label images {', '.join(names)}; choose one with labels='labels/{names[0]}'"
        )
    return f"labels/{names[0]}" if names else None


def _has(root: Any, key: str, store: Any) -> bool:
    return child(root, key, str(store)) is not None


def _name(store: Any) -> str:
    return Path(str(store).rstrip("/")).name.split(".")[0]
