"""What clicks change in the losses of a training run."""

from __future__ import annotations

import pandas as pd
import pytest

from mtl.studies.em.mode_losses import largest_change, mode_losses

BOTH = ["automatic", "proofread"]


def history(rows: dict[tuple[int, str], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"epoch": epoch, "key": f"train/{key}", "value": value} for (epoch, key), value in rows.items()]
    )


def test_losses_of_both_modes_stand_side_by_side_by_head():
    rows = {
        (1, "automatic/loss_sem"): 2.0, (1, "proofread/loss_sem"): 2.5, (1, "automatic/loss_sem/ce"): 9.0,
        (1, "automatic/loss_ins"): 4.0, (1, "proofread/loss_ins"): 3.0, (1, "proofread/loss_target"): 7.0,
        (2, "automatic/loss_sem"): 1.0, (2, "proofread/loss_sem"): 1.0, (1, "automatic/loss"): 6.0,
    }  # fmt: skip
    table = mode_losses(history(rows), BOTH)
    assert table[["epoch", "head"]].to_numpy().tolist() == [
        [1, "semantic"], [1, "instance"], [1, "target"], [2, "semantic"],
    ]  # fmt: skip
    assert table["change"].tolist()[:2] == [0.25, -0.25] and pd.isna(table["change"].iloc[2])
    assert table["proofread"].tolist() == [2.5, 3.0, 7.0, 1.0]


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ((2.0, 2.1, 4.0, 3.6), {"value": 0.1, "higher": False, "head": "instance", "epoch": 1}),
        ((2.0, 2.6, 4.0, 3.6), {"value": 0.3, "higher": True, "head": "semantic", "epoch": 1}),
        ((2.0, 2.0, 4.0, 4.0), {"value": 0.0, "higher": False, "head": "semantic", "epoch": 1}),
    ],
)
def test_the_largest_change_counts_up_and_down(losses, found):
    keys = [f"{mode}/loss_{head}" for head in ("sem", "ins") for mode in BOTH]
    rows = {(1, key): loss for key, loss in zip(keys, losses, strict=True)}
    assert largest_change(mode_losses(history(rows), BOTH)) == pytest.approx(found)


def test_one_mode_or_no_head_in_common_has_no_change():
    alone = history({(1, "automatic/loss_sem"): 2.0})
    assert largest_change(mode_losses(alone, ["automatic"])) is None
    apart = history({(1, "automatic/loss_sem"): 2.0, (1, "proofread/loss_target"): 1.0})
    assert largest_change(mode_losses(apart, BOTH)) is None
