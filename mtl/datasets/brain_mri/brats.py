"""BraTS 2020/2021 and Medical Segmentation Decathlon Task01: NIfTI volumes, sliced on the fly.

Layouts: ``<patient>/<patient>_flair.nii[.gz]`` with ``_seg.nii[.gz]`` (BraTS), and
``imagesTr/BRATS_001.nii.gz`` (four channels, FLAIR first) with ``labelsTr/BRATS_001.nii.gz`` (Task01). The
whole tumour is every label above 0.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtl.datasets.brain_mri.slices import MIN_TUMOR_PIXELS, Finding, Slice, is_positive
from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError, ParameterError

SUFFIXES = (".nii.gz", ".nii")
MSD_CHANNELS = {"flair": 0, "t1": 1, "t1ce": 2, "t2": 3}
KEPT_VOLUMES = 4


@dataclass(frozen=True)
class Case:
    """Files of one patient; ``channel`` is the modality's place in a 4-D file, else ``None``."""

    patient: str
    image: Path
    mask: Path
    channel: int | None = None


class BratsVolumes:
    """Every ``step``-th slice with enough brain, from all patients found under ``root``.

    ``axis`` is anatomical, whatever the file's axis order: 0 sagittal, 1 coronal, 2 axial; slices are turned
    so that anterior (superior for the others) is up. ``min_brain``: least share of non-zero pixels. A slice
    is positive if its mask has at least ``min_tumor_pixels`` pixels. Opening reads every volume once, to find
    the slices; compressed volumes are kept in a small cache, since gzip cannot be entered in the middle.

    Raises `DataError` naming the file: nothing found, missing segmentation, shapes that differ, NaN.
    """

    def __init__(
        self,
        root: str | Path,
        modality: str = "flair",
        axis: int = 2,
        step: int = 2,
        *,
        min_brain: float = 0.1,
        min_tumor_pixels: int = MIN_TUMOR_PIXELS,
        name: str = "brats",
    ) -> None:
        if axis not in (0, 1, 2) or step < 1:
            raise ParameterError(f"axis={axis} must be 0, 1 or 2, and step={step} at least 1")
        self.name, self.axis, self.step = name, axis, step
        self.min_brain, self.min_tumor_pixels = min_brain, min_tumor_pixels
        self.problems: list[Finding] = []
        self._volumes = _VolumeCache(KEPT_VOLUMES)
        self._cases = {case.patient: case for case in find_cases(root, modality)}
        self.slices = [item for case in self._cases.values() for item in self._slices_of(case)]

    def read(self, item: Slice) -> tuple[np.ndarray, np.ndarray]:
        """One slice, float32 ``(H, W)`` in native units, and the whole-tumour mask, uint8 ``(H, W)``."""
        case = self._cases[item.patient]
        image = self._volumes.plane(case.image, case.channel, self.axis, item.slice)
        mask = self._volumes.plane(case.mask, None, self.axis, item.slice)
        return image.astype(np.float32), (mask > 0).astype(np.uint8)

    def _slices_of(self, case: Case) -> list[Slice]:
        length = self._check(case)
        found = []
        for number in range(0, length, self.step):
            image = self._volumes.plane(case.image, case.channel, self.axis, number)
            if not np.isfinite(image).all():
                raise DataError(f"{case.image}: slice {number} has NaN or infinite values")
            if np.count_nonzero(image) >= self.min_brain * image.size:
                found.append(self._describe(case, number))
        return found

    def _describe(self, case: Case, number: int) -> Slice:
        mask = self._volumes.plane(case.mask, None, self.axis, number)
        cls = is_positive(mask > 0, self.min_tumor_pixels)
        identity = f"{self.name}/{case.patient}/{number:03d}"
        return Slice(identity, self.name, case.patient, case.patient, number, cls, has_mask=True, strong=True)

    def _check(self, case: Case) -> int:
        """Compare the shapes; returns the number of slices along the axis."""
        image, mask = open_volume(case.image), open_volume(case.mask)
        dimensions = 3 if case.channel is None else 4
        if len(image.shape) != dimensions or len(mask.shape) != 3:
            raise DataError(f"{case.image}: expected {dimensions} dimensions, found shape {image.shape}")
        if image.shape[:3] != mask.shape:
            raise DataError(f"{case.mask}: shape {mask.shape}, but {case.image.name} has {image.shape[:3]}")
        return image.shape[_voxel_axis(image.affine, self.axis)]


def find_cases(root: str | Path, modality: str = "flair") -> list[Case]:
    """The patients under ``root``, in the BraTS or the Task01 layout, sorted by name."""
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected BraTS patients or imagesTr/ and labelsTr/")
    cases = _decathlon_cases(root, modality) if (root / "imagesTr").is_dir() else _brats_cases(root, modality)
    if not cases:
        raise DataError(
            f"{root}: no volume found; expected <patient>/<patient>_{modality}.nii[.gz] with _seg"
        )
    return cases


def _brats_cases(root: Path, modality: str) -> list[Case]:
    ending = f"_{modality}"
    images = (path for path in root.rglob("*.nii*") if _stem(path).endswith(ending))
    return [_brats_case(path, _stem(path).removesuffix(ending)) for path in sorted(images, key=_stem)]


def _brats_case(image: Path, patient: str) -> Case:
    for suffix in SUFFIXES:
        mask = image.with_name(f"{patient}_seg{suffix}")
        if mask.is_file():
            return Case(patient, image, mask)
    raise DataError(
        f"{image.with_name(patient + '_seg.nii.gz')}: no such file; every volume needs its segmentation"
    )


def _decathlon_cases(root: Path, modality: str) -> list[Case]:
    if modality not in MSD_CHANNELS:
        raise ParameterError(f"modality={modality!r} is not one of {', '.join(MSD_CHANNELS)}")
    images = [path for path in sorted((root / "imagesTr").glob("*.nii*")) if not path.name.startswith(".")]
    for path in images:
        if not (root / "labelsTr" / path.name).is_file():
            raise DataError(
                f"{root / 'labelsTr' / path.name}: no such file; every volume needs its segmentation"
            )
    channel = MSD_CHANNELS[modality]
    return [Case(_stem(path), path, root / "labelsTr" / path.name, channel) for path in images]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def open_volume(path: Path) -> Any:
    """The nibabel image of a NIfTI file, its voxels not read yet; raises `DataError` for another file."""
    # imported here: the library is needed only where volumes are read
    import nibabel

    with damage_named(f"{path}: expected a NIfTI volume, but it cannot be read"):
        return nibabel.load(path)


def _orientation(affine: np.ndarray) -> np.ndarray:
    """Per voxel axis: the anatomical axis (0 left-right, 1 back-front, 2 feet-head) and its sign."""
    import nibabel

    return nibabel.io_orientation(affine).astype(int)


def _voxel_axis(affine: np.ndarray, axis: int) -> int:
    return int(np.flatnonzero(_orientation(affine)[:, 0] == axis)[0])


class _VolumeCache:
    """Planes of volumes; the last few compressed ones stay decoded. Safe to use from several threads."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._arrays: OrderedDict[tuple[Path, int | None], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def plane(self, path: Path, channel: int | None, axis: int, number: int) -> np.ndarray:
        """Slice ``number`` along an anatomical axis, turned upright: ``(H, W)``."""
        image = open_volume(path)
        orientation = _orientation(image.affine)
        along = _voxel_axis(image.affine, axis)
        position = number if orientation[along, 1] > 0 else image.shape[along] - 1 - number
        window = [position if voxel == along else slice(None) for voxel in range(3)]
        plane = self._window(path, image, channel, tuple(window))
        rest = [voxel for voxel in range(3) if voxel != along]
        plane = np.flip(plane, [place for place, voxel in enumerate(rest) if orientation[voxel, 1] < 0])
        upright = plane if orientation[rest[0], 0] < orientation[rest[1], 0] else plane.T
        return np.rot90(upright)

    def _window(self, path: Path, image: Any, channel: int | None, window: tuple) -> np.ndarray:
        if path.suffix != ".gz":
            return np.asarray(image.dataobj[window if channel is None else (*window, channel)])
        return self._whole(path, image, channel)[window]

    def _whole(self, path: Path, image: Any, channel: int | None) -> np.ndarray:
        key = (path, channel)
        with self._lock:
            if key not in self._arrays:
                with damage_named(f"{path}: expected a whole volume, but its voxels cannot be read"):
                    array = np.asarray(image.dataobj if channel is None else image.dataobj[..., channel])
                self._arrays[key] = array
            self._arrays.move_to_end(key)
            while len(self._arrays) > self._kept:
                self._arrays.popitem(last=False)
            return self._arrays[key]
