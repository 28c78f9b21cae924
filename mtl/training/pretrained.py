"""Weights from elsewhere for one part of a network, with a list of what fitted and what did not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from mtl.errors import CheckpointError
from mtl.training.checkpoints import load_bare_state_dict

#: What becomes of a tensor; the last is one of the file that has no place in the part.
LOADED, SHAPE_DIFFERS, NOT_IN_FILE, NOT_USED = "loaded", "shape differs", "not in the file", "not used"


def load_part(part: nn.Module, path: str | os.PathLike, prefix: str = "encoder.") -> pd.DataFrame:
    """Copy into ``part`` every tensor of a checkpoint that has the same name and shape; leave the rest.

    Nothing but tensors is read (``weights_only=True``, safetensors): no code of the file runs.

    Args:
        part: e.g. ``model.encoder``; changed in place.
        path: a model folder, or a ``.pth``, ``.pt`` or ``.safetensors`` state dict.
        prefix: names of the part's tensors begin with it in the file; a file without it holds the part alone.

    Returns:
        Columns tensor, wanted, found (shapes as text), result: ``loaded``, ``shape differs``,
        ``not in the file`` or ``not used``.

    Raises:
        CheckpointError: not a checkpoint, or no tensor of it fits.
    """
    own, given = part.state_dict(), _part_of(_tensors(Path(path)), prefix)
    rows = [_row(name, own.get(name), given.get(name)) for name in dict.fromkeys([*own, *given])]
    table = pd.DataFrame(rows, columns=["tensor", "wanted", "found", "result"])
    fitting = table.loc[table["result"] == LOADED, "tensor"]
    if fitting.empty:
        raise CheckpointError(
            f"{path}: no tensor fits; wanted names like {next(iter(own), 'none')!r}, found ones like "
            f"{next(iter(given), 'none')!r} (prefix {prefix!r})"
        )
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(given[name])
    return table


def _tensors(path: Path) -> dict[str, Tensor]:
    return load_bare_state_dict(path / "model.safetensors" if path.is_dir() else path)


def _part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    within = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return within or dict(tensors)


def _row(name: str, wanted: Tensor | None, found: Tensor | None) -> tuple[str, str, str, str]:
    if wanted is None:
        result = NOT_USED
    elif found is None:
        result = NOT_IN_FILE
    else:
        result = LOADED if wanted.shape == found.shape else SHAPE_DIFFERS
    return name, _shape(wanted), _shape(found), result


def _shape(tensor: Tensor | None) -> str:
    return "–" if tensor is None else " x ".join(map(str, tensor.shape)) or "number"
