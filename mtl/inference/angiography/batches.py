"""What every pass over a loader does: eval mode for its duration, inputs moved, rows taken along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mtl.errors import DataError

Device = torch.device | str
Autocast = Callable[[], AbstractContextManager]

#: Lists of a batch (``datasets.angiography.collate``) and the columns that they become.
LISTS = {"studies": "study", "patients": "patient", "ids": "id", "texts": "true", "views": "view"}


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; afterwards every part is in the mode that it was in."""
    parts = {part: part.training for module in modules for part in module.modules()}
    for module in modules:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, mode in parts.items():
            part.training = mode


def video_of(batch: Mapping[str, Any], device: Device) -> Tensor:
    """The batch's videos ``(B, 3, T, H, W)`` on the device; raises DataError where it has none."""
    if "video" not in batch:
        raise DataError(f"a batch with {sorted(batch)}: expected 'video' (B, 3, T, H, W)")
    return batch["video"].to(device, non_blocking=True)


def columns_of(batch: Mapping[str, Any], size: int) -> dict[str, list]:
    """Lists of a batch as columns (`LISTS`), a value for each clip; DataError where one lacks some."""
    columns = {name: list(batch[key]) for key, name in LISTS.items() if key in batch}
    if wrong := {name: len(values) for name, values in columns.items() if len(values) != size}:
        raise DataError(f"a batch of {size} videos has lists of other lengths: {wrong}")
    return columns


def joined(parts: Sequence[Mapping[str, list]]) -> dict[str, list]:
    """Columns of all batches, one after the other; raises DataError where there was no batch."""
    if not parts:
        raise DataError("the loader gave no batch: expected at least one clip")
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}
