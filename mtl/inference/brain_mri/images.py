"""What the predictor takes: files, PIL pictures and arrays, made grey slices by the loaders' rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mtl.datasets.brain_mri.brats import SUFFIXES as VOLUME_SUFFIXES
from mtl.datasets.brain_mri.lgg import CHANNELS
from mtl.datasets.brain_mri.npz import read_npz
from mtl.datasets.pictures import IGNORED_NAMES, PICTURE_SUFFIXES, grey_of, open_picture
from mtl.errors import DataError

ImageLike = str | Path | Image.Image | np.ndarray
_FLAIR = CHANNELS.index("FLAIR")
_LUMA = np.array([0.299, 0.587, 0.114])


def is_volume(path: str | Path) -> bool:
    """Whether the file's name is that of a NIfTI volume."""
    return Path(path).name.lower().endswith(VOLUME_SUFFIXES)


def read_slice(image: ImageLike) -> np.ndarray:
    """A grey slice, float32 ``(H, W)``, of whatever is given.

    A picture file is known by its content, whatever its extension; a TIFF of three channels is read as
    kaggle_3m's are (pre-contrast, FLAIR, post-contrast): FLAIR is taken. An ``.npz`` file gives its
    ``image``. Arrays are ``(H, W)``, or ``(H, W, 3)`` in colour, reduced with the ITU-R 601 luma as pictures
    are.

    Raises:
        DataError: not readable, of another shape, or a volume (``predict_volume`` takes those).
    """
    if isinstance(image, np.ndarray):
        return _grey_array(image)
    if isinstance(image, Image.Image):
        return grey_of(image)
    path = Path(image)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if is_volume(path):
        raise DataError(f"{path}: a volume, not a slice; predict_volume takes it")
    if path.suffix.lower() == ".npz":
        return read_npz(path)["image"].astype(np.float32)
    picture = open_picture(path)
    if picture.format == "TIFF" and picture.mode == "RGB":
        return np.asarray(picture)[..., _FLAIR].astype(np.float32)
    return grey_of(picture)


def image_files(folder: Path, leave_out: Path | None = None) -> tuple[list[Path], list[Path]]:
    """Files below ``folder`` that look like images, and those of other kinds; both sorted.

    Hidden files are passed over, and so are masks beside their image (``a_mask.tif`` of ``a.tif``, ``a_seg``
    of ``a_flair``) and everything below ``leave_out``.
    """
    every = sorted(path for path in folder.rglob("*") if path.is_file() and _is_visible(path, folder))
    every = [path for path in every if leave_out is None or not path.is_relative_to(leave_out)]
    names = {(path.parent, _stem(path)) for path in every}
    kept = [path for path in every if not _is_truth(path, names)]
    known = [path for path in kept if is_volume(path) or path.suffix.lower() in PICTURE_SUFFIXES | {".npz"}]
    return known, sorted(set(kept) - set(known))


def _is_visible(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder).parts
    return not any(part.startswith(".") for part in inside) and path.name.lower() not in IGNORED_NAMES


def _stem(path: Path) -> str:
    return path.name.split(".nii")[0] if is_volume(path) else path.stem


def _is_truth(path: Path, names: set[tuple[Path, str]]) -> bool:
    stem = _stem(path)
    if stem.endswith("_mask"):
        return (path.parent, stem.removesuffix("_mask")) in names
    return stem.endswith("_seg") and (path.parent, stem.removesuffix("seg") + "flair") in names


def _grey_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2 and array.dtype != object:
        return array.astype(np.float32)
    if array.ndim != 3 or array.shape[2] != 3:
        raise DataError(f"an array of shape {array.shape}: expected a slice (H, W) or (H, W, 3)")
    if array.dtype == np.uint8:  # as Pillow rounds it: an array and its picture give the same slice
        return grey_of(Image.fromarray(array))
    return (array.astype(np.float64) @ _LUMA).astype(np.float32)
