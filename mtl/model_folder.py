"""Model folders: ``config.json`` + ``model.safetensors`` + ``README.md``.

The weights lie together with the arguments that built the model and a model card, so that loading needs the
path and nothing else. Training writes these folders and inference reads them.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_model as load_weights
from torch import nn

from mtl.errors import CheckpointError
from mtl.files import read_json, write_json, write_text

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
        # Of __init__: a class that inherits it would show the signature of the mixin's __new__.
        wanted = inspect.signature(model_class.__init__).parameters
        model = model_class(**{name: value for name, value in config.items() if name in wanted})
        load_weights(model, folder / "model.safetensors", strict=True)
        return model.eval()
    except (SafetensorError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{folder}: weights and config.json do not fit: {error}") from error
