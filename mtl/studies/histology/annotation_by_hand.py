"""Annotating by hand: a person looks at what the network proposes, the network learns from it, and so on.

The annotations of a run lie in ``annotations/by_hand/`` and are of nobody else: neither other parameters nor
other code begin them anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from mtl.files import atomic_path, sha256_of
from mtl.inference.histology import Decoding, NucleiMaps, decode
from mtl.inference.histology.click_to_nucleus import RADIUS, nucleus_around
from mtl.inference.histology.nuclei_geojson import write_nuclei_geojson
from mtl.inference.label_tiff import write_label_tiff
from mtl.model_folder import load_model
from mtl.models.histology import UNetMultiTask
from mtl.studies.histology.annotation_rounds import AnnotationRounds, loop_settings
from mtl.studies.histology.study import HistologyStudy

FOLDER = "by_hand"


class AnnotationByHand:
    """Tiles, what is outlined in them, and the network that proposes.

    Args:
        study: its first fold's tiles; the first network is the one of notebook 03.
        name: of the annotator: each has annotations and trainings of their own.
        anew: throw away what is there; for simulations.

    Attributes:
        trainings: how many were made; the next one is ``trainings + 1``.

    Raises:
        MissingArtefactError: notebook 03 has not trained the first network.
        DataError: the annotations in the folder are damaged or of other tiles.
    """

    def __init__(self, study: HistologyStudy, name: str = FOLDER, anew: bool = False) -> None:
        self.study, self.folder = study, study.run.path / "annotations" / name
        if anew:
            shutil.rmtree(self.folder, ignore_errors=True)
            for stage in self._stages(name):
                shutil.rmtree(stage)
        self.rounds = AnnotationRounds(study, name, self.folder, sha256_of(loop_settings(study), name))
        self.session, self.tiles = self.rounds.session, self.rounds.tiles
        self.trainings = sum((stage / "stage.json").exists() for stage in self._stages(name))
        self.model = self._newest_model()
        self._maps: dict[str, NucleiMaps] = {}
        self._found: dict[str, np.ndarray] = {}  # decoded from them

    def maps(self, tile: str) -> NucleiMaps:
        """What the present network says of a tile."""
        if tile not in self._maps:
            self._maps[tile] = self.rounds.maps(self.tiles[tile], self.model)
        return self._maps[tile]

    def proposals(self, tile: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids 1..N ``(H, W)`` of what is proposed outside of what was outlined or rejected; confidences."""
        maps = self.maps(tile)
        if tile not in self._found:
            self._found[tile] = decode(maps.probability, maps.hv_map, self.decoding)
        return self.rounds.proposals(self.tiles[tile], maps, self._found[tile])

    @cached_property
    def decoding(self) -> Decoding:
        """Chosen on the validation tiles for the first network of this session, and kept."""
        return self.rounds.decoding(self.model)

    def nucleus_around(self, tile: str, place: tuple[int, int]) -> np.ndarray:
        """The nucleus that a click beside all proposals means, by the network; see :func:`nucleus_around`."""
        labels = self.session.instances(tile)
        taken = (labels > 0) | (self.proposals(tile)[0] > 0)
        sizes = np.bincount(labels.ravel())[1:]
        radius = 1.5 * float(np.sqrt(np.median(sizes[sizes > 0]) / np.pi)) if sizes.any() else RADIUS
        least = self.study.parameters.min_nucleus_pixels
        return nucleus_around(self.maps(tile).probability, place, taken, radius, least)

    def act(self, action: str, tile: str, mask: np.ndarray) -> None:
        """``accept``, ``reject`` or ``add``; on the disk when this returns. Raises `ParameterError`."""
        getattr(self.session, action)(tile, mask, round=self.trainings + 1, by="hand")

    def train(self, on_step: Callable[[int, int], None] | None = None) -> int:
        """``loop_steps`` steps on all that is outlined; returns how many nuclei that is.

        Raises:
            ParameterError: no nucleus is outlined.
        """
        self.model = self.rounds.train(self.trainings + 1, self.model, on_step)
        self.trainings += 1
        self._maps.clear()
        self._found.clear()
        return self.session.counts()["outlined"]

    def save(self, folder: str | Path | None = None) -> list[Path]:
        """Write every tile that has outlines: its picture, ``TILE_ids.tif``, ``TILE.geojson`` (for QuPath).

        Files of a tile whose outlines were all taken back are removed. Returns what was written.
        """
        folder, written = Path(folder or self.folder / "files"), []
        for tile, name in file_names(self.tiles).items():
            labels = self.session.instances(tile)
            picture, ids, outlines = (folder / f"{name}{end}" for end in (".png", "_ids.tif", ".geojson"))
            if not labels.any():
                for path in (picture, ids, outlines):
                    path.unlink(missing_ok=True)
                continue
            with atomic_path(picture) as half:
                Image.fromarray(self.tiles[tile].image).save(half, "PNG")
            written += [picture, write_label_tiff(ids, labels), write_nuclei_geojson(outlines, labels)]
        return written

    def _stages(self, name: str) -> list[Path]:
        """Folders of the trainings, finished or not."""
        first = self.study.run.stage(0, f"{name}_round_1")
        return sorted(first.parent.glob(f"{name}_round_*"))

    def _newest_model(self) -> UNetMultiTask:
        if self.trainings:
            newest = self.study.run.stage(0, f"{self.rounds.name}_round_{self.trainings}")
            return load_model(UNetMultiTask, newest / "best")
        return self.study.model(self.study.first)


def file_names(tiles: Iterable[str]) -> dict[str, str]:
    """Tile ids as names of files, each its own."""
    names: dict[str, str] = {}
    for tile in tiles:
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in tile)
        clashes = sum(name.casefold() == plain.casefold() for name in names.values())
        names[tile] = plain if not clashes else f"{plain}_{len(names)}"
    return names
