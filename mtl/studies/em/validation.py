"""The score that picks a variant's checkpoint: how well its own instances fit the validation part."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from mtl.datasets.em import EMVolume
from mtl.evaluation.em import adapted_rand_error
from mtl.models.em import EMModel
from mtl.studies.em.decodings import by_embedding
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.prediction import predict


def validation_scores(
    model: EMModel,
    volume: EMVolume,
    parameters: EMParameters,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, float]:
    """``objects``: 1 - adapted Rand error of the instances that the network's own outputs give.

    Decoded from the embedding with the settings that the loss aims at; what is tuned for the evaluation is
    tuned later, once.
    """
    found = predict(model, volume, parameters, device, autocast)
    smallest = parameters.min_object_voxels
    instances = by_embedding(volume, found, threshold=0.5, bandwidth=parameters.delta_d, min_size=smallest)
    return {"objects": 1 - adapted_rand_error(instances, volume.read_labels(volume.box))}
