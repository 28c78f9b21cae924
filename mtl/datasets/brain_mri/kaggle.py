"""The Kaggle 253 set and folders like it: ``brain_tumor_dataset/{yes,no}/*``, masks and groups optional.

What the folder does not know is kept unknown:

- there are no patient ids, so ``patient`` is the near-duplicate group (slices of one person under different
  names may remain in different groups);
- a ``yes`` picture without a mask has an *unknown* mask, a ``no`` picture an empty one;
- a mask of another size than its picture is stretched (nearest neighbour) if the aspect ratios agree within
  2 %; otherwise nobody knows how the two lie on each other, and the mask is dropped or refused.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.datasets.brain_mri.slices import Finding, Slice
from mtl.datasets.near_duplicates import find_near_duplicates
from mtl.datasets.pictures import open_picture, picture_files, read_grey, read_mask
from mtl.errors import DataError, ParameterError

LABELS = {"no": 0, "yes": 1}
FOLDER = "brain_tumor_dataset"
ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class _Listed:
    """A row of groups.csv."""

    group: str
    mask: str


class KaggleTumor:
    """Yes/no pictures with optional masks (``masks/``) and near-duplicate groups (``groups.csv``).

    ``root`` is ``brain_tumor_dataset`` itself or its parent. Masks are paired by ``groups.csv`` where it
    lists them, else by name *and* extension, whatever their case (``Y92.jpg`` and ``Y92.png`` are two
    pictures). Groups come from ``groups.csv``, else from `find_near_duplicates` on the head-cropped pictures;
    ``extend_groups=True`` joins the given groups with the found ones. ``mask_mismatch``: ``"drop"`` makes a
    mask that does not fit unknown and records it in ``problems``; ``"error"`` raises.

    Raises `DataError` naming the file or folder: missing root, missing or empty class folder, unlisted
    picture, missing listed mask, damaged picture (when read), mask of another size.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        name: str = "kaggle",
        mask_mismatch: Literal["drop", "error"] = "drop",
        extend_groups: bool = False,
    ) -> None:
        if mask_mismatch not in ("drop", "error"):
            raise ParameterError(f"mask_mismatch={mask_mismatch!r} must be 'drop' or 'error'")
        self.name = name
        self.problems: list[Finding] = []
        self.folder, self.extras = _locate(Path(root))
        self._pictures = {
            f"{name}/{path.parent.name}/{path.name}": path for path in _all_pictures(self.folder)
        }
        listed = _read_groups(self.extras / "groups.csv", list(self._pictures.values()))
        self._masks = self._pair_masks(listed, mask_mismatch)
        groups = self._groups(listed, extend_groups)
        self.slices = [self._describe(identity, groups[identity]) for identity in self._pictures]

    def read(self, item: Slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Grey image float32 ``(H, W)`` and mask uint8 ``(H, W)``; ``None`` where the mask is unknown."""
        image = read_grey(self._pictures[item.id])
        if item.id in self._masks:
            return image, _fitted(read_mask(self._masks[item.id]), image.shape)
        return image, (np.zeros(image.shape, np.uint8) if item.has_mask else None)

    def path_of(self, item: Slice) -> Path:
        """The picture's file."""
        return self._pictures[item.id]

    def _describe(self, identity: str, group: str) -> Slice:
        cls = LABELS[self._pictures[identity].parent.name]
        known = cls == 0 or identity in self._masks
        return Slice(identity, self.name, group, group, 0, cls, known, strong=False)

    def _pair_masks(self, listed: dict[Path, _Listed], policy: str) -> dict[str, Path]:
        available = _masks_by_name(self.extras / "masks")
        paired: dict[str, Path] = {}
        for identity, picture in self._pictures.items():
            entry = listed.get(picture)
            mask = available.get(picture.name.lower()) if entry is None else _listed_mask(self.extras, entry)
            if mask is None or picture.parent.name == "no":
                continue
            if self._fits(picture, mask, policy):
                paired[identity] = mask
        self._report_strays(available, set(self._pictures.values()))
        return paired

    def _report_strays(self, available: dict[str, Path], pictures: set[Path]) -> None:
        names = {picture.name.lower() for picture in pictures if picture.parent.name == "yes"}
        for name, mask in available.items():
            if name not in names:
                self.problems.append(
                    Finding("warning", str(mask), "no picture in yes/ has this name: not used")
                )

    def _fits(self, picture: Path, mask: Path, policy: str) -> bool:
        """Whether the mask lies on the picture; records what was stretched or dropped."""
        (width, height), (mask_width, mask_height) = _size_of(picture), _size_of(mask)
        if (width, height) == (mask_width, mask_height):
            return True
        sizes = f"{mask_width}x{mask_height} pixels, its picture {picture} {width}x{height}"
        if abs((mask_width / mask_height) / (width / height) - 1) <= ASPECT_TOLERANCE:
            self.problems.append(Finding("warning", str(mask), f"{sizes}: stretched to fit"))
            return True
        message = f"{sizes}: the aspect ratios differ by more than {ASPECT_TOLERANCE:.0%}"
        if policy == "error":
            raise DataError(f"mask {mask} has {message}; expected a mask of the picture's size")
        self.problems.append(
            Finding("warning", str(mask), f"{message}; mask dropped, so it counts as unknown")
        )
        return False

    def _groups(self, listed: dict[Path, _Listed], extend: bool) -> dict[str, str]:
        given = {identity: listed[path].group for identity, path in self._pictures.items() if path in listed}
        if given and not extend:
            return {identity: f"{self.name}/{group}" for identity, group in given.items()}
        found = find_near_duplicates([head_thumbnail(path) for path in self._pictures.values()])
        computed = dict(zip(self._pictures, (f"computed-{number:03d}" for number in found), strict=True))
        joined = _joined(computed, given) if given else computed
        return {identity: f"{self.name}/{group}" for identity, group in joined.items()}


def _locate(root: Path) -> tuple[Path, Path]:
    """The folder with yes/ and no/, and the folder beside which masks/ and groups.csv lie."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected {FOLDER}/ with yes/ and no/, or its parent")
    inner = root / FOLDER
    folder = inner if inner.is_dir() else root
    for label in LABELS:
        if not (folder / label).is_dir():
            raise DataError(
                f"{folder / label}: no such folder; expected class folders yes/ and no/ in {folder}"
            )
        if not picture_files(folder / label):
            raise DataError(
                f"{folder / label}: holds no picture; expected at least one (.jpg, .jpeg, .png, ...)"
            )
    beside = folder.parent if folder.name == FOLDER else folder
    return folder, beside


def _all_pictures(folder: Path) -> list[Path]:
    return [path for label in LABELS for path in picture_files(folder / label)]


def _read_groups(path: Path, pictures: list[Path]) -> dict[Path, _Listed]:
    """groups.csv by picture; empty where there is none."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or not {"file", "near_duplicate_group"} <= set(rows[0]):
        raise DataError(f"{path}: expected rows with the columns file, label, near_duplicate_group, mask")
    entries = {
        tuple(Path(row["file"]).parts[-2:]): _Listed(row["near_duplicate_group"], row.get("mask") or "")
        for row in rows
    }
    for picture in pictures:
        if picture.parts[-2:] not in entries:
            raise DataError(
                f"{path}: does not list {'/'.join(picture.parts[-2:])}; add its row or remove the file"
            )
    return {picture: entries[picture.parts[-2:]] for picture in pictures}


def _masks_by_name(folder: Path) -> dict[str, Path]:
    return {path.name.lower(): path for path in picture_files(folder)} if folder.is_dir() else {}


def _listed_mask(root: Path, entry: _Listed) -> Path | None:
    if not entry.mask:
        return None
    path = root / entry.mask
    if not path.is_file():
        raise DataError(f"{path}: no such file, but {root / 'groups.csv'} lists it as a mask")
    return path


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height from the header."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError:
        return open_picture(path).size


def _fitted(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if mask.shape == shape:
        return mask
    return np.array(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def head_thumbnail(path: Path) -> np.ndarray:
    """The head, small and square: borders and padding must not hide a copy."""
    return BrainNormalisation().prepare(read_grey(path), 64)[0]


def _joined(first: dict[str, str], second: dict[str, str]) -> dict[str, str]:
    """Groups that hold together whatever either grouping holds together."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for identity in first:
        leader[find(first[identity])] = find(second[identity])
    return {identity: find(second[identity]) for identity in first}
