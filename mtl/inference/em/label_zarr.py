"""Label volumes as OME-Zarr, for neuroglancer and napari.

Source of the layout: OME-NGFF 0.4, ngff.openmicroscopy.org: ``multiscales`` and ``image-label``. Neuroglancer
opens the folder, served over HTTP, as a segmentation layer: ``zarr://http://HOST/FOLDER``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from mtl.errors import DataError
from mtl.inference.em.volume_writer import new_folder
from mtl.inference.label_tiff import checked_ids

AXES = "zyx"
CHUNK = 64


def write_label_zarr(
    folder: str | Path,
    labels: NDArray[np.integer],
    spacing: Sequence[float],
    corner: Sequence[int] | None = None,
) -> Path:
    """Write ids as an OME-NGFF 0.4 label image (Zarr 2, array "0", uint32) in the place of ``folder``.

    Args:
        spacing: nm along each axis. corner: of a piece, its first voxel in the volume that it was cut from:
            viewers then show it in its place there.

    Raises:
        DataError: as `write_label_tiff`; a corner of another number of axes.
    """
    values = checked_ids(labels, spacing, folder)
    axes = AXES[-values.ndim :]
    if corner is not None and len(corner) != values.ndim:
        raise DataError(f"corner {tuple(corner)}: one voxel number per axis of {values.shape} is expected")
    placed: list[dict] = [{"type": "scale", "scale": list(map(float, spacing))}]
    if corner is not None:
        shift = [float(first * length) for first, length in zip(corner, spacing, strict=True)]
        placed.append({"type": "translation", "translation": shift})
    image = {
        "version": "0.4",
        "name": Path(folder).name,
        "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": placed}],
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
