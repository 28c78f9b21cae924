"""A stack of sections in one multi-page TIFF, or in a folder with one picture per section."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from mtl.errors import DataError

SUFFIXES = (".png", ".tif", ".tiff")
_NUMBER = re.compile(r"(\d+)(?=\D*$)")


def read_planes(path: str | Path) -> np.ndarray:
    """All planes as one array (z, y, x) in the file's dtype, loaded whole.

    A folder's pictures are taken by the last *number* in their names (plane 10 comes after plane 9) and must
    have one size and no number missing. Raises `DataError` naming the file: missing, damaged, cut short,
    colour, planes of several sizes, a gap in the numbers.
    """
    path = Path(path)
    array = _folder_planes(path) if path.is_dir() else _tiff_planes(path)
    if array.ndim != 3:
        raise DataError(f"{path}: has shape {array.shape}; expected grey planes (z, y, x)")
    return array


def _tiff_planes(path: Path) -> np.ndarray:
    import tifffile

    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; expected a multi-page TIFF, or a folder of planes")
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            axes, array = series.axes, series.asarray()
            n_series, cut_short = len(file.series), _is_cut_short(file)
    except (
        tifffile.TiffFileError,
        OSError,
        ValueError,
        IndexError,
        EOFError,
        RuntimeError,
        zlib.error,
    ) as error:
        raise DataError(f"{path}: expected a complete TIFF, but it cannot be read ({error})") from error
    if cut_short:
        raise DataError(f"{path}: expected a complete TIFF, but its last pages are cut off")
    if n_series > 1:
        raise DataError(f"{path}: has {n_series} series of pages; expected planes of one size and type")
    if "S" in axes or "C" in axes:
        raise DataError(f"{path}: has axes {axes} and shape {array.shape}; expected grey planes (z, y, x)")
    if axes[-2:] != "YX":
        raise DataError(f"{path}: has axes {axes}: wrong axis order; expected planes (z, y, x)")
    return array[None] if array.ndim == 2 else array


def _is_cut_short(file: object) -> bool:
    """Whether the last page's pixels reach beyond the end of the file (tifffile fills such pages with 0)."""
    size = file.filehandle.size  # type: ignore[attr-defined]
    pages = file.pages  # type: ignore[attr-defined]
    ends = (
        offset + count
        for page in pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    )
    return max(ends, default=0) > size


def _folder_planes(folder: Path) -> np.ndarray:
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    if not files:
        raise DataError(f"{folder}: no plane found; expected pictures ({', '.join(SUFFIXES)}) with numbers")
    numbered = sorted((_number(path), path) for path in files)
    for (before, _), (number, path) in zip(numbered, numbered[1:], strict=False):
        if number != before + 1:
            what = "occurs twice" if number == before else f"follows {before}: planes are missing"
            raise DataError(f"{path}: plane {number} {what}; expected one picture per plane, without gaps")
    planes = [_read_plane(path) for _, path in numbered]
    for (_, path), plane in zip(numbered, planes, strict=True):
        if plane.shape != planes[0].shape or plane.dtype != planes[0].dtype:
            raise DataError(
                f"{path}: {plane.dtype} of shape {plane.shape}; expected {planes[0].dtype} of shape "
                f"{planes[0].shape} as in {numbered[0][1].name}"
            )
    return np.stack(planes)


def _number(path: Path) -> int:
    found = _NUMBER.search(path.stem)
    if not found:
        raise DataError(f"{path}: no number in the name; expected names like plane_0007{path.suffix}")
    return int(found[1])


def _read_plane(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            pages = getattr(picture, "n_frames", 1)
            plane = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: expected a complete picture, but it cannot be decoded ({error})") from error
    if pages > 1:
        raise DataError(f"{path}: has {pages} pages; expected one plane a file (or one TIFF as a stack)")
    if plane.ndim != 2:
        raise DataError(f"{path}: has shape {plane.shape}; expected a grey plane (y, x)")
    return plane
