"""NIfTI volumes, slice by slice along the feet-head axis, turned as the training's slices are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtl.datasets.brain_mri.brats import open_volume
from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError
from mtl.inference.brain_mri.export import write_nifti_mask
from mtl.inference.brain_mri.prediction import Prediction
from mtl.inference.brain_mri.predictor import MultiTaskPredictor
from mtl.inference.brain_mri.uncertainty import UncertaintyOptions

MIN_BRAIN = 0.1


@dataclass(frozen=True, eq=False)
class VolumePrediction:
    """What was found in a volume.

    ``mask`` is uint8 in the file's own voxel order and shape; ``tumor_prob`` ``(Z,)`` goes from feet to head,
    NaN for slices with too little in them to be looked at; ``source`` is the nibabel image. ``highest`` is
    the slice (numbered ``highest_slice``) of the highest tumour probability, upright.
    """

    mask: NDArray[np.uint8]
    tumor_prob: NDArray[np.float64]
    highest: Prediction
    highest_slice: int
    source: Any

    @property
    def tumor_voxels(self) -> int:
        """Voxels of the mask."""
        return int(self.mask.sum())

    def save_mask(self, path: str | Path) -> None:
        """Write the mask as NIfTI with the input's affine and shape."""
        write_nifti_mask(Path(path), self.mask, self.source)


def predict_volume(
    predictor: MultiTaskPredictor,
    path: str | Path,
    *,
    min_brain: float = MIN_BRAIN,
    grad_cam: bool = False,
    uncertainty: UncertaintyOptions | None = None,
) -> VolumePrediction:
    """Predict a NIfTI volume; slices below the classification threshold are not decoded and have no mask.

    Args:
        path: ``.nii`` or ``.nii.gz`` of three axes, in any orientation; of a file with four, the first
            channel is taken (FLAIR in the Decathlon's files).
        min_brain: least share of non-zero voxels of a slice that is looked at, as in training.
        grad_cam, uncertainty: as in ``predict_batch``, for ``highest``.

    Raises:
        DataError: not such a volume, NaN in it, or no slice with enough in it.
    """
    source = open_volume(Path(path))
    upright = _upright_slices(source, Path(path))
    numbers = [z for z, plane in enumerate(upright) if _is_filled(plane, min_brain)]
    if not numbers:
        raise DataError(f"{path}: no slice has {min_brain:.0%} of its voxels filled; expected a brain volume")
    probability, masks = np.full(len(upright), np.nan), np.zeros(upright.shape, np.uint8)
    for start in range(0, len(numbers), predictor.batch_size):
        some = numbers[start : start + predictor.batch_size]
        for z, one in zip(some, _predict(predictor, upright, some, path), strict=True):
            probability[z] = one.tumor_prob
            if one.mask is not None:
                masks[z] = one.mask
    top = int(np.nanargmax(probability))
    options = {"conditional": True, "grad_cam": grad_cam, "uncertainty": uncertainty}
    highest = predictor.predict_batch([upright[top]], **options)[0]
    return VolumePrediction(_in_file_order(masks, source), probability, highest, top, source)


def upright_slices(path: str | Path) -> NDArray[np.float32]:
    """A NIfTI volume as ``(Z, H, W)``: feet to head, anterior up, the patient's left on the left.

    Of a file with four axes the first channel. Raises `DataError`: not such a volume, or NaN in it.
    """
    return _upright_slices(open_volume(Path(path)), Path(path))


def _predict(
    predictor: MultiTaskPredictor, upright: NDArray, numbers: list[int], path: str | Path
) -> list[Prediction]:
    try:
        return predictor.predict_batch([upright[z] for z in numbers], conditional=True)
    except DataError as error:
        raise DataError(f"{path}, slices {numbers[0]} to {numbers[-1]}: {error}") from error


def _is_filled(plane: NDArray, min_brain: float) -> bool:
    return np.count_nonzero(plane) >= min_brain * plane.size and plane.min() < plane.max()


def _upright_slices(source: Any, path: Path) -> NDArray[np.float32]:
    """See `upright_slices`; ``source`` is the nibabel image."""
    import nibabel

    expected = f"{path}: shape {source.shape}; expected a volume of three axes, or four, with an affine"
    with damage_named(expected):
        lost = np.isnan(nibabel.io_orientation(source.affine)).any()
    if len(source.shape) not in (3, 4) or lost:
        raise DataError(expected)
    with damage_named(f"{path}: expected a whole volume of grey values, but they cannot be read"):
        voxels = np.asarray(source.dataobj if len(source.shape) == 3 else source.dataobj[..., 0], np.float32)
    if not np.isfinite(voxels).all():
        raise DataError(f"{path}: the volume has NaN or infinite values")
    canonical = nibabel.apply_orientation(voxels, nibabel.io_orientation(source.affine))
    return np.ascontiguousarray(np.rot90(canonical, axes=(0, 1)).transpose(2, 0, 1))


def _in_file_order(upright: NDArray[np.uint8], source: Any) -> NDArray[np.uint8]:
    """``(Z, H, W)`` back to the file's voxel order."""
    import nibabel
    from nibabel.orientations import axcodes2ornt, ornt_transform

    canonical = np.rot90(upright.transpose(1, 2, 0), k=-1, axes=(0, 1))
    back = ornt_transform(axcodes2ornt("RAS"), nibabel.io_orientation(source.affine))
    return np.ascontiguousarray(nibabel.apply_orientation(canonical, back))
