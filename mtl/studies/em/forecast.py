"""What a run will cost, before it starts: a few real steps of every variant, and what is made of it after.

A network that has learnt nothing finds no objects, so decodings are timed on outputs as a trained one would
give them, made from the labels of the validation part.
"""

from __future__ import annotations

import math
import random
from functools import cached_property, partial
from typing import Any

import numpy as np

from mtl.datasets.em import contact_membrane, relabel
from mtl.evaluation.em import adapted_rand_error
from mtl.evaluation.em.tuning import grid_points
from mtl.models.em import EMModel
from mtl.studies.em.made_embeddings import made_embeddings
from mtl.studies.em.prediction import VolumePrediction, predict
from mtl.studies.em.segmentation import BOUNDARY, DIRECTION, EMBEDDING, network_methods
from mtl.studies.em.study import EMStudy
from mtl.targets.em import centroid_direction
from mtl.training.forecast import (
    StageCost,
    forecast_record,
    probing_seconds,
    seconds_of,
    seconds_per_step,
    steps_of,
)

NOT_COUNTED = "the intensity watershed, click curves, intervals, figures"
#: Places of objects in the made embedding: networks give distant objects the same one.
COLOURS = 32
#: Points of a method's grid that are timed; they stand for the rest.
TIMED_POINTS = 4


def forecast(study: EMStudy, n_steps: int = 4) -> dict[str, Any]:
    """Minutes per variant, by steps and predictions that are really made; nothing is kept of them.

    Args:
        study: of one process, its data readable.
        n_steps: timed steps per variant, after one that is not; their median counts.

    Returns:
        See ``mtl.training.forecast.forecast_record``; its stages are the variants.
    """
    evaluation = _Evaluation(study)
    costs = [_variant_cost(study, variant, n_steps, evaluation) for variant in study.training_order()]
    return forecast_record(costs, study.fabric.device, NOT_COUNTED)


def _variant_cost(study: EMStudy, variant: str, n_steps: int, evaluation: _Evaluation) -> StageCost:
    settings, p = study.settings(variant), study.variant_parameters(variant)
    model = study.untrained_model(variant).to(study.fabric.device)
    training = (study.fabric, model, study.objective(variant), settings, study.loader(variant))
    seconds = seconds_per_step(*training, n_steps)
    beside = {
        "validation": settings.epochs * evaluation.validation_seconds(variant, model),
        "gradient diagnostics": probing_seconds(*training, p.probe_batches, p.probe_every)
        if study.is_probed(variant)
        else 0.0,
        "prediction and tuning": evaluation.segmentation_seconds(variant, model),
    }
    return StageCost(variant, steps_of(settings, study.loader(variant)), seconds, beside)


class _Evaluation:
    """What predicting and decoding take; what several variants have in common is timed once."""

    def __init__(self, study: EMStudy) -> None:
        self.study = study
        self._predicted: dict[tuple[Any, ...], dict[str, float]] = {}
        self._decoded: dict[str, float] = {}

    def validation_seconds(self, variant: str, model: EMModel) -> float:
        """One pass of ``validation_scores``, which decodes twice by embeddings and twice by watershed."""
        decoding = 2 * self._one_point(variant, EMBEDDING) + 2 * self._one_point(variant, BOUNDARY)
        return self._prediction(variant, model)["validation"] + decoding

    def segmentation_seconds(self, variant: str, model: EMModel) -> float:
        """``segment_with_network``: both parts predicted, every method tuned on one and used on the other."""
        p, parts = self.study.variant_parameters(variant), self.study.parts
        larger = math.prod(parts["test"].shape) / math.prod(parts["validation"].shape)
        decoding = sum(
            (len(grid_points(grid)) + larger) * self._one_point(variant, method)
            for method, (_, grid) in network_methods(p, self.study.volume.spacing).items()
        )
        return sum(self._prediction(variant, model).values()) + decoding

    def _prediction(self, variant: str, model: EMModel) -> dict[str, float]:
        """Seconds per part; without clicks, variants differ only in their heads and input."""
        key = (*model.heads, model.injection == "input")
        if key not in self._predicted:
            study, p = self.study, self.study.variant_parameters(variant)
            directions = DIRECTION in network_methods(p, study.volume.spacing)
            held = {}  # the memory is to be seen

            def predict_part(part: str) -> None:
                held[part] = predict(
                    model, study.parts[part], p, study.fabric.device, study.fabric.autocast, directions
                )

            self._predicted[key] = {
                part: seconds_of(partial(predict_part, part), study.fabric.device)
                for part in ("validation", "test")
            }
        return self._predicted[key]

    def _one_point(self, variant: str, method: str) -> float:
        """Decoding the validation part with one choice of settings, and its score: mean over a few."""
        if method not in self._decoded:
            p, validation = self.study.variant_parameters(variant), self.study.parts["validation"]
            decode, grid = network_methods(p, self.study.volume.spacing)[method]
            points = grid_points(grid)
            timed = random.Random(0).sample(points, min(TIMED_POINTS, len(points)))
            made, truth = self._made, self._labels  # before the clock starts

            def decode_and_score() -> None:
                for point in timed:
                    found = decode(validation, made, **point, min_size=p.min_object_voxels)
                    adapted_rand_error(found, truth)

            seconds = seconds_of(decode_and_score, self.study.fabric.device)
            self._decoded[method] = seconds / len(timed)
        return self._decoded[method]

    @cached_property
    def _labels(self) -> np.ndarray:
        validation = self.study.parts["validation"]
        return validation.read_labels(validation.box)

    @cached_property
    def _made(self) -> VolumePrediction:
        p, volume = self.study.parameters, self.study.volume
        make = partial(
            _as_if_trained,
            spacing=volume.spacing[-p.dims :],
            channels=p.embedding_channels,
            membrane=p.contact_membrane,
        )
        if p.dims == 3:
            return make(self._labels)
        planes = [make(plane) for plane in self._labels]
        fields = ("foreground", "embedding", "direction")
        return VolumePrediction(*(np.stack([getattr(plane, f) for plane in planes], axis=-3) for f in fields))


def _as_if_trained(
    labels: np.ndarray, spacing: tuple[float, ...], channels: int, membrane: int
) -> VolumePrediction:
    """Outputs for ``labels`` ``(*sp)``: foreground up to the membranes, embeddings apart, directions."""
    inside = contact_membrane(labels, membrane) != 0
    embedding = made_embeddings(relabel(labels) % COLOURS, spacing, channels=channels, smear=0, drift=0)
    return VolumePrediction(inside.astype(np.float32), embedding, centroid_direction(labels, spacing))
