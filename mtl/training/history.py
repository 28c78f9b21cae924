"""What a training run logs: the same scalars as a tidy table and as TensorBoard events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

COLUMNS = ["stage", "epoch", "step", "key", "value"]


def loss_keys(means: Mapping[str, float]) -> dict[str, float]:
    """Epoch means of tasks and their terms to scalars: ``a`` and ``a/half`` under ``train/loss/``."""
    return {f"train/loss/{name}": value for name, value in means.items()}


class History:
    """Scalars of one stage.

    Rows have ``stage``, ``epoch`` (counted from 1), ``step`` (optimiser steps so far), ``key`` (e.g.
    ``train/loss/segmentation``, ``val/dice``) and ``value``. The table is part of the training state,
    so a resumed run has the rows of the interrupted one; TensorBoard drops what came after the
    checkpoint (``purge_step``).

    Args:
        stage: name of the stage.
        log_dir: where TensorBoard events go; none are written where not given.
        rows: rows of an interrupted run.
    """

    def __init__(
        self, stage: str, log_dir: Path | None = None, rows: list[dict[str, Any]] | None = None
    ) -> None:
        self.stage = stage
        self.rows = list(rows or [])
        self._writer = None
        if log_dir is not None:
            from torch.utils.tensorboard import SummaryWriter

            last = self.rows[-1]["step"] if self.rows else 0
            self._writer = SummaryWriter(str(log_dir), purge_step=last + 1)

    def add(self, epoch: int, step: int, scalars: Mapping[str, float]) -> None:
        """Append one row per scalar."""
        for key, value in scalars.items():
            self.rows.append(
                {"stage": self.stage, "epoch": epoch, "step": step, "key": key, "value": float(value)}
            )
            if self._writer is not None:
                self._writer.add_scalar(key, value, step)

    def table(self) -> pd.DataFrame:
        """All rows."""
        return pd.DataFrame(self.rows, columns=COLUMNS)

    def close(self) -> None:
        """Flush the events."""
        if self._writer is not None:
            self._writer.close()
