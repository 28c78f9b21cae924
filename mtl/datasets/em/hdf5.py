"""EM volumes in HDF5: one data set per file (``stack``), the CREMI layout, and the volumes of `gala`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtl.datasets.damaged_files import damage_named
from mtl.datasets.em.lazy_arrays import Hdf5Array, Window, has_key
from mtl.datasets.em.volume_checks import check_axis_order, check_image, check_labels
from mtl.datasets.em.volumes import EMVolume, Spacing
from mtl.errors import DataError

CREMI_IMAGE, CREMI_LABELS = "volumes/raw", "volumes/labels/neuron_ids"
#: Transparent, invalid and outside: the highest ids of an unsigned 64-bit label volume.
CREMI_UNKNOWN = (2**64 - 1, 2**64 - 2, 2**64 - 3)
GALA_SPACING = (10.0, 10.0, 10.0)


def read_hdf5(
    image_path: str | Path,
    labels_path: str | Path | None = None,
    spacing: Sequence[float] | None = None,
    dataset: str = "stack",
    labels_dataset: str | None = None,
    name: str | None = None,
) -> EMVolume:
    """Plain HDF5, streamed: ``dataset`` in one file for the image and in one for the labels (z, y, x).

    ``labels_dataset``: the key in the labels' file where it is another one. ``spacing`` in nm; without it
    the image's attribute ``resolution`` (nm) or ``element_size_um`` is used. Raises `DataError` naming file
    and key: damaged or missing file, missing key, wrong axis order, other shapes, float labels, no spacing,
    supervoxels that still wait for their ``transforms`` (see `read_fib25`).
    """
    image = Hdf5Array(image_path, dataset)
    labels = None
    if labels_path is not None:
        _refuse_supervoxels(Path(labels_path))
        labels = Hdf5Array(labels_path, labels_dataset or dataset)
    return _volume(name or Path(image_path).stem, image, labels, spacing)


def read_cremi(
    path: str | Path, name: str | None = None, extra_unknown: Sequence[int] = (), need_labels: bool = True
) -> EMVolume:
    """A CREMI file, streamed: ``volumes/raw``, ``volumes/labels/neuron_ids``, attribute ``resolution`` (nm).

    In the padded files the labels cover a part of the image, from their attribute ``offset`` (nm) on; the
    volume is that part. Ids at the top of uint64 are unknown, and those in ``extra_unknown``.
    ``need_labels=False`` accepts a test file that has none (the whole image then). Source: cremi.org/data.
    """
    image = Hdf5Array(path, CREMI_IMAGE)
    spacing = _spacing(image, None)
    if not need_labels and not has_key(Path(path), CREMI_LABELS):
        return EMVolume(name or Path(path).stem, image, None, spacing)
    labels = Hdf5Array(path, CREMI_LABELS)
    window = _labelled_part(image, labels, spacing)
    check_labels(labels, window, str(labels), str(image))
    return EMVolume(
        name or Path(path).stem, window, labels, spacing, unknown_ids=(*CREMI_UNKNOWN, *extra_unknown)
    )


def read_gala(folder: str | Path, part: str = "train", name: str = "gala") -> EMVolume:
    """The FIB-SEM volumes of `gala`: ``<part>-image.h5`` and ``<part>-gt.lzf.h5``, key ``stack``.

    Ids are final; thin boundaries between cells are 0. The files state no spacing: FlyEM's FIB-SEM is
    isotropic, 10 nm. Source: Nunez-Iglesias et al., PLoS ONE 2013.
    """
    folder = Path(folder)
    return read_hdf5(
        folder / f"{part}-image.h5", folder / f"{part}-gt.lzf.h5", GALA_SPACING, "stack", name=name
    )


def _volume(
    name: str, image: Hdf5Array, labels: Hdf5Array | None, spacing: Sequence[float] | None
) -> EMVolume:
    check_image(image, str(image))
    if labels is not None:
        check_labels(labels, image, str(labels), str(image))
    return EMVolume(name, image, labels, _spacing(image, spacing))


def _spacing(image: Hdf5Array, given: Sequence[float] | None) -> Spacing:
    stored = image.attributes.get("resolution")
    if stored is None and "element_size_um" in image.attributes:
        with damage_named(f"{image}: expected three numbers (z, y, x) as attribute element_size_um"):
            stored = np.asarray(image.attributes["element_size_um"], dtype=float) * 1000
    if given is None and stored is None:
        raise DataError(
            f"{image}: no voxel spacing; expected an attribute resolution (z, y, x) in nm, or "
            "spacing=(z, y, x) in nm"
        )
    return check_axis_order(given if given is not None else np.atleast_1d(stored), str(image))


def _labelled_part(image: Hdf5Array, labels: Hdf5Array, spacing: Spacing) -> Hdf5Array | Window:
    """The part of a padded image that the labels cover; the image itself where they cover all of it."""
    check_image(image, str(image))
    if "offset" not in labels.attributes or image.shape == labels.shape or len(labels.shape) != 3:
        return image
    with damage_named(f"{labels}: expected three numbers (z, y, x) in nm as attribute offset"):
        offset = np.asarray(labels.attributes["offset"], dtype=float).reshape(3)
    start = np.round(offset / spacing).astype(int)
    stop = start + np.asarray(labels.shape)
    if (start < 0).any() or (stop > np.asarray(image.shape)).any():
        raise DataError(
            f"{labels} has shape {labels.shape} and offset {tuple(offset)} nm, which "
            f"reaches outside {image} of shape {image.shape} at {spacing} nm"
        )
    return Window(image, tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True)))


def _refuse_supervoxels(path: Path) -> None:
    if has_key(path, "transforms"):
        raise DataError(
            f"{path}: holds supervoxels and the table 'transforms' that maps them to bodies; read it with "
            "read_fib25, which applies it"
        )
