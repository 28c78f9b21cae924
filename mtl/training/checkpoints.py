"""Two kinds of checkpoint.

*Model folder* (``config.json`` + ``model.safetensors`` + ``README.md``): the weights together with the
arguments that built the model and a model card; loading needs the path and nothing else.

*Training state* (``training_state.pt``): all that a killed run needs to end with the numbers of an
undisturbed one, in one file that is replaced atomically.

Nothing is ever unpickled without ``weights_only=True``.
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model as load_weights
from torch import Tensor, nn

from mtl.errors import CheckpointError
from mtl.files import atomic_path, read_json, write_json, write_text

Model = TypeVar("Model", bound=nn.Module)


def class_name(model_class: type) -> str:
    """The name under which a model's class is kept in ``config.json``."""
    return f"{model_class.__module__}.{model_class.__qualname__}"


def save_model(model: nn.Module, folder: Path, card: str) -> None:
    """Write a model folder; the folder appears whole or not at all, and replaces an older one.

    Args:
        model: a ``PyTorchModelHubMixin`` module.
        folder: target.
        card: text of the model card (Markdown).
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        model.save_pretrained(temporary)
        config = read_json(temporary / "config.json")
        write_json(temporary / "config.json", config | {"model_class": class_name(type(model))})
        write_text(temporary / "README.md", card)
        temporary.chmod(0o755)
        if folder.exists():
            old = temporary.with_suffix(".old")
            os.replace(folder, old)
            os.replace(temporary, folder)
            shutil.rmtree(old)
        else:
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_model(model_class: type[Model], folder: str | os.PathLike) -> Model:
    """The model of a folder, in eval mode, on the CPU.

    Raises:
        CheckpointError: no such folder, a damaged file, or a model of another class.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise CheckpointError(f"{folder}: not a model folder (config.json and model.safetensors expected)")
    try:
        config = read_json(folder / "config.json")
        found = config.get("model_class", "an unknown class")
    except (json.JSONDecodeError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: not valid JSON ({error})") from error
    if found != class_name(model_class):
        raise CheckpointError(f"{folder}: holds a {found}; a {class_name(model_class)} is needed")
    try:
        wanted = inspect.signature(model_class).parameters
        model = model_class(**{name: value for name, value in config.items() if name in wanted})
        load_weights(model, folder / "model.safetensors", strict=True)
        return model.eval()
    except (SafetensorError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{folder}: weights and config.json do not fit: {error}") from error


def save_training_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace ``path`` with ``state`` (tensors and plain Python values only)."""
    for half in path.parent.glob(f".{path.name}.*.part"):  # of a process that was killed while writing
        half.unlink(missing_ok=True)
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
