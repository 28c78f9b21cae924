"""Label volumes as files for other programs: TIFF (Fiji, napari), OME-Zarr (neuroglancer, napari).

Source of the layout: OME-NGFF 0.4, ngff.openmicroscopy.org: ``multiscales`` and ``image-label``. Neuroglancer
opens the folder, served over HTTP, as a segmentation layer: ``zarr://http://HOST/FOLDER``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from mtl.errors import DataError
from mtl.files import atomic_path
from mtl.inference.em.volume_writer import new_folder

AXES = "zyx"
CHUNK = 64


def write_label_tiff(path: str | Path, labels: NDArray[np.integer], spacing: Sequence[float]) -> Path:
    """Write ``(Z,Y,X)`` or ``(Y,X)`` ids as one TIFF; replaces a file of this name in one step.

    uint16 where the ids fit (what Fiji shows as it is), else uint32. ``spacing``: nm along each axis; that
    of y and x is in the resolution tags (pixels per centimetre), all of it in the description.

    Raises:
        DataError: ids that do not fit, or as many lengths as axes are not given.
    """
    values = _checked(labels, spacing, path)
    values = values.astype(np.uint16) if values.max(initial=0) < 2**16 else values
    lengths = [float(length) for length in spacing]
    y, x = lengths[-2:]
    with atomic_path(path) as half:
        tifffile.imwrite(
            half, values, compression="zlib", photometric="minisblack",
            resolution=(1e7 / x, 1e7 / y), resolutionunit="CENTIMETER",
            metadata={"axes": AXES[-values.ndim :].upper(), "spacing": lengths, "unit": "nm"},
        )  # fmt: skip
    return Path(path)


def write_label_zarr(folder: str | Path, labels: NDArray[np.integer], spacing: Sequence[float]) -> Path:
    """Write ids as an OME-NGFF 0.4 label image (Zarr 2, array "0", uint32) in the place of ``folder``.

    Raises:
        DataError: as `write_label_tiff`.
    """
    values = _checked(labels, spacing, folder)
    axes = AXES[-values.ndim :]
    scale = {"type": "scale", "scale": list(map(float, spacing))}
    image = {
        "version": "0.4",
        "name": Path(folder).name,
        "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    with new_folder(Path(folder)) as half:
        group = zarr.create_group(half, zarr_format=2)
        group.attrs.update({"multiscales": [image], "image-label": {"version": "0.4"}})
        group.create_array(
            "0",
            data=values,
            chunks=tuple(min(CHUNK, side) for side in values.shape),
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
    return Path(folder)


def _checked(labels: NDArray[np.integer], spacing: Sequence[float], where: str | Path) -> NDArray[np.uint32]:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biu" or labels.ndim not in (2, 3):
        raise DataError(
            f"{where}: labels of type {labels.dtype} and shape {labels.shape}; whole numbers of 2 or 3 axes "
            "are expected"
        )
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < 2**32:
        raise DataError(f"{where}: ids from {labels.min()} to {labels.max()}; 0 to 2^32 - 1 is expected")
    if len(spacing) != labels.ndim or not all(length > 0 for length in spacing):
        raise DataError(
            f"{where}: spacing {tuple(spacing)}; a length above 0 for each of {labels.ndim} axes is expected"
        )
    return labels.astype(np.uint32)
