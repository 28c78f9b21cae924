"""Frames of DICOM files (X-ray angiography, multi-frame or not) as a viewer shows them.

Stored values pass the modality transform, then the VOI window or table where the file has one; without one
the full range of the stored bits is shown. MONOCHROME1 is inverted, so that 0 is black in every result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

GREY = ("MONOCHROME1", "MONOCHROME2")


def dicom_frames(path: Path) -> Iterator[np.ndarray]:
    """Frames one by one: float32 ``(H, W)``, or ``(H, W, 3)`` for colour, in [0, 1].

    Windows of single frames (functional groups of enhanced files) are not applied. Raises `DataError` naming
    the file: no DICOM file, no pixel data, no frame, cut short, or a compression that needs a further
        library.
    """
    header = _header(path)
    kind = str(header.get("PhotometricInterpretation", ""))
    with damage_named(f"{path}: the frames cannot be shown"):
        for frame in _stored(header, path):
            if kind in GREY:
                yield _shown(frame, header, inverted=kind == "MONOCHROME1")
            else:
                yield _colour(frame, header, path)


def _header(path: Path) -> Dataset:
    from pydicom import dcmread

    with damage_named(f"{path}: expected a DICOM file, but it cannot be read"):
        header = dcmread(path)
        if "PixelData" not in header:
            raise DataError(f"{path}: the DICOM file holds no pixel data")
        if "NumberOfFrames" in header and not int(header.NumberOfFrames or 0):
            raise DataError(f"{path}: a clip of zero length (NumberOfFrames is 0)")
        return header


def _stored(header: Dataset, path: Path) -> np.ndarray:
    """Stored values ``(T, H, W)`` or ``(T, H, W, 3)``; YBR colours are turned to RGB by pydicom."""
    from pydicom.pixels import pixel_array

    syntax = getattr(header.file_meta.get("TransferSyntaxUID", ""), "name", "unknown")
    try:
        values = pixel_array(header)
    except Exception as error:  # pydicom and its plug-ins raise many kinds
        raise DataError(
            f"{path}: the frames cannot be decoded (transfer syntax {syntax}): {error}. The file is "
            "damaged or cut short, or pydicom lacks a plug-in for this compression (pylibjpeg, python-gdcm)"
        ) from error
    single = int(header.get("NumberOfFrames", 1) or 1) == 1
    return values[None] if single and values.ndim == 2 + (header.SamplesPerPixel > 1) else values


def _shown(frame: np.ndarray, header: Dataset, inverted: bool) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    values = apply_modality_lut(frame, header)
    table = header.get("VOILUTSequence")
    windowed = header.get("WindowWidth") not in (None, "") or table
    shown = apply_voi_lut(values, header) if windowed else values
    low, high = _table_range(table) if table else _range(header)
    unit = ((shown.astype(np.float32) - low) / (high - low)).clip(0, 1)
    return (1 - unit if inverted else unit).astype(np.float32)


def _range(header: Dataset) -> tuple[float, float]:
    """What the least and the greatest storable value become in the modality transform."""
    if table := header.get("ModalityLUTSequence"):
        return _table_range(table)
    bits, signed = int(header.BitsStored), bool(header.get("PixelRepresentation", 0))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = 1.0, 0.0
    if "RescaleSlope" in header and "RescaleIntercept" in header:  # as pydicom: both, or none
        slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _table_range(table: Sequence[Dataset]) -> tuple[float, float]:
    """Range of the entries of a modality or VOI table."""
    return 0.0, float(2 ** int(table[0].LUTDescriptor[2]) - 1)


def _colour(frame: np.ndarray, header: Dataset, path: Path) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    if header.PhotometricInterpretation == "PALETTE COLOR":
        frame = apply_color_lut(frame, header)[..., :3]
        return frame.astype(np.float32) / np.iinfo(frame.dtype).max
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise DataError(
            f"{path}: photometric interpretation {header.PhotometricInterpretation!r} is not known"
        )
    return frame.astype(np.float32) / (2 ** int(header.BitsStored) - 1)
