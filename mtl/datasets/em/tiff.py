"""TIFF stacks: instance ids (SNEMI3D), or a membrane map that becomes 2-D instances (ISBI 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtl.datasets.em.planes import read_planes
from mtl.datasets.em.volume_checks import check_axis_order, check_image, check_labels
from mtl.datasets.em.volumes import EMVolume
from mtl.errors import DataError

ISBI_SPACING = (50.0, 4.0, 4.0)
SNEMI_SPACING = (30.0, 6.0, 6.0)


def read_tiff_stack(
    image_path: str | Path,
    labels_path: str | Path | None,
    spacing: Sequence[float] | None,
    membrane: int | None = None,
    name: str | None = None,
) -> EMVolume:
    """A TIFF (or folder of planes) for the image and one for the labels (z, y, x), loaded whole.

    ``membrane=None``: the labels are instance ids. ``membrane=0``: they are a two-valued map, that value is
    the border and the other one the inside of cells; instances are the 4-connected components of each plane
    (3-D components would leak through thick sections), and the volume is ``planar``.

    Raises `DataError` naming the file: missing or damaged, wrong axis order, another shape, float labels, a
    membrane map where ids are expected (or the other way round), no spacing.
    """
    image = read_planes(image_path)
    check_image(image, str(image_path))
    checked = check_axis_order(spacing, str(image_path))
    name = name or Path(image_path).stem
    if labels_path is None:
        return EMVolume(name, image, None, checked, planar=membrane is not None)
    labels = read_planes(labels_path)
    check_labels(labels, image, str(labels_path), str(image_path))
    if membrane is not None:
        labels = plane_components(_inside(labels, membrane, labels_path))
    elif is_membrane_map(labels):
        raise DataError(
            f"{labels_path}: holds 0 and 255 only, a membrane map; expected instance ids, or membrane=0 "
            "(instances are then the components of each plane)"
        )
    return EMVolume(name, image, labels, checked, planar=membrane is not None)


def read_isbi2012(folder: str | Path, name: str = "isbi2012", part: str = "train") -> EMVolume:
    """ISBI 2012: ``train-volume.tif`` and ``train-labels.tif`` (255 inside, 0 membrane), 50 x 4 x 4 nm.

    ``part="test"``: ``test-volume.tif``, without labels where there is no ``test-labels.tif``. The labels
    paint some organelles and unclear regions as membrane too: 0 is "border or not decided".
    """
    files = Path(folder) / f"{part}-volume.tif", _labels_of(Path(folder), part)
    return read_tiff_stack(*files, ISBI_SPACING, membrane=0, name=name)


def read_snemi3d(folder: str | Path, name: str = "snemi3d", part: str = "train") -> EMVolume:
    """SNEMI3D: ``train-input.tif`` and ``train-labels.tif`` (instance ids), 30 x 6 x 6 nm.

    ``part="test"``: ``test-input.tif``, without labels where there is no ``test-labels.tif``.
    """
    files = Path(folder) / f"{part}-input.tif", _labels_of(Path(folder), part)
    return read_tiff_stack(*files, SNEMI_SPACING, name=name)


def _labels_of(folder: Path, part: str) -> Path | None:
    """The part's labels; None where a part that is not for training has none."""
    path = folder / f"{part}-labels.tif"
    return path if part == "train" or path.is_file() else None


def is_membrane_map(labels: np.ndarray) -> bool:
    """Whether labels hold 0 and 255 and nothing else, as a picture of membranes does."""
    return bool((labels == 255).any() and ((labels == 0) | (labels == 255)).all())


def _inside(labels: np.ndarray, membrane: int, labels_path: str | Path) -> np.ndarray:
    values = np.unique(labels)
    if len(values) != 2 or membrane not in values:
        raise DataError(
            f"{labels_path}: expected a map of two values, one of them membrane={membrane}; found "
            f"{len(values)} values, {values[:4].tolist()} first"
        )
    return labels != membrane


def plane_components(inside: np.ndarray) -> np.ndarray:
    """4-connected components of every plane of a mask (z, y, x): int64 ids from 1, no id in two planes."""
    import cc3d

    labels = np.zeros(inside.shape, np.int64)
    n_found = 0
    for number, plane in enumerate(inside):
        found = cc3d.connected_components(np.ascontiguousarray(plane), connectivity=4).astype(np.int64)
        labels[number] = np.where(found > 0, found + n_found, 0)
        n_found += int(found.max())
    return labels
