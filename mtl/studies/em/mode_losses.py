"""Losses of the two modes of one training run beside each other: what do clicks change?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mtl.studies.em.log_keys import SHORT
from mtl.studies.em.objective import AUTOMATIC, PROOFREAD


def mode_losses(history: pd.DataFrame, modes: Sequence[str]) -> pd.DataFrame:
    """One row per epoch and head that has a loss.

    Args:
        history: of ``StageResult``, with rows ``epoch``, ``key``, ``value``.
        modes: that were trained.

    Returns:
        ``epoch``, ``head``, a column per mode (NaN where the mode has no loss of the head), and with both
        modes ``change``: proofread minus automatic, as a share of automatic.
    """
    named = {f"train/{mode}/loss_{short}": (mode, head) for mode in modes for head, short in SHORT.items()}
    rows = [
        {"epoch": row.epoch, "mode": named[row.key][0], "head": named[row.key][1], "value": row.value}
        for row in history[history["key"].isin(named)].itertuples()
    ]
    table = pd.DataFrame(rows, columns=["epoch", "mode", "head", "value"])
    table["head"] = pd.Categorical(table["head"], list(SHORT))  # sorted in this order
    table = table.pivot_table(index=["epoch", "head"], columns="mode", values="value", observed=True)
    table = table.reindex(columns=modes).rename_axis(columns=None).reset_index().astype({"head": str})
    if {AUTOMATIC, PROOFREAD} <= set(modes):
        table["change"] = table[PROOFREAD] / table[AUTOMATIC] - 1
    return table


def largest_change(losses: pd.DataFrame) -> dict[str, Any] | None:
    """``value`` (a share, at least 0), ``higher`` (whether clicks raise the loss), ``head`` and ``epoch`` of
    the largest ``change`` of ``mode_losses``, up or down; None where no head has a loss in both modes."""
    known = losses.dropna(subset="change") if "change" in losses else losses[:0]
    if known.empty:
        return None
    row = known.loc[known["change"].abs().idxmax()]
    return {
        "value": float(abs(row["change"])),
        "higher": bool(row["change"] > 0),
        "head": str(row["head"]),
        "epoch": int(row["epoch"]),
    }
