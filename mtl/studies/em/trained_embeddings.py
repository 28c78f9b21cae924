"""A trained network's own output on a phantom volume that it has not seen: a workload of benchmark E6."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mtl.datasets.phantoms.em import em_phantom
from mtl.errors import ParameterError
from mtl.model_folder import load_model
from mtl.models.em import EMModel
from mtl.studies.em.decoding_benchmarks import SHAPE, Workload
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.prediction import predict

UNSEEN = 987_654_321  # seed of the phantom: no run draws it by chance
CERTAIN = 0.9  # probability of foreground, the middle of what decodings are tuned over


def trained_workload(checkpoint: str, shape: Sequence[int] = SHAPE) -> Workload:
    """What the network in the folder ``checkpoint`` says of a phantom of its own spacing, and the truth.

    Raises:
        CheckpointError: no model folder of the study.
        ParameterError: the network is 2-D.
    """
    model = load_model(EMModel, checkpoint)
    if model.spatial_dims != 3:
        raise ParameterError(f"--checkpoint: {checkpoint} is a 2-D network; benchmark E6 needs a 3-D one")
    defaults = EMParameters()
    volume = em_phantom(
        shape, tuple(model.spacing or (1.0, 1.0, 1.0)), seed=UNSEEN, noise=defaults.phantom_noise
    )
    found = predict(model, volume, defaults, torch.device("cpu"))
    truth = volume.read_labels(volume.box)
    inside = found.foreground > CERTAIN
    if not inside.any():
        raise ParameterError(f"--checkpoint: {checkpoint} finds no foreground in a phantom: train it first")
    name = f"a trained network's embeddings, {truth.size / 1000:.0f}k voxels, {truth.max()} objects"
    return Workload(np.ascontiguousarray(found.embedding), inside, truth, name)
