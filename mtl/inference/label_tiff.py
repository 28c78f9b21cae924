"""Instance ids as a TIFF file, for Fiji, napari and QuPath."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from mtl.errors import DataError
from mtl.files import atomic_path

AXES = "ZYX"


def write_label_tiff(
    path: str | Path, labels: NDArray[np.integer], spacing: Sequence[float] | None = None
) -> Path:
    """Write ``(Z,Y,X)`` or ``(Y,X)`` ids as one TIFF; replaces a file of this name in one step.

    uint16 where the ids fit (what Fiji shows as it is), else uint32. ``spacing``: nm along each axis, if
    it is known; that of y and x is in the resolution tags (pixels per centimetre), all of it in the
    description.

    Raises:
        DataError: ids that do not fit, or not as many lengths as axes.
    """
    values = checked_ids(labels, spacing, path)
    values = values.astype(np.uint16) if values.max(initial=0) < 2**16 else values
    metadata, resolution = {"axes": AXES[-values.ndim :]}, {}
    if spacing is not None:
        lengths = [float(length) for length in spacing]
        metadata |= {"spacing": lengths, "unit": "nm"}
        resolution = {"resolution": (1e7 / lengths[-1], 1e7 / lengths[-2]), "resolutionunit": "CENTIMETER"}
    with atomic_path(path) as half:
        tifffile.imwrite(
            half, values, compression="zlib", photometric="minisblack", metadata=metadata, **resolution
        )
    return Path(path)


def checked_ids(
    labels: NDArray[np.integer], spacing: Sequence[float] | None, where: str | Path
) -> NDArray[np.uint32]:
    """The ids as uint32. Raises `DataError`, see `write_label_tiff`; ``where`` is for its message."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biu" or labels.ndim not in (2, 3):
        raise DataError(
            f"{where}: labels of type {labels.dtype} and shape {labels.shape}; whole numbers of 2 or 3 axes "
            "are expected"
        )
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < 2**32:
        raise DataError(f"{where}: ids from {labels.min()} to {labels.max()}; 0 to 2^32 - 1 is expected")
    if spacing is not None and (len(spacing) != labels.ndim or not all(n > 0 for n in spacing)):
        raise DataError(
            f"{where}: spacing {tuple(spacing)}; a length above 0 for each of {labels.ndim} axes is expected"
        )
    return labels.astype(np.uint32)
