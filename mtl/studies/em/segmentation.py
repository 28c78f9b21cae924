"""Instances of the test part, by every method, each tuned on the validation part.

Three methods read a network's outputs, one the image alone. All go through one grid search with one score
(adapted Rand error); what was found for the test part is kept with what it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mtl.errors import MissingArtefactError
from mtl.evaluation.em.tuning import Grid, Tuned, tune
from mtl.files import atomic_path
from mtl.inference.em.watershed import watershed_grid
from mtl.studies.code_fingerprint import decoding_code_fingerprint
from mtl.studies.em.decodings import Decoding, by_boundary, by_direction, by_embedding, by_watershed
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.prediction import predict
from mtl.studies.em.study import EMStudy
from mtl.studies.em.tiled_decoding import PredictedTiles, decoded_by_tiles, scratch_folder

#: Of the baseline that sees the image alone, and where its result is kept in the place of a variant's name.
INTENSITY, NO_NETWORK = "intensity watershed", "no_network"
#: Methods that read a network's outputs.
EMBEDDING, BOUNDARY, DIRECTION = "embedding", "boundary watershed", "direction"
EVALUATION_NOTEBOOK = "03_decoding_and_evaluation"
#: Parameters that decide what a method makes of the image alone.
DECODED_WITH = {"min_object_voxels", "decode_tile_planes", "decode_tile_side", "decode_tile_overlap"}


@dataclass(frozen=True)
class Segmentation:
    """Instances of the test part.

    Attributes:
        labels: int32 ``(*sp)``; no voxel is background, but in tiles where a network sees no foreground.
        foreground: bool ``(*sp)``, where the network sees foreground; everywhere without a network.
        settings: chosen on validation; validation_error: adapted Rand error there.
    """

    labels: np.ndarray
    foreground: np.ndarray
    settings: dict[str, Any]
    validation_error: float


def segment_with_network(study: EMStudy, variant: str) -> dict[str, Segmentation]:
    """Test instances by every method that reads the variant's network; written to the run directory.

    Raises ``MissingArtefactError`` where the variant was not trained.
    """
    model, p = study.model(variant), study.variant_parameters(variant)
    methods = network_methods(p, study.volume.spacing)
    predict_tile = partial(
        predict,
        model,
        parameters=p,
        device=study.fabric.device,
        autocast=study.fabric.autocast,
        directions=DIRECTION in methods,
    )

    def outputs(part: str, folder: Path) -> PredictedTiles:
        return PredictedTiles(study.parts[part], p, predict_tile, folder / part)

    def decode(tiles: PredictedTiles, name: str, settings: Mapping[str, Any]) -> np.ndarray:
        method = partial(methods[name][0], study.volume, min_size=p.min_object_voxels)
        return tiles.decoded(lambda found: method(found, **settings))

    with scratch_folder(study.run.path / ".tiles") as folder:
        seen = outputs("validation", folder)
        best = {
            name: _tuned(study, lambda n=name, **settings: decode(seen, n, settings), grid)
            for name, (_, grid) in methods.items()
        }
        del seen  # before the test part's outputs take its place
        seen = outputs("test", folder)
        foreground = seen.foreground()
        return {
            name: _kept(study, variant, name, decode(seen, name, tuned.parameters), foreground, tuned)
            for name, tuned in best.items()
        }


def segment_image(study: EMStudy) -> Segmentation:
    """Test instances by watershed on the smoothed image; written to the run directory."""

    def decode(part: str, **settings: Any) -> np.ndarray:
        volume, p = study.parts[part], study.parameters
        method = partial(by_watershed, volume, min_size=p.min_object_voxels, **settings)
        return decoded_by_tiles(volume, p, lambda box: method(volume.read(box)[0]))

    best = _tuned(study, partial(decode, "validation"), watershed_grid(study.volume.spacing))
    everywhere = np.ones(study.parts["test"].shape, bool)
    return _kept(study, NO_NETWORK, INTENSITY, decode("test", **best.parameters), everywhere, best)


def network_methods(parameters: EMParameters, spacing: tuple[float, ...]) -> dict[str, tuple[Decoding, Grid]]:
    """Name to ``method(volume, outputs, **settings)`` and the grid of its settings.

    Directions are read only where they were learnt.
    """
    p, finest = parameters, min(spacing)
    thresholds = [0.8, 0.9, 0.95, 0.98, 0.99]
    methods: dict[str, tuple[Decoding, Grid]] = {
        EMBEDDING: (
            by_embedding,
            {
                "threshold": thresholds,
                "bandwidth": [p.delta_d / 1.5, p.delta_d],
                "merge_distance": [0.0, p.delta_d, 2 * p.delta_d, 4 * p.delta_d],
            },
        ),
        BOUNDARY: (by_boundary, watershed_grid(spacing)),
    }
    if p.weight_geometry > 0 and p.weight_dir > 0:
        reach = [3 * finest, 6 * finest, 12 * finest]
        methods[DIRECTION] = (by_direction, {"threshold": thresholds, "reach": reach})
    return methods


def read_segmentation(study: EMStudy, variant: str, method: str) -> Segmentation:
    """What ``segment_with_network`` or ``segment_image`` wrote.

    Raises:
        MissingArtefactError: it is not there, or was made from other data, parameters, code or weights.
    """
    path = study.run.require(_path(study, variant, method), EVALUATION_NOTEBOOK)
    with np.load(path) as stored:
        record = json.loads(str(stored["record"]))
        if record["made_from"] != _made_from(study, variant):
            raise MissingArtefactError(
                f"{path} was made from other data or another network: run notebook "
                f"{EVALUATION_NOTEBOOK} first"
            )
        return Segmentation(
            stored["labels"], stored["foreground"], record["settings"], record["validation_error"]
        )


def automatic_instances(study: EMStudy, variant: str, make: bool = False) -> tuple[str, Segmentation]:
    """The method with the lowest validation error among those of a variant's network, and what it found.

    Where ``segment_with_network`` was not run for the variant as it is now, it is run if ``make`` is set;
    otherwise ``MissingArtefactError`` is raised.
    """
    methods = network_methods(study.variant_parameters(variant), study.volume.spacing)
    try:
        made = {name: read_segmentation(study, variant, name) for name in methods}
    except MissingArtefactError:
        if not make:
            raise
        made = segment_with_network(study, variant)
    return min(made.items(), key=lambda item: item[1].validation_error)


def _tuned(study: EMStudy, decode: Callable[..., np.ndarray], grid: Grid) -> Tuned:
    validation = study.parts["validation"]
    return tune(decode, grid, validation.read_labels(validation.box))


def _made_from(study: EMStudy, variant: str) -> str:
    made_from = f"{study.test_hash} {decoding_code_fingerprint('em')}"
    if variant != NO_NETWORK:
        return f"{made_from} {study.fingerprint(variant)}"
    decoded = study.parameters.model_dump(include=DECODED_WITH)
    return f"{made_from} {json.dumps(decoded, sort_keys=True)}"


def _path(study: EMStudy, variant: str, method: str) -> Path:
    return study.run.path / "segmentations" / variant / f"{method.replace(' ', '_')}.npz"


def _kept(
    study: EMStudy, variant: str, method: str, labels: np.ndarray, foreground: np.ndarray, tuned: Tuned
) -> Segmentation:
    """The segmentation, written to the run directory."""
    found = Segmentation(labels, foreground, tuned.parameters, tuned.error)
    record = {
        "settings": found.settings,
        "validation_error": found.validation_error,
        "made_from": _made_from(study, variant),
    }
    path = _path(study, variant, method)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, labels=found.labels, foreground=found.foreground, record=json.dumps(record))
    return found
