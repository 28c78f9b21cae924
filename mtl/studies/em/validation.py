"""The score that picks a variant's checkpoint: how well its own instances fit the validation part."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch

from mtl.datasets.em import EMVolume
from mtl.evaluation.em import adapted_rand_error
from mtl.models.em import EMModel
from mtl.studies.em.decodings import by_embedding
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.tiled_decoding import segment_volume


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
    decode = partial(
        by_embedding, threshold=0.5, bandwidth=parameters.delta_d, min_size=parameters.min_object_voxels
    )
    instances = segment_volume(model, volume, parameters, decode, device, autocast)
    return {"objects": 1 - adapted_rand_error(instances, volume.read_labels(volume.box))}
