"""A stack of sections in one multi-page TIFF, or in a folder with one picture per section."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError

if TYPE_CHECKING:
    import tifffile

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
    message = f"{path}: expected a complete TIFF, but it cannot be read"
    with damage_named(message), tifffile.TiffFile(path) as file:
        if _is_cut_short(file):
            raise DataError(f"{path}: expected a complete TIFF, but its last pages are cut off")
        if len(file.series) == 1:
            axes, array = file.series[0].axes, file.series[0].asarray()
        else:
            axes, array = _page_by_page(file, path)
    if "S" in axes or "C" in axes:
        raise DataError(f"{path}: has axes {axes} and shape {array.shape}; expected grey planes (z, y, x)")
    if axes[-2:] != "YX":
        raise DataError(f"{path}: has axes {axes}: wrong axis order; expected planes (z, y, x)")
    return array[None] if array.ndim == 2 else array


def _page_by_page(file: tifffile.TiffFile, path: Path) -> tuple[str, np.ndarray]:
    """Axes and pixels of a TIFF whose pages were written one after another; tifffile tells them apart."""
    kinds = {(page.shape, page.dtype, page.axes) for page in file.pages}
    if len(kinds) > 1:
        shown = ", ".join(sorted(f"{dtype} {shape}" for shape, dtype, _ in kinds))
        raise DataError(f"{path}: has pages of {shown}; expected planes of one size and type")
    return f"Z{file.pages[0].axes}", np.stack([page.asarray() for page in file.pages])


def _is_cut_short(file: tifffile.TiffFile) -> bool:
    """Whether pixels or a further page are said to lie where the file has ended.

    tifffile fills missing pixels with 0, and leaves out pages that it does not find.
    """
    ends = (
        offset + count
        for page in file.pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    )
    return max(ends, default=0) > file.filehandle.size or _next_page(file) != 0


def _next_page(file: tifffile.TiffFile) -> int:
    """Where the last page that was found says that the next one begins; 0: it is the last."""
    handle, sizes, start = file.filehandle, file.tiff, file.pages[-1].offset
    handle.seek(start)
    (n_tags,) = struct.unpack(sizes.tagnoformat, handle.read(sizes.tagnosize))
    handle.seek(start + sizes.tagnosize + n_tags * sizes.tagsize)
    return struct.unpack(sizes.offsetformat, handle.read(sizes.offsetsize))[0]


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
    message = f"{path}: expected a complete picture, but it cannot be decoded"
    with damage_named(message), Image.open(path) as picture:
        pages = getattr(picture, "n_frames", 1)
        plane = np.asarray(picture)
    if pages > 1:
        raise DataError(f"{path}: has {pages} pages; expected one plane a file (or one TIFF as a stack)")
    if plane.ndim != 2:
        raise DataError(f"{path}: has shape {plane.shape}; expected a grey plane (y, x)")
    return plane
