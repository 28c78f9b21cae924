"""ARCADE stills as clips of one frame, with reports built from their annotations.

Source: Popov et al., Scientific Data 2024 (Zenodo 10390295). What its labels do and do not say is kept apart:

- a number names an image of one task and part only; the same picture in both tasks is told by its pixels,
  counted once, and gets the labels of both (``pairs.csv``, if present, is held against the pixels);
- a picture that the stenosis task did not label is not free of stenoses (`Clip.stenoses_known`), and its
  report says that they were not assessed; one that the segment task did not label has no view, no location;
- no patient is named: see `mtl.datasets.angiography.splits` for what keeps near copies together.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl.datasets.angiography.arcade_labels import (
    Outline,
    read_outlines,
    read_stenosis_boxes,
    segment_of,
    view_of,
)
from mtl.datasets.angiography.clips import RARE_SEGMENTS, SEGMENTS, UNKNOWN_PATIENT, Clip, Stenosis
from mtl.datasets.angiography.footage import Box
from mtl.datasets.angiography.reports import N_WORDINGS, WORDINGS, write_report
from mtl.datasets.damaged_files import damage_named
from mtl.datasets.pictures import picture_files, read_grey
from mtl.errors import DataError
from mtl.files import sha256_of

NOT_ASSESSED = "Stenoses were not assessed."
PAIR_COLUMNS = ("stenosis_image", "syntax_image")


@dataclass(frozen=True)
class Still:
    """One picture file with the labels of its task; None: this task does not give that kind."""

    path: Path
    name: str
    boxes: tuple[Box, ...] | None = None
    outlines: tuple[Outline, ...] | None = None


def read_arcade(root: str | Path) -> list[Clip]:
    """Every distinct picture below ``root`` (the folder with ``stenosis`` and ``syntax``, or its parent).

    A clip's id is that of its first file, ``arcade/<task>/<part>/<number>``, stenosis before syntax. Where
    one task holds a picture several times, the labels of the first are taken. The percent of a stenosis is
    not known; its segment is the one that covers most of its box, where segments are outlined. Wordings take
    turns.

    Raises `DataError`: no such layout, image and label files that do not belong together, damaged labels, a
    pair of ``pairs.csv`` that is not one picture.
    """
    folder = _folder(Path(root))
    stills = [still for task in (_stenosis_stills, _syntax_stills) for still in task(folder)]
    if not stills:
        raise DataError(f"{folder}: no picture in stenosis/<part>/images or syntax/<part>/images")
    prints = {still.name: _print_of(still.path) for still in stills}
    _check_pairs(folder, prints)
    same: dict[str, list[Still]] = {}
    for still in stills:
        same.setdefault(prints[still.name], []).append(still)
    return [_clip(copies, number % N_WORDINGS) for number, copies in enumerate(same.values())]


def arcade_report(
    view: str | None,
    segments: Sequence[str] | None,
    stenoses: Sequence[Stenosis] | None,
    wording: int,
) -> str:
    """A report of what is labelled; ``segments`` or ``stenoses`` None: that task did not label it."""
    known = write_report(view, [(stenosis.segment, None) for stenosis in stenoses or ()], wording)
    parts = [known] if stenoses is not None else _view_alone(view, wording)
    if segments:
        parts.append(f"Outlined: {', '.join(segments)}.")
    return " ".join(parts)


def _view_alone(view: str | None, wording: int) -> list[str]:
    """The view's sentence, if there is one, and that stenoses were not assessed."""
    sentence = [WORDINGS[wording].view.format(view=view, View=view.capitalize())] if view else []
    return [*sentence, NOT_ASSESSED]


def _clip(copies: list[Still], wording: int) -> Clip:
    boxes = next((still.boxes for still in copies if still.boxes is not None), None)
    outlines = next((still.outlines for still in copies if still.outlines is not None), None)
    view = view_of(outlines) if outlines else None
    stenoses = [Stenosis(segment_of(box, outlines or ()), None, 0, box) for box in boxes or ()]
    named = _in_order({outline.name for outline in outlines or ()})
    report = arcade_report(view, named, None if boxes is None else stenoses, wording)
    first = copies[0]
    return Clip(
        first.name, first.name, UNKNOWN_PATIENT + first.name, view, report, tuple(stenoses), first.path,
        stenoses_known=boxes is not None,
    )  # fmt: skip


def _stenosis_stills(folder: Path) -> list[Still]:
    stills = []
    for part, pictures in _parts(folder, "stenosis"):
        labels = folder / "stenosis" / part / "annotations" / f"{part}.json"
        boxes = read_stenosis_boxes(labels)
        _check_names(set(boxes), {path.name for path in pictures}, labels)
        names = [f"arcade/stenosis/{part}/{path.stem}" for path in pictures]
        stills += [Still(path, name, boxes[path.name]) for path, name in zip(pictures, names, strict=True)]
    return stills


def _syntax_stills(folder: Path) -> list[Still]:
    stills = []
    for part, pictures in _parts(folder, "syntax"):
        labels = folder / "syntax" / part / "labels"
        texts = {f"{path.stem}.png": path for path in labels.glob("*.txt")}
        _check_names(set(texts), {path.name for path in pictures}, labels)
        for path in pictures:
            outlines = read_outlines(texts[path.name])
            stills.append(Still(path, f"arcade/syntax/{part}/{path.stem}", outlines=outlines))
    return stills


def holds_arcade(root: Path) -> bool:
    """Whether ``root`` is laid out as `read_arcade` expects it."""
    return _folder_in(root) is not None


def _folder_in(root: Path) -> Path | None:
    for folder in (root / "arcade", root):
        if (folder / "stenosis").is_dir() or (folder / "syntax").is_dir():
            return folder
    return None


def _folder(root: Path) -> Path:
    if (folder := _folder_in(root)) is not None:
        return folder
    raise DataError(f"{root}: expected ARCADE's folders stenosis/<part>/images or syntax/<part>/images in it")


def _parts(folder: Path, task: str) -> list[tuple[str, list[Path]]]:
    """Parts (train, test, ...) of a task with their pictures, by number."""
    images = sorted((folder / task).glob("*/images"))
    return [
        (path.parent.name, sorted(picture_files(path), key=lambda p: (len(p.stem), p.stem)))
        for path in images
    ]


def _check_names(labelled: set[str], present: set[str], labels: Path) -> None:
    for missing, text in ((labelled - present, "labels"), (present - labelled, "has no label for")):
        if missing:
            raise DataError(
                f"{labels}: {text} {min(missing)}, which the images folder "
                f"{'lacks' if text == 'labels' else 'holds'} ({len(missing)} such files)"
            )


def _print_of(path: Path) -> str:
    """Equal for equal grey values, whatever the picture's mode."""
    grey = read_grey(path)
    return sha256_of(str(grey.shape), grey.tobytes())


def _check_pairs(folder: Path, prints: dict[str, str]) -> None:
    """Hold ``pairs.csv`` against the pixels."""
    table = folder.parent / "pairs.csv"
    if not table.is_file():
        return
    with damage_named(f"{table}: expected a table"), table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not set(PAIR_COLUMNS) <= set(row):
            raise DataError(f"{table}: columns {', '.join(PAIR_COLUMNS)} are expected")
        names = [str(row[column]).removesuffix(".png").replace("/images/", "/") for column in PAIR_COLUMNS]
        if prints.get(names[0], "first") != prints.get(names[1], "second"):
            raise DataError(f"{table}: {names[0]} and {names[1]} are not one picture")


def _in_order(names: set[str]) -> list[str]:
    """Segments from the ostium outwards."""
    every = [name for view in SEGMENTS for name in (*SEGMENTS[view], *RARE_SEGMENTS[view])]
    return [name for name in every if name in names]
