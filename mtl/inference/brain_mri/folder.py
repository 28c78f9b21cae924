"""A folder of images to a table, masks and pictures: what ``mtl predict`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mtl.errors import DataError
from mtl.files import atomic_path
from mtl.inference.brain_mri.export import heat_picture, mask_png, outline_picture, png_of, write_bytes
from mtl.inference.brain_mri.images import image_files, is_volume
from mtl.inference.brain_mri.prediction import Prediction
from mtl.inference.brain_mri.predictor import MultiTaskPredictor, PreparedSlice
from mtl.inference.brain_mri.uncertainty import UncertaintyOptions
from mtl.inference.brain_mri.volume import VolumePrediction, predict_volume

COLUMNS = (
    "file", "kind", "shown_slice", "tumor_probability", "predicted_label", "tumor_area_pixels",
    "tumor_percentage", "predictive_entropy", "mutual_information", "mask", "error",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """One file of the folder: its row of the table, and the slice to be shown (``None`` after an error)."""

    row: dict[str, Any]
    shown: Prediction | None = None


@dataclass(frozen=True)
class FolderPrediction:
    """The table (one row per file), the folder it lies in, and files of kinds that are not images."""

    table: pd.DataFrame
    out: Path
    left_out: list[str] = field(default_factory=list)

    @property
    def failed(self) -> pd.DataFrame:
        """Rows of the files that could not be predicted."""
        return self.table[self.table["error"] != ""]


def predict_folder(
    predictor: MultiTaskPredictor,
    folder: str | Path,
    out: str | Path,
    *,
    uncertainty: UncertaintyOptions | None = None,
    on_start: Callable[[int], None] = lambda files: None,
    on_case: Callable[[Case], None] = lambda case: None,
) -> FolderPrediction:
    """Predict every image below ``folder``; a file that cannot be read becomes a row with its error.

    Writes into ``out``: ``predictions.parquet`` and ``predictions.csv`` (columns ``COLUMNS``; a volume counts
    voxels, and its probability and uncertainty are those of its highest slice, ``shown_slice``), ``masks/``
    (PNG, or NIfTI for NIfTI) and ``overlays/`` (outline and Grad-CAM). Pictures at or above the threshold
    have a mask, volumes always.

    Args:
        uncertainty: ``None``: 30 draws of MC dropout.
        on_start: told the number of files.
        on_case: told each file in turn.

    Raises:
        DataError: no such folder, no image in it, or ``out`` cannot be written.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; expected one with images (JPEG, PNG, TIFF, .npz, .nii)")
    files, others = image_files(folder, leave_out=out)
    if not files:
        raise DataError(f"{folder}: no image in it; expected JPEG, PNG, TIFF, .npz, .nii or .nii.gz files")
    _make(out)
    on_start(len(files))
    rows = []
    for case in _cases(predictor, folder, files, out, uncertainty or UncertaintyOptions()):
        rows.append(case.row)
        on_case(case)
    table = _table(rows)
    with atomic_path(out / "predictions.parquet") as path:
        table.to_parquet(path, index=False)
    with atomic_path(out / "predictions.csv") as path:
        table.to_csv(path, index=False)
    return FolderPrediction(table, out, [path.relative_to(folder).as_posix() for path in others])


def _cases(
    predictor: MultiTaskPredictor, folder: Path, files: list[Path], out: Path, options: UncertaintyOptions
) -> Iterator[Case]:
    """Cases in the order of ``files``; neighbouring slices go through the network together."""
    waiting: list[tuple[str, PreparedSlice | DataError]] = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        if is_volume(path):
            yield from _slice_cases(predictor, waiting, out, options)
            waiting = []
            yield _volume_case(predictor, path, name, out, options)
            continue
        try:
            waiting.append((name, predictor.prepare(path)))
        except DataError as error:
            waiting.append((name, error))
        if len(waiting) >= predictor.batch_size:
            yield from _slice_cases(predictor, waiting, out, options)
            waiting = []
    yield from _slice_cases(predictor, waiting, out, options)


def _slice_cases(
    predictor: MultiTaskPredictor,
    waiting: list[tuple[str, PreparedSlice | DataError]],
    out: Path,
    options: UncertaintyOptions,
) -> Iterator[Case]:
    prepared = [one for _, one in waiting if isinstance(one, PreparedSlice)]
    wanted = {"conditional": True, "grad_cam": True, "uncertainty": options}
    found = iter(predictor.predict_batch(prepared, **wanted))
    for name, one in waiting:
        if isinstance(one, DataError):
            yield Case({"file": name, "kind": "picture", "error": str(one)})
            continue
        prediction = next(found)
        _write_overlays(out, name, prediction)
        row = {"file": name, "kind": "picture", **_figures(prediction), "error": ""}
        if prediction.mask_available:
            row["mask"] = f"masks/{name}_mask.png"
            write_bytes(out / row["mask"], mask_png(prediction.mask))
        yield Case(row, prediction)


def _volume_case(
    predictor: MultiTaskPredictor, path: Path, name: str, out: Path, options: UncertaintyOptions
) -> Case:
    try:
        found = predict_volume(predictor, path, grad_cam=True, uncertainty=options)
    except DataError as error:
        return Case({"file": name, "kind": "volume", "error": str(error)})
    _write_overlays(out, name, found.highest)
    stem = name[: name.lower().rindex(".nii")]
    row = {"file": name, "kind": "volume", **_figures(found.highest), **_voxels(found), "error": ""}
    row["mask"] = f"masks/{stem}_mask{name[len(stem) :].lower()}"
    found.save_mask(out / row["mask"])
    return Case(row, found.highest)


def _figures(prediction: Prediction) -> dict[str, Any]:
    return {
        "tumor_probability": prediction.tumor_prob,
        "predicted_label": prediction.predicted_label,
        "tumor_area_pixels": prediction.tumor_area_pixels,
        "tumor_percentage": prediction.tumor_percentage,
        "predictive_entropy": prediction.uncertainty.predictive_entropy,
        "mutual_information": prediction.uncertainty.mutual_information,
    }


def _voxels(found: VolumePrediction) -> dict[str, Any]:
    share = 100 * found.tumor_voxels / found.mask.size
    return {
        "tumor_area_pixels": found.tumor_voxels,
        "tumor_percentage": share,
        "shown_slice": found.highest_slice,
    }


def _write_overlays(out: Path, name: str, prediction: Prediction) -> None:
    pictures = {"gradcam": heat_picture(prediction.image, prediction.grad_cam)}
    if prediction.mask_available:
        pictures["outline"] = outline_picture(prediction.image, prediction.mask)
    for kind, picture in pictures.items():
        write_bytes(out / "overlays" / f"{name}_{kind}.png", png_of(picture))


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = dict.fromkeys(("shown_slice", "tumor_area_pixels"), "Int64")
    text = dict.fromkeys(("predicted_label", "mask"), "string")
    return table.astype(whole | text)


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"output folder {out} cannot be written: {error.strerror}") from error
