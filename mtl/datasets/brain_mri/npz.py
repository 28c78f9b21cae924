"""Preprocessed slices, one ``.npz`` each: ``image`` (H, W), ``mask`` (H, W, optional), ``cls`` (0/1)."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mtl.datasets.brain_mri.slices import MIN_TUMOR_PIXELS, Finding, Slice, is_positive
from mtl.errors import DataError

_NAME = re.compile(r"^(?P<patient>.+?)[_-](?:slice[_-]?)?(?P<number>\d+)$")


class NpzSlices:
    """All ``.npz`` files below ``root``.

    ``patient`` is the file's key ``patient`` where it has one, else the file name before its last number
    (``BraTS20_001_slice_70.npz`` -> ``BraTS20_001``, slice 70). Where there is a mask, the label is the one
    rule on it (``min_tumor_pixels``), and a stored ``cls`` that says otherwise is noted in ``problems``;
    without a mask ``cls`` is needed. The source is strong if every file has a mask.

    Raises `DataError` naming the file: nothing found, unreadable, no ``image``, neither ``mask`` nor ``cls``,
    wrong shape, NaN.
    """

    def __init__(
        self, root: str | Path, *, min_tumor_pixels: int = MIN_TUMOR_PIXELS, name: str = "npz"
    ) -> None:
        self.name, self.min_tumor_pixels = name, min_tumor_pixels
        self.problems: list[Finding] = []
        root = Path(root)
        files = sorted(root.rglob("*.npz")) if root.is_dir() else []
        if not files:
            raise DataError(f"{root}: no .npz file found; expected slices with the keys image, mask, cls")
        self._paths = {f"{name}/{path.relative_to(root).as_posix()}": path for path in files}
        contents = {identity: self._label(path) for identity, path in self._paths.items()}
        strong = all(has_mask for _, _, has_mask in contents.values())
        self.slices = [self._describe(identity, *content, strong) for identity, content in contents.items()]

    def read(self, item: Slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Image float32 ``(H, W)`` and mask uint8 ``(H, W)``, or ``None``."""
        arrays = load_npz(self._paths[item.id])
        mask = arrays.get("mask")
        return arrays["image"].astype(np.float32), None if mask is None else (mask > 0).astype(np.uint8)

    def _label(self, path: Path) -> tuple[str | None, int, bool]:
        """Patient (if stored), label, and whether there is a mask."""
        arrays = load_npz(path)
        patient = str(arrays["patient"]) if "patient" in arrays else None
        stored = int(arrays["cls"].item()) if "cls" in arrays else None
        if "mask" not in arrays:
            return patient, stored, False
        cls = is_positive(arrays["mask"] > 0, self.min_tumor_pixels)
        if stored not in (None, cls):
            text = (
                f"cls is {stored}, but its mask has {np.count_nonzero(arrays['mask'])} pixels: {cls} is used"
            )
            self.problems.append(Finding("warning", str(path), text))
        return patient, cls, True

    def _describe(self, identity: str, patient: str | None, cls: int, has_mask: bool, strong: bool) -> Slice:
        named = _NAME.match(self._paths[identity].stem)
        patient = patient or (named["patient"] if named else self._paths[identity].stem)
        number = int(named["number"]) if named else 0
        return Slice(identity, self.name, patient, patient, number, cls, has_mask, strong)


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The checked arrays of one file that can be learnt from: ``image``, and ``mask`` or ``cls``."""
    arrays = read_npz(path)
    if not {"mask", "cls"} & set(arrays):
        raise DataError(f"{path}: expected the keys image and mask or cls, found {', '.join(arrays)}")
    return arrays


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The checked arrays of one file, ``image`` at least; a leading or trailing axis of length one goes.

    Raises `DataError` naming the file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: expected an .npz archive of plain arrays, but it cannot be read ({error})"
        ) from error
    if "image" not in arrays:
        raise DataError(f"{path}: expected the key image, found {', '.join(arrays) or 'none'}")
    for key in {"image", "mask"} & set(arrays):
        arrays[key] = _plane(arrays[key], path, key)
    if "mask" in arrays and arrays["mask"].shape != arrays["image"].shape:
        raise DataError(f"{path}: mask has shape {arrays['mask'].shape}, image {arrays['image'].shape}")
    if "cls" in arrays and (arrays["cls"].size != 1 or arrays["cls"].item() not in (0, 1)):
        raise DataError(f"{path}: cls must be 0 or 1")
    return arrays


def _plane(array: np.ndarray, path: Path, key: str) -> np.ndarray:
    if array.ndim == 3:
        array = array[0] if array.shape[0] == 1 else array[..., 0] if array.shape[-1] == 1 else array
    if array.ndim != 2:
        raise DataError(f"{path}: {key} has shape {array.shape}; expected (H, W)")
    if not np.isfinite(array).all():
        raise DataError(f"{path}: {key} has NaN or infinite values")
    return array
