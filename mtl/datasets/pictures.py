"""Pictures (JPEG, PNG, TIFF) as float32 grey arrays, whatever their mode and their extension."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from mtl.errors import DataError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})
MASK_THRESHOLD = 127


def picture_files(folder: Path) -> list[Path]:
    """The pictures directly in ``folder``, sorted; hidden files and the litter of desktops are left out."""
    return sorted(path for path in visible_files(folder) if path.suffix.lower() in PICTURE_SUFFIXES)


def visible_files(folder: Path) -> Iterator[Path]:
    """The files directly in ``folder`` that a person put there."""
    for path in folder.iterdir():
        hidden = path.name.startswith((".", "._")) or path.name.lower() in IGNORED_NAMES
        if path.is_file() and not hidden:
            yield path


def open_picture(path: Path) -> Image.Image:
    """Open and fully decode a picture by its content (the extension is not believed).

    Raises `DataError` for a file that is no picture, is damaged, or stops in the middle (a process-wide
    ``LOAD_TRUNCATED_IMAGES`` would hide that, so it is refused), and for a TIFF of several pages of one size:
    planes, or channels that each have a page, of which Pillow gives the first.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise DataError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: damaged pictures would pass as whole ones"
        )
    try:
        with Image.open(path) as picture:
            picture.load()
            whole = picture.copy()
            whole.format = picture.format
            pages = _pages_of_one_size(picture) if picture.format == "TIFF" else 1
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: expected a complete picture, but it cannot be decoded ({error})") from error
    if pages > 1:
        raise DataError(
            f"{path}: a TIFF of {pages} pages of one size; a picture of one page is expected, with its "
            "colours in it, and planes as files of their own"
        )
    return whole


def _pages_of_one_size(picture: Image.Image) -> int:
    """How many pages are as large as the first; a smaller one is a preview."""
    first, count = picture.size, 0
    for page in range(picture.n_frames):
        picture.seek(page)
        count += picture.size == first
    return count


def read_grey(path: Path) -> np.ndarray:
    """Read a picture as grey values: float32 ``(H, W)``, 0..255 for 8-bit files, native range for 16-bit.

    Colour is reduced with the ITU-R 601 luma; transparency is laid over black; palettes are expanded.
    Raises `DataError` as `open_picture` does.
    """
    return grey_of(open_picture(path))


def read_mask(path: Path) -> np.ndarray:
    """Read a mask picture: uint8 ``(H, W)`` of 0/1, foreground above 127 (JPEG masks are not binary)."""
    return (read_grey(path) > MASK_THRESHOLD).astype(np.uint8)


def grey_of(picture: Image.Image) -> np.ndarray:
    """Grey values of a decoded picture, float32 ``(H, W)``; see `read_grey`."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return np.asarray(picture, dtype=np.float32)
    if picture.mode == "1":
        return np.asarray(picture.convert("L"), dtype=np.float32)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return np.asarray(picture.convert("RGB").convert("L"), dtype=np.float32)
