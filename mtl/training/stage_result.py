"""What a finished stage leaves: ``best/``, ``last/``, two tables and ``stage.json``.

``stage.json`` is written last: where it stands, the stage is finished.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mtl.files import atomic_path, read_json, remove_halves, write_json
from mtl.training.diagnostics import COLUMNS


@dataclass(frozen=True)
class StageResult:
    """What a finished stage left in its folder.

    ``best/`` and ``last/`` are model folders; ``history`` and ``gradients`` are tidy tables (see
    :class:`History` and :class:`GradientProbe`); ``steps`` counts optimiser steps.
    """

    stage: str
    folder: Path
    best_epoch: int
    best_score: float
    steps: int
    seconds: float
    history: pd.DataFrame
    gradients: pd.DataFrame

    @classmethod
    def load(cls, folder: Path) -> StageResult:
        """Read the folder of a finished stage."""
        record = read_json(folder / "stage.json")
        record.pop("fingerprint")
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("history", "gradients")}
        return cls(folder=folder, **record, **tables)


def is_finished(folder: Path, fingerprint: str) -> bool:
    """Whether ``folder`` holds the result of the stage with this fingerprint."""
    record = folder / "stage.json"
    return record.exists() and read_json(record)["fingerprint"] == fingerprint


def discard_result(folder: Path) -> None:
    """Take back the claim that the stage is finished, before anything in its folder changes.

    What a kill in the middle of saving may have left (half-written files, half-replaced folders) goes too.
    """
    (folder / "stage.json").unlink(missing_ok=True)
    for name in ("best", "last"):
        for left in [*folder.glob(f".{name}.*.part"), *folder.glob(f".{name}.*.old")]:
            shutil.rmtree(left, ignore_errors=True)
    remove_halves(folder)


def write_result(
    folder: Path,
    fingerprint: str,
    record: Mapping[str, Any],
    history: pd.DataFrame,
    gradients: list[dict[str, Any]],
) -> None:
    """Write the tables, then ``stage.json``."""
    tables = {"history": history, "gradients": pd.DataFrame(gradients, columns=list(COLUMNS))}
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.parquet") as path:
            table.to_parquet(path)
    write_json(folder / "stage.json", {"fingerprint": fingerprint, **record})
