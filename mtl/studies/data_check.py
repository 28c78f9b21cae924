"""What lies at a path and what is wrong with it, whichever study reads it: behind ``mtl data check PATH``.

Brain MRI, nuclei and films; a volume of EM is looked at by ``mtl preflight em``, which knows its parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mtl.datasets.angiography import Clip, read_arcade, read_table
from mtl.datasets.angiography.arcade import holds_arcade
from mtl.datasets.angiography.table import TABLE_SUFFIXES
from mtl.datasets.brain_mri import FolderReport, check_folder
from mtl.datasets.brain_mri.folder_check import PartReport
from mtl.datasets.brain_mri.layouts import Layout
from mtl.datasets.brain_mri.slices import Finding
from mtl.datasets.histology import open_tiles
from mtl.datasets.histology.opening import tile_reader
from mtl.errors import DataError

Facts = list[tuple[str, str]]
OTHERS = """  tiles: DSB 2018, CPM-15, or images/ with labels/ (histology)
  films: a table (.csv, .parquet) of video, report, study and patient, or ARCADE's folders (angiography)"""


def check_data(path: str | Path) -> FolderReport:
    """Recognise what lies at ``path``, read all of it, and list counts and problems.

    Raises `DataError` where nothing is there or nothing in it is known, with the layouts that are.
    """
    path = Path(path)
    try:
        return check_folder(path)
    except DataError as error:
        kind, check = _check_for(path)
        if check is None:
            raise DataError(f"{error}\n{OTHERS}" if path.is_dir() else str(error)) from None
    try:
        facts, findings = check(path)
    except DataError as error:
        facts, findings = [], [Finding("error", str(path), str(error))]
    return FolderReport(path, (PartReport(Layout(kind, path.name, path), tuple(facts), tuple(findings)),))


def _check_for(path: Path) -> tuple[str, Callable[[Path], tuple[Facts, list[Finding]]] | None]:
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return "films", lambda table: _films(read_table(table))
    if holds_arcade(path):
        return "films", lambda folder: _films(read_arcade(folder))
    if path.is_dir() and tile_reader(path) is not None:
        return "tiles", _tiles
    return "", None


def _films(clips: Sequence[Clip]) -> tuple[Facts, list[Finding]]:
    """Every film is read, however long."""
    findings = []
    for clip in clips:
        try:
            clip.read(1, 16)
        except DataError as error:
            findings.append(Finding("error", clip.id, str(error)))
    numbers = {
        "films": len(clips),
        "studies": len({clip.study for clip in clips}),
        "patients": len({clip.patient for clip in clips}),
        "distinct reports": len({clip.report for clip in clips}),
        "words of the longest report": max(len(clip.report.split()) for clip in clips),
        "films with a located narrowing": sum(bool(clip.stenoses) for clip in clips),
    }
    return [(name, f"{number:,}") for name, number in numbers.items()], findings


def _tiles(folder: Path) -> tuple[Facts, list[Finding]]:
    tiles = open_tiles(folder)
    sides = sorted({side for tile in tiles for side in tile.shape})
    appearances = sorted({tile.appearance for tile in tiles} - {""})
    facts = [
        ("tiles", f"{len(tiles):,}"),
        ("nuclei", f"{sum(len(tile.nucleus_ids) for tile in tiles):,}"),
        ("sides", f"{sides[0]} to {sides[-1]} pixels"),
        ("groups, tested together", f"{len({tile.group for tile in tiles}):,}"),
        ("appearances", ", ".join(appearances) or "not told apart"),
    ]
    bare = [tile.id for tile in tiles if not len(tile.nucleus_ids)]
    named = f"{', '.join(bare[:3])}{' ...' if len(bare) > 3 else ''}"
    told = f"{len(bare)} of the tiles without a nucleus: {named}"
    return facts, [Finding("note", str(folder), told)] if bare else []
