"""Two kinds of checkpoint.

*Model folder* (``config.json`` + ``model.safetensors`` + ``README.md``): the weights together with the
arguments that built the model and a model card; see ``mtl.model_folder``.

*Training state* (``training_state.pt``): all that a killed run needs to end with the numbers of an
undisturbed one, in one file that is replaced atomically.

Nothing is ever unpickled without ``weights_only=True``.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from mtl.errors import CheckpointError
from mtl.files import atomic_path
from mtl.model_folder import class_name, load_model, save_model

__all__ = [
    "class_name",
    "load_bare_state_dict",
    "load_model",
    "load_training_state",
    "save_model",
    "save_training_state",
]


def save_training_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace ``path`` with ``state`` (tensors and plain Python values only)."""
    with atomic_path(path) as temporary:
        torch.save(dict(state), temporary)


def load_training_state(path: Path) -> dict[str, Any] | None:
    """What :func:`save_training_state` wrote, on the CPU; ``None`` if there is no such file.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError) as error:
        raise CheckpointError(f"{path}: not a training state ({error}); delete it to start anew") from error


def load_bare_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a ``.pth``/``.pt``/``.safetensors`` file from elsewhere.

    A dict with the usual wrappers (``state_dict``, ``model_state_dict``, ``model``) is unwrapped, and a
    ``module.`` prefix (left by data-parallel training) is taken off.

    Raises:
        CheckpointError: not a file of tensors, or one that would need arbitrary code to load.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    content = _read_tensors(path)
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: a state dict (name to tensor) is expected")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _read_tensors(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: not a file of tensors that loads without running code ({error})"
        ) from error
