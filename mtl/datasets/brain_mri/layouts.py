"""Which data sets lie below a folder, told by their layout; and the sources that read them."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtl.datasets.brain_mri import brats, kaggle, lgg
from mtl.datasets.brain_mri.npz import NpzSlices
from mtl.datasets.brain_mri.slices import MIN_TUMOR_PIXELS, Source
from mtl.errors import DataError

DEPTH = 3
KNOWN = {
    "kaggle": f"{kaggle.FOLDER}/yes/* and no/* (pictures; masks/ and groups.csv optional)",
    "lgg": f"{lgg.FOLDER}/<case>/<case>_<slice>.tif with _mask.tif",
    "brats": "<patient>/<patient>_flair.nii[.gz] with _seg, or imagesTr/ with labelsTr/",
    "npz": "*.npz with the keys image and mask or cls",
}


@dataclass(frozen=True)
class Layout:
    """A data set that was recognised: its kind, a name that is unique below the root, and its folder."""

    kind: str
    name: str
    path: Path


def find_layouts(root: str | Path) -> list[Layout]:
    """The data sets at or below ``root`` (three levels deep), sorted by path.

    Raises `DataError` for a missing folder, and for one in which nothing is known, with what would be.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a data set or a folder of data sets")
    found = _search(root, DEPTH)
    if not found:
        known = "\n".join(f"  {kind}: {layout}" for kind, layout in KNOWN.items())
        raise DataError(f"{root}: no known layout; expected one of\n{known}")
    totals, seen = Counter(kind for kind, _ in found), Counter[str]()
    layouts = []
    for kind, path in found:
        seen[kind] += 1
        layouts.append(Layout(kind, kind if totals[kind] == 1 else f"{kind}_{seen[kind]}", path))
    return layouts


def open_sources(
    root: str | Path,
    *,
    min_tumor_pixels: int = MIN_TUMOR_PIXELS,
    mask_mismatch: Literal["drop", "error"] = "drop",
    extend_groups: bool = False,
) -> list[Source]:
    """Open every data set that `find_layouts` finds; see the readers for what they raise."""
    options = {"mask_mismatch": mask_mismatch, "extend_groups": extend_groups}
    return [open_layout(layout, min_tumor_pixels, **options) for layout in find_layouts(root)]


def open_layout(layout: Layout, min_tumor_pixels: int = MIN_TUMOR_PIXELS, **kaggle_options: Any) -> Source:
    """Open one data set; ``kaggle_options`` go to `KaggleTumor`, whose labels are its folders."""
    if layout.kind == "kaggle":
        return kaggle.KaggleTumor(layout.path, name=layout.name, **kaggle_options)
    readers: dict[str, Callable[..., Source]] = {
        "lgg": lgg.LggKaggle3m,
        "brats": brats.BratsVolumes,
        "npz": NpzSlices,
    }
    return readers[layout.kind](layout.path, min_tumor_pixels=min_tumor_pixels, name=layout.name)


def _search(folder: Path, depth: int) -> list[tuple[str, Path]]:
    for kind, matches in (("kaggle", _is_kaggle), ("lgg", _is_lgg), ("brats", _is_brats), ("npz", _is_npz)):
        if matches(folder):
            return [(kind, folder)]
    if depth == 0:
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [found for path in inner for found in _search(path, depth - 1)]


def _is_kaggle(folder: Path) -> bool:
    return folder.name == kaggle.FOLDER or any((folder / label).is_dir() for label in kaggle.LABELS)


def _is_lgg(folder: Path) -> bool:
    return folder.name == lgg.FOLDER or any(folder.glob("TCGA_*/*_mask.tif"))


def _is_brats(folder: Path) -> bool:
    return (
        (folder / "imagesTr").is_dir()
        or any(folder.glob("*_flair.nii*"))
        or any(folder.glob("*/*_flair.nii*"))
    )


def _is_npz(folder: Path) -> bool:
    first = min(folder.glob("*.npz"), default=None)
    if first is None:
        return False
    try:
        return "image.npy" in zipfile.ZipFile(first).namelist()
    except zipfile.BadZipFile:
        return True
