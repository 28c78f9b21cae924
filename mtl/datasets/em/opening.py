"""One door for every layout: tells from what lies at a path which reader it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mtl.datasets.em.fib25 import SAMPLE, TRUTH, read_fib25
from mtl.datasets.em.hdf5 import CREMI_IMAGE, read_cremi, read_gala, read_hdf5
from mtl.datasets.em.lazy_arrays import has_key
from mtl.datasets.em.ome_zarr import open_zarr
from mtl.datasets.em.planes import SUFFIXES, read_planes
from mtl.datasets.em.tiff import is_membrane_map, read_isbi2012, read_snemi3d, read_tiff_stack
from mtl.datasets.em.volume_checks import check_axis_order
from mtl.datasets.em.volumes import EMVolume, check_foreground
from mtl.errors import DataError, ParameterError

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
TIFF_SUFFIXES = (".tif", ".tiff")
ZARR_MARKS = (".zgroup", ".zarray", "zarr.json")
EXPECTED = (
    "a folder with training_sample2/groundtruth.h5 (FIB-25), train-image.h5 and train-gt.lzf.h5 (gala), "
    "train-volume.tif and train-labels.tif (ISBI 2012), train-input.tif and train-labels.tif (SNEMI3D), a "
    "CREMI file, an HDF5 or TIFF file, a folder of planes, or a Zarr / OME-NGFF folder"
)


def open_volume(
    path: str | Path,
    spacing: Sequence[float] | None = None,
    labels: str | Path | None = None,
    name: str | None = None,
    dataset: str = "stack",
    level: int = 0,
    need_foreground: bool = True,
    labels_dataset: str | None = None,
    intensity_range: tuple[float, float] | None = None,
) -> EMVolume:
    """Open a volume of any known layout.

    Args:
        path: file or folder.
        spacing: (z, y, x) in nm, instead of what the files or the layout state.
        labels: the labels' file for a plain TIFF or HDF5 image, the labels' folder for a folder of planes,
            or their key in a Zarr store. A TIFF of 0 and 255 is a membrane map.
        name: of the volume; the layout's or the file's where not given.
        dataset: key in plain HDF5 files; labels_dataset: that of the labels, where it is another one.
        level: scale level of an OME-NGFF image.
        need_foreground: refuse a volume without labels, or with no known instance in them.
        intensity_range: see `EMVolume`.

    Raises `DataError` naming file and key, and what is expected there; see the readers. `ParameterError` for
    a key or level that the layout has no use for.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected {EXPECTED}")
    volume = _opened(path, spacing, labels, Keys(dataset, labels_dataset, level))
    if name is not None:
        volume = replace(volume, name=name)
    if intensity_range is not None:
        volume = replace(volume, intensity_range=intensity_range)
    if need_foreground:
        check_foreground(volume)
    return volume


#: What the fields of `Keys` are called in messages.
CALLED = {"dataset": "HDF5 key", "labels_dataset": "HDF5 key of labels", "level": "OME-NGFF level"}


class Keys(NamedTuple):
    """Where in a file or store the volume lies."""

    dataset: str = "stack"
    labels_dataset: str | None = None
    level: int = 0

    def refuse(self, path: Path, *unused: str) -> None:
        """Raise `ParameterError` where one of ``unused`` is given for the volume at ``path``."""
        for name in unused:
            if (given := getattr(self, name)) != self._field_defaults[name]:
                raise ParameterError(f"{path}: the {CALLED[name]} {given!r} has no meaning in this layout")


def _opened(path: Path, spacing: Sequence[float] | None, labels: str | Path | None, keys: Keys) -> EMVolume:
    if path.is_dir() and any((path / mark).is_file() for mark in ZARR_MARKS):
        keys.refuse(path, "dataset", "labels_dataset")
        return open_zarr(path, labels=labels, level=keys.level, spacing=spacing)
    if path.suffix.lower() in HDF5_SUFFIXES and not path.is_dir():
        keys.refuse(path, "level")
        return _hdf5(path, spacing, labels, keys)
    keys.refuse(path, *Keys._fields)
    if path.is_dir() and labels is None and (known := _known_layout(path)) is not None:
        return _respaced(known, spacing)
    if path.is_dir() or path.suffix.lower() in TIFF_SUFFIXES:
        return _tiff(path, labels, spacing)
    raise DataError(f"{path}: unknown kind of file; expected {EXPECTED}")


def _known_layout(folder: Path) -> EMVolume | None:
    """The volume of a folder laid out as a known set; None where it holds pictures, perhaps planes."""
    if (folder / SAMPLE).is_dir() or (folder / TRUTH).is_file():
        return read_fib25(folder)
    for part in ("train", "test"):
        if (folder / f"{part}-image.h5").is_file():
            return read_gala(folder, part)
    for part in ("train", "test"):
        if (folder / f"{part}-volume.tif").is_file():
            return read_isbi2012(folder, part=part)
        if (folder / f"{part}-input.tif").is_file():
            return read_snemi3d(folder, part=part)
    if any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
        return None
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:6]) or "nothing"
    raise DataError(f"{folder}: no known layout (it holds {found}); expected {EXPECTED}")


def _hdf5(path: Path, spacing: Sequence[float] | None, labels: str | Path | None, keys: Keys) -> EMVolume:
    if not has_key(path, CREMI_IMAGE):
        return read_hdf5(path, labels, spacing, keys.dataset, keys.labels_dataset)
    keys.refuse(path, "dataset", "labels_dataset")
    if labels is not None:
        raise ParameterError(f"labels={labels}: {path} is a CREMI file, which holds its labels itself")
    return _respaced(read_cremi(path, need_labels=False), spacing)


def _tiff(path: Path, labels: str | Path | None, spacing: Sequence[float] | None) -> EMVolume:
    binary = labels is not None and is_membrane_map(read_planes(labels))
    return read_tiff_stack(path, labels, spacing, membrane=0 if binary else None)


def _respaced(volume: EMVolume, spacing: Sequence[float] | None) -> EMVolume:
    if spacing is None:
        return volume
    return replace(volume, spacing=check_axis_order(spacing, f"volume {volume.name!r}"))
