"""The two kinds of ARCADE labels: COCO boxes of stenoses, YOLO polygons of vessel segments.

YOLO class k is COCO category k + 1; the list below is in YOLO order (SYNTAX numbers of segments).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from skimage.draw import polygon2mask

from mtl.datasets.angiography.footage import Box
from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError
from mtl.files import read_json

STENOSIS = "stenosis"
#: SYNTAX numbers by YOLO class.
CLASSES = (
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "9a", "10", "10a", "11", "12", "12a", "13", "14", "14a",
    "15", "16", "16a", "16b", "16c", "12b", "14b", STENOSIS,
)  # fmt: skip
#: Names of segments by SYNTAX number. 13, the distal circumflex, is AHA's mid to distal one.
NAMES = {
    "1": "pRCA", "2": "mRCA", "3": "dRCA", "4": "PDA", "16": "PLB", "16a": "PLB", "16b": "PLB", "16c": "PLB",
    "5": "LM", "6": "pLAD", "7": "mLAD", "8": "dLAD", "9": "D1", "9a": "D1", "10": "D2", "10a": "D2",
    "11": "pLCx", "13": "mLCx", "12a": "OM1", "12b": "OM2", "12": "RI", "14": "LPL", "14a": "LPL",
    "14b": "LPL", "15": "LPDA",
}  # fmt: skip
OF_RIGHT = frozenset({"1", "2", "3", "4", "16", "16a", "16b", "16c"})
RASTER = 512  # pixels a side on which polygons are held against boxes


@dataclass(frozen=True)
class Outline:
    """A segment's polygon: its SYNTAX number and points (x, y), float64 ``(N, 2)`` relative to the image."""

    number: str
    points: np.ndarray

    @property
    def name(self) -> str:
        """The segment's name in reports."""
        return NAMES[self.number]


def read_outlines(path: Path) -> tuple[Outline, ...]:
    """Polygons of a YOLO file, ``class x1 y1 x2 y2 ...`` a line; raises `DataError` for anything else."""
    with damage_named(f"{path}: expected text"):
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(_outline(words, f"{path}: line {row}") for row, words in enumerate(lines, start=1) if words)


def read_stenosis_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    """Boxes (y0, x0, y1, x1), relative, of each image file that a COCO file lists; none where it has no box.

    Categories are told by name. Raises `DataError` naming the file and what is wrong with it.
    """
    with damage_named(f"{path}: expected COCO images, annotations and a category {STENOSIS!r}"):
        stored = read_json(path)
        [category] = [entry["id"] for entry in stored["categories"] if entry["name"] == STENOSIS]
        images = {entry["id"]: entry for entry in stored["images"]}
        boxes: dict[str, list[Box]] = {entry["file_name"]: [] for entry in images.values()}
        for found in stored["annotations"]:
            if found["category_id"] == category:
                image = images[found["image_id"]]
                boxes[image["file_name"]].append(_relative_box(found["bbox"], image, path))
    if len(boxes) != len(images):
        raise DataError(f"{path}: a file_name occurs twice among the images")
    return {name: tuple(found) for name, found in boxes.items()}


def segment_of(box: Box, outlines: tuple[Outline, ...]) -> str | None:
    """Name of the segment whose polygons cover most of a box; None where none reaches into it."""
    y0, x0, y1, x1 = (round(edge * RASTER) for edge in box)
    covered: dict[str, int] = {}
    for outline in outlines:
        mask = polygon2mask((RASTER, RASTER), outline.points[:, ::-1] * RASTER)
        pixels = int(mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].sum())
        covered[outline.name] = covered.get(outline.name, 0) + pixels
    best = max(covered, key=covered.__getitem__, default=None)
    return best if best is not None and covered[best] else None


def view_of(outlines: tuple[Outline, ...]) -> str | None:
    """Right where all segments are the right coronary's, left where none is, else (or for none) None."""
    right = {outline.number in OF_RIGHT for outline in outlines}
    return {(True,): "right", (False,): "left"}.get(tuple(right))


def _outline(words: list[str], place: str) -> Outline:
    try:
        kind, numbers = int(words[0]), np.array(words[1:], dtype=float)
    except ValueError as error:
        raise DataError(f"{place}: 'class x1 y1 x2 y2 ...' is expected ({error})") from error
    if not 0 <= kind < len(CLASSES) or CLASSES[kind] == STENOSIS:
        raise DataError(
            f"{place}: class {kind}; 0 to {len(CLASSES) - 2} is expected (25, stenosis, is no segment)"
        )
    if len(numbers) < 6 or len(numbers) % 2 or not ((numbers >= 0) & (numbers <= 1)).all():
        raise DataError(f"{place}: at least three points with coordinates in 0..1 are expected")
    return Outline(CLASSES[kind], numbers.reshape(-1, 2))


def _relative_box(bbox: list[float], image: Mapping[str, Any], path: Path) -> Box:
    x, y, width, height = (float(value) for value in bbox)
    tall, wide = image["height"], image["width"]
    box = y / tall, x / wide, (y + height) / tall, (x + width) / wide
    y0, x0, y1, x1 = (min(max(edge, 0.0), 1.0) for edge in box)
    if y0 >= y1 or x0 >= x1:
        raise DataError(f"{path}: box {bbox} of {image['file_name']} is empty or lies outside the image")
    return y0, x0, y1, x1
