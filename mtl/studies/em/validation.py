"""The score that picks a variant's checkpoint: how well its own instances fit the validation part."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from mtl.datasets.em import EMVolume
from mtl.evaluation.em import adapted_rand_error
from mtl.evaluation.em.tuning import in_threads
from mtl.models.em import EMModel
from mtl.studies.em.decodings import Decoding, by_boundary, by_embedding
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.prediction import predict
from mtl.studies.em.tiled_decoding import PredictedTiles


def validation_scores(
    model: EMModel,
    volume: EMVolume,
    parameters: EMParameters,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, float]:
    """``objects``: 1 - adapted Rand error of the instances that the network's own outputs give.

    The best of a few usual decodings: one alone would rather say when its own settings fit. What is tuned for
    the evaluation is tuned later, once.
    """
    truth = volume.read_labels(volume.box)
    predict_tile = partial(predict, model, parameters=parameters, device=device, autocast=autocast)
    with TemporaryDirectory() as folder:
        outputs = PredictedTiles(volume, parameters, predict_tile, Path(folder))

        def error_of(decode: Decoding) -> float:
            return adapted_rand_error(outputs.decoded(partial(decode, volume)), truth)

        return {"objects": 1 - min(in_threads(error_of, usual_decodings(parameters, volume)))}


def usual_decodings(parameters: EMParameters, volume: EMVolume) -> list[Decoding]:
    """Settings of the middle of the grids that the evaluation tunes over, as ``decode(volume, outputs)``."""
    p, finest = parameters, min(volume.spacing[-parameters.dims :])
    embedding = partial(by_embedding, threshold=0.9, bandwidth=p.delta_d / 1.5)
    boundary = partial(by_boundary, sigma=finest, seed_distance=10 * finest)
    chosen = [
        *(partial(embedding, merge_distance=times * p.delta_d) for times in (1, 4)),
        *(partial(boundary, wall_share=share) for share in (0.2, 0.25)),
    ]
    return [partial(decode, min_size=p.min_object_voxels) for decode in chosen]
