"""Instances of the test part, by every method, each tuned on the validation part.

Three methods read a network's outputs, one the image alone. All go through one grid search with one score
(adapted Rand error); what was found for the test part is kept with the settings that made it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mtl.datasets.em import EMVolume
from mtl.errors import MissingArtefactError
from mtl.evaluation.em.tuning import tune
from mtl.files import atomic_path
from mtl.inference.em.decoding import decode_embeddings
from mtl.inference.em.directions import decode_directions
from mtl.inference.em.segments import stacked_planes
from mtl.inference.em.watershed import watershed_grid, watershed_instances
from mtl.studies.em.prediction import VolumePrediction, predict
from mtl.studies.em.study import EMStudy

#: Of the baseline that sees the image alone.
INTENSITY = "intensity watershed"
#: Methods that read a network's outputs.
EMBEDDING, BOUNDARY, DIRECTION = "embedding", "boundary watershed", "direction"
EVALUATION_NOTEBOOK = "03_decoding_and_evaluation"

Method = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Segmentation:
    """Instances int32 ``(*sp)`` of the test part, the settings that made them, and their validation error."""

    labels: np.ndarray
    settings: dict[str, Any]
    validation_error: float

    @property
    def described(self) -> str:
        """The settings as a reader wants them: ``sigma 8, seed distance 64``."""
        shown = {name: "none" if value is None else f"{value:g}" for name, value in self.settings.items()}
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def segment_with_network(study: EMStudy, variant: str, replicate: int = 0) -> dict[str, Segmentation]:
    """Test instances by every method that reads the variant's network; written to the run directory.

    Raises ``MissingArtefactError`` where the variant was not trained.
    """
    model = study.model(variant, replicate)
    p = study.variant_parameters(variant)
    outputs = {
        part: predict(model, study.parts[part], p, study.fabric.device, study.fabric.autocast)
        for part in ("validation", "test")
    }
    methods = network_methods(study, outputs["test"].geometry is not None)
    found = {}
    for name, (method, grid) in methods.items():
        found[name] = _tuned(
            study, lambda part, m=method, **s: m(study.parts[part], outputs[part], **s), grid
        )
        _save(study, variant, name, found[name])
    return found


def segment_image(study: EMStudy) -> Segmentation:
    """Test instances by watershed on the smoothed image; written to the run directory."""

    def method(part: str, **settings: Any) -> np.ndarray:
        volume = study.parts[part]
        return _plane_by_plane(
            volume, lambda image: _watershed(volume, image, settings), volume.read(volume.box)[0]
        )

    found = _tuned(study, method, watershed_grid(study.volume.spacing))
    _save(study, "no_network", INTENSITY, found)
    return found


def network_methods(study: EMStudy, geometry: bool) -> dict[str, tuple[Method, dict[str, list[Any]]]]:
    """Name to ``method(volume, outputs, **settings)`` and the grid of its settings."""
    finest, delta = min(study.volume.spacing), study.parameters.delta_d
    thresholds = [0.5, 0.8, 0.9, 0.95]
    methods: dict[str, tuple[Method, dict[str, list[Any]]]] = {
        EMBEDDING: (
            _by_embedding,
            {
                "threshold": thresholds,
                "bandwidth": [delta / 1.5, delta],
                "merge_distance": [0.0, delta, 2 * delta],
            },
        ),
        BOUNDARY: (_by_boundary, watershed_grid(study.volume.spacing)),
    }
    if geometry:
        reach = [3 * finest, 6 * finest, 12 * finest]
        methods[DIRECTION] = (_by_direction, {"threshold": thresholds, "reach": reach})
    return methods


def read_segmentation(study: EMStudy, variant: str, method: str) -> Segmentation:
    """What ``segment_with_network`` or ``segment_image`` wrote. Raises ``MissingArtefactError``."""
    path = study.run.require(_path(study, variant, method), EVALUATION_NOTEBOOK)
    with np.load(path) as stored:
        record = json.loads(str(stored["record"]))
        if record["test_hash"] != study.split.test_hash:
            raise MissingArtefactError(
                f"{path} is of another test part: run notebook {EVALUATION_NOTEBOOK} first"
            )
        return Segmentation(stored["labels"], record["settings"], record["validation_error"])


def automatic_instances(study: EMStudy, variant: str) -> tuple[str, Segmentation]:
    """The method with the lowest validation error among those of a variant's network, and what it found.

    Raises ``MissingArtefactError`` where ``segment_with_network`` was not run for the variant.
    """
    geometry = study.variant_parameters(variant).weight_geometry > 0
    made = {name: read_segmentation(study, variant, name) for name in network_methods(study, geometry)}
    return min(made.items(), key=lambda item: item[1].validation_error)


def _tuned(study: EMStudy, method: Callable[..., np.ndarray], grid: Mapping[str, list[Any]]) -> Segmentation:
    validation = study.parts["validation"]
    best = tune(
        lambda **settings: method("validation", **settings), grid, validation.read_labels(validation.box)
    )
    return Segmentation(method("test", **best.parameters).astype(np.int32), best.parameters, best.error)


def _by_embedding(volume: EMVolume, found: VolumePrediction, **settings: Any) -> np.ndarray:
    inside = found.foreground > settings.pop("threshold")
    method = partial(decode_embeddings, fill=True, **settings)
    return _plane_by_plane(volume, method, found.embedding, inside)


def _by_direction(volume: EMVolume, found: VolumePrediction, **settings: Any) -> np.ndarray:
    inside = found.foreground > settings.pop("threshold")
    n_axes = 2 if volume.planar else 3
    method = partial(decode_directions, spacing=volume.spacing[-n_axes:], fill=True, **settings)
    return _plane_by_plane(volume, method, found.geometry[:n_axes], inside)


def _by_boundary(volume: EMVolume, found: VolumePrediction, **settings: Any) -> np.ndarray:
    return _plane_by_plane(volume, lambda inside: _watershed(volume, inside, settings), found.foreground)


def _watershed(volume: EMVolume, inside: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    return watershed_instances(inside, volume.spacing[-inside.ndim :], **settings)


def _plane_by_plane(volume: EMVolume, method: Method, *fields: np.ndarray) -> np.ndarray:
    """``method`` on the whole part, or on every plane of a planar one, with ids that no two planes share."""
    if not volume.planar:
        return method(*fields)
    return stacked_planes(
        method(*(np.ascontiguousarray(field[..., number, :, :]) for field in fields))
        for number in range(volume.shape[0])
    )


def _path(study: EMStudy, variant: str, method: str):
    return study.run.path / "segmentations" / variant / f"{method.replace(' ', '_')}.npz"


def _save(study: EMStudy, variant: str, method: str, found: Segmentation) -> None:
    record = {
        "settings": found.settings,
        "validation_error": found.validation_error,
        "test_hash": study.split.test_hash,
    }
    path = _path(study, variant, method)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, labels=found.labels, record=json.dumps(record))
