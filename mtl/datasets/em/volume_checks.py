"""What the arrays of a volume must be, as checks whose messages say where the array came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl.errors import DataError

SQUARE = 1.25  # in-plane pixels of EM are square; a larger ratio of y to x means swapped axes


def check_image(image: Any, where: str) -> None:
    """Raise `DataError` unless ``image`` is a grey volume (z, y, x) of numbers."""
    if len(image.shape) != 3 or 0 in image.shape:
        raise DataError(f"{where} has shape {tuple(image.shape)}; expected a grey volume (z, y, x)")
    kind = np.dtype(image.dtype)
    if not (np.issubdtype(kind, np.integer) or np.issubdtype(kind, np.floating)):
        raise DataError(f"{where} has dtype {kind}; expected integer or float grey values")


def check_labels(labels: Any, image: Any, where: str, image_where: str) -> None:
    """Raise `DataError` unless ``labels`` are integer ids of the image's shape, in the same axis order."""
    kind = np.dtype(labels.dtype)
    if np.issubdtype(kind, np.floating):
        raise DataError(
            f"{where} has dtype {kind}; expected integer instance ids (float32 cannot tell ids above "
            "16,777,216 apart: write them again from their source, or with labels.astype('uint64') if every "
            "value is whole)"
        )
    if not np.issubdtype(kind, np.integer):
        raise DataError(f"{where} has dtype {kind}; expected integer instance ids")
    mine, other = tuple(labels.shape), tuple(image.shape)
    if mine == other:
        return
    if sorted(mine) == sorted(other):
        raise DataError(
            f"{where} has shape {mine}, {image_where} {other}: wrong axis order in one of them; expected "
            "(z, y, x) in both"
        )
    raise DataError(f"{where} has shape {mine}, {image_where} {other}; expected the same shape (z, y, x)")


def check_spacing(spacing: Sequence[float] | None, where: str) -> tuple[float, float, float]:
    """The spacing as three floats; raises `DataError` where it is missing or no voxel size."""
    if spacing is None:
        raise DataError(
            f"{where}: no voxel spacing; pass spacing=(z, y, x) in nm, e.g. (30, 6, 6) for SNEMI3D, "
            "(50, 4, 4) for ISBI 2012"
        )
    try:
        values = tuple(float(value) for value in spacing)
    except (TypeError, ValueError):  # one number, or words
        values = ()
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise DataError(f"{where}: spacing {spacing}; expected three positive numbers (z, y, x) in nm")
    return values  # type: ignore[return-value]


def check_axis_order(spacing: Sequence[float] | None, where: str) -> tuple[float, float, float]:
    """`check_spacing`, and the pixels in the plane must be square: sections are the only coarse axis."""
    values = check_spacing(spacing, where)
    if max(values[1:]) > SQUARE * min(values[1:]):
        raise DataError(
            f"{where}: spacing {values} has pixels of {values[1]:g} x {values[2]:g} nm in the plane, which "
            "EM does not have: wrong axis order? expected (z, y, x) in nm, with the sections' thickness first"
        )
    return values
