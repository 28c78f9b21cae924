"""LGG, ``kaggle_3m/<case>/<case>_<slice>.tif`` (pre-contrast, FLAIR, post-contrast) with ``_mask.tif``.

Source: Buda, Saha, Mazurowski, Computers in Biology and Medicine 2019; images from TCIA, TCGA-LGG. Do not mix
with BraTS, which holds some of the same patients.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mtl.datasets.brain_mri.slices import MIN_TUMOR_PIXELS, Finding, Slice, is_positive
from mtl.datasets.pictures import open_picture, read_mask, visible_files
from mtl.errors import DataError, ParameterError

FOLDER = "kaggle_3m"
CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")
_SLICE = re.compile(r"^(?P<case>.+)_(?P<number>\d+)$")


class LggKaggle3m:
    """All slices below ``kaggle_3m`` (or its parent), ordered by case and then by slice *number*.

    ``channel``: 0 pre-contrast, 1 FLAIR, 2 post-contrast (a missing sequence is filled with FLAIR). A slice
    is positive if its native mask has at least ``min_tumor_pixels`` pixels. ``patient`` is ``TCGA_XX_NNNN``,
    and ``XX`` is the institution (`institution`). Every slice has a mask, so the source is strong.

    Raises `DataError` naming the file: missing root, no case, slice without mask, mask of another size (when
    read), not three channels (when read), damaged TIFF.
    """

    def __init__(
        self,
        root: str | Path,
        channel: int = 1,
        *,
        min_tumor_pixels: int = MIN_TUMOR_PIXELS,
        name: str = "lgg",
    ) -> None:
        if channel not in range(len(CHANNELS)):
            raise ParameterError(
                f"channel={channel} must be 0 (pre-contrast), 1 (FLAIR) or 2 (post-contrast)"
            )
        self.name, self.channel, self.min_tumor_pixels = name, channel, min_tumor_pixels
        self.problems: list[Finding] = []
        files = case_slices(root)
        self._paths = {f"{name}/{path.parent.name}/{path.name}": path for path in files}
        with ThreadPoolExecutor() as pool:
            positives = list(pool.map(self._is_positive, files))
        pairs = zip(self._paths.items(), positives, strict=True)
        self.slices = [self._describe(identity, path, cls) for (identity, path), cls in pairs]

    def read(self, item: Slice) -> tuple[np.ndarray, np.ndarray]:
        """One channel, float32 ``(H, W)`` in 0..255, and its mask, uint8 ``(H, W)``."""
        path = self._paths[item.id]
        image, mask = read_channels(path)[..., self.channel], read_mask(mask_path(path))
        if mask.shape != image.shape:
            raise DataError(f"{mask_path(path)}: shape {mask.shape}, but {path.name} has {image.shape}")
        return image.astype(np.float32), mask

    def path_of(self, item: Slice) -> Path:
        """The slice's TIFF file."""
        return self._paths[item.id]

    def _is_positive(self, path: Path) -> int:
        return is_positive(read_mask(mask_path(path)), self.min_tumor_pixels)

    def _describe(self, identity: str, path: Path, cls: int) -> Slice:
        patient = patient_of(path.parent.name)
        number = slice_number(path)
        return Slice(identity, self.name, patient, patient, number, cls, has_mask=True, strong=True)


def case_slices(root: str | Path) -> list[Path]:
    """The image files of all cases, by case and slice number; every one has its mask file.

    Raises `DataError` where the layout is not ``kaggle_3m/<case>/<case>_<slice>.tif``.
    """
    folder = Path(root) / FOLDER if (Path(root) / FOLDER).is_dir() else Path(root)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected {FOLDER}/<case>/<case>_<slice>.tif")
    cases = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = [path for case in cases for path in _slices_of(case)]
    if not files:
        raise DataError(f"{folder}: no slice found; expected {FOLDER}/<case>/<case>_<slice>.tif")
    return files


def read_channels(path: Path) -> np.ndarray:
    """All three channels, uint8 ``(H, W, 3)``; raises `DataError` for another shape."""
    array = np.asarray(open_picture(path))
    if array.ndim != 3 or array.shape[2] != len(CHANNELS):
        raise DataError(f"{path}: expected 3 channels ({', '.join(CHANNELS)}), found shape {array.shape}")
    return array


def mask_path(path: Path) -> Path:
    """The mask beside an image file."""
    return path.with_name(f"{path.stem}_mask{path.suffix}")


def patient_of(case: str) -> str:
    """``TCGA_XX_NNNN`` of ``TCGA_XX_NNNN_<date>``."""
    return "_".join(case.split("_")[:3])


def institution(patient: str) -> str:
    """The institution's two letters in a TCGA patient id (``TCGA_HT_7694`` -> ``HT``)."""
    return patient.split("_")[1]


def slice_number(path: Path) -> int:
    """The number at the end of a slice's file name; raises `DataError` where there is none."""
    found = _SLICE.match(path.stem)
    if not found:
        raise DataError(f"{path}: expected a name like <case>_<slice>.tif, with a slice number at the end")
    return int(found["number"])


def _slices_of(case: Path) -> list[Path]:
    tiffs = [path for path in visible_files(case) if path.suffix.lower() in (".tif", ".tiff")]
    images = sorted((path for path in tiffs if not path.stem.endswith("_mask")), key=slice_number)
    for image in images:
        if not mask_path(image).is_file():
            raise DataError(f"{mask_path(image)}: no such file; every LGG slice has a mask beside it")
    return images
