"""The brain_mri phantom written to disk in layouts that are read from there, to try a folder of one's own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mtl.datasets.brain_mri.kaggle import FOLDER
from mtl.datasets.brain_mri.slices import Slice
from mtl.datasets.phantoms.brain_mri import BrainPhantom
from mtl.files import atomic_path


@dataclass(frozen=True)
class PlantedFaults:
    """Files that were made faulty: a picture that stops in the middle, a mask of another size."""

    truncated: Path
    misfit: Path


def write_kaggle_folder(
    folder: Path, phantom: BrainPhantom, source: str | None = None, masks: bool = True
) -> Path:
    """Write ``brain_tumor_dataset/{yes,no}/*.png`` and, for the pictures in ``yes``, ``masks/*.png``.

    ``source``: slices of this scanner only. Patients are forgotten, as that layout forgets them.
    """
    chosen = [item for item in phantom.slices if source in (None, item.source)]
    for number, item in enumerate(chosen):
        (pixels, mask), name = _drawn(phantom, item), f"{'Y' if item.cls else 'N'}{number:03d}.png"
        grey = (255 * pixels / pixels.max()).clip(0, 255)
        _write_picture(folder / FOLDER / ("yes" if item.cls else "no") / name, grey)
        if masks and item.cls:
            _write_picture(folder / "masks" / name, mask * 255)
    return folder


def write_npz_folder(folder: Path, phantom: BrainPhantom, source: str | None = None) -> Path:
    """Write ``<patient>_slice_<number>.npz`` with the keys ``image`` and ``mask``; arguments as above."""
    for item in phantom.slices:
        if source in (None, item.source):
            image, mask = _drawn(phantom, item)
            name = f"{item.patient.replace('/', '_')}_slice_{item.slice:02d}.npz"
            with atomic_path(folder / name) as path, path.open("wb") as file:
                np.savez_compressed(file, image=image, mask=mask)
    return folder


def write_example_folder(folder: Path, phantom: BrainPhantom) -> PlantedFaults:
    """Write ``clinic/`` (pictures, Kaggle layout) from one scanner, ``scans/`` (``.npz``) from the other.

    What lay in ``folder`` goes. Two faults are planted in ``clinic/``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    write_npz_folder(folder / "scans", phantom, "scanner_a")
    return plant_faults(write_kaggle_folder(folder / "clinic", phantom, "scanner_b"))


def plant_faults(folder: Path) -> PlantedFaults:
    """Cut the first picture without tumour of a Kaggle folder in half, and crop the first mask to a strip."""
    truncated = min((folder / FOLDER / "no").iterdir())
    content = truncated.read_bytes()
    truncated.write_bytes(content[: len(content) // 2])
    misfit = min((folder / "masks").iterdir())
    with Image.open(misfit) as picture:
        strip = picture.crop((0, 0, picture.width, picture.height // 2))
    strip.save(misfit)
    return PlantedFaults(truncated, misfit)


def _drawn(phantom: BrainPhantom, item: Slice) -> tuple[np.ndarray, np.ndarray]:
    """Image and exact mask; drawn once where the phantom delivers the mask."""
    image, mask = phantom.read(item)
    return image, phantom.true_mask(item) if mask is None else mask


def _write_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
