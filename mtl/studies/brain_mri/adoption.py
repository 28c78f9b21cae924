"""Adopt a bare state dict from elsewhere as a self-describing model folder."""

from __future__ import annotations

from pathlib import Path

from mtl.datasets.brain_mri import BrainNormalisation
from mtl.errors import CheckpointError
from mtl.models.brain_mri import MultiTaskModel, infer_architecture
from mtl.training.checkpoints import load_bare_state_dict, save_model

_CARD = """\
# brain_mri, adopted from {name}

Architecture inferred from tensor shapes: {arguments}. Where and how these weights were trained is not known
here, nor how they perform: evaluate before use. Images are prepared with this project's normalisation.

**Research use only. Not a medical device; not for diagnosis.**
"""


def adopt(file: Path, folder: Path, image_size: int = 256) -> dict[str, int]:
    """Write ``folder`` (``config.json``, ``model.safetensors``, card) from the state dict in ``file``.

    Returns:
        The inferred arguments of ``MultiTaskModel``.

    Raises:
        CheckpointError: not a state dict, one of another model (the tensor is named), or ``folder``
            exists or cannot be written.
    """
    if folder.exists():
        raise CheckpointError(f"{folder} exists already; name another with --out")
    state = load_bare_state_dict(file)
    try:
        arguments = infer_architecture(state)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    normalisation = BrainNormalisation().to_dict()
    model = MultiTaskModel(**arguments, image_size=image_size, normalisation=normalisation)
    model.load_state_dict(state)
    said = ", ".join(f"{name}={value}" for name, value in arguments.items())
    try:
        save_model(model, folder, _CARD.format(name=file.name, arguments=said))
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be written ({error.strerror}); name another with --out"
        ) from error
    return arguments
