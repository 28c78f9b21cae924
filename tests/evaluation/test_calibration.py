"""Calibration against grid search, hand-made bins and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import log_loss

from mtl.errors import DataError, ProtocolError
from mtl.evaluation.calibration import (
    apply_temperature,
    equal_mass_bins,
    expected_calibration_error,
    fit_temperature,
    reliability_table,
)


def overconfident(temperature: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, size=(n, 2))
    labels = (rng.random(n) < special.softmax(honest, axis=1)[:, 1]).astype(int)
    return honest * temperature, labels


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_temperature_undoes_a_known_scaling(true: float) -> None:
    logits, labels = overconfident(true)
    fitted = fit_temperature(logits, labels)
    grid = np.linspace(0.8 * true, 1.25 * true, 200)
    losses = [log_loss(labels, special.softmax(logits / t, axis=1)) for t in grid]
    assert fitted == pytest.approx(grid[np.argmin(losses)], abs=0.006 * true)
    assert fitted == pytest.approx(true, rel=0.1)


def test_temperature_improves_ece_and_keeps_the_order() -> None:
    logits, labels = overconfident(3.0)
    before = apply_temperature(logits, 1.0)[:, 1]
    after = apply_temperature(logits, fit_temperature(logits, labels))[:, 1]
    assert expected_calibration_error(labels, after) < 0.03 < 0.1 < expected_calibration_error(labels, before)
    order = np.argsort(
        before
    )  # the sigmoid saturates to equal floats at the ends: never decreasing is the claim
    assert (np.diff(after[order]) >= -1e-12).all() and ((before > 0.5) == (after > 0.5)).all()


def test_perfect_separation_ends_at_the_bound() -> None:
    logits = np.array([[4.0, -4.0], [-4.0, 4.0]] * 5)
    assert fit_temperature(logits, [0, 1] * 5) == pytest.approx(0.05)
    assert fit_temperature(logits, [1, 0] * 5) == pytest.approx(20.0)


def test_temperature_input_is_checked() -> None:
    with pytest.raises(ProtocolError, match="one class"):
        fit_temperature(np.zeros((3, 2)), [1, 1, 1])
    with pytest.raises(DataError, match="expected finite"):
        fit_temperature(np.full((2, 2), np.nan), [0, 1])
    with pytest.raises(DataError, match=r"\(2, 2\), labels \(3,\)"):
        fit_temperature(np.zeros((2, 2)), [0, 1, 1])
    with pytest.raises(DataError, match="positive"):
        apply_temperature(np.zeros((2, 2)), 0.0)


def test_ece_by_hand_with_two_bins() -> None:
    p, y = [0.1, 0.2, 0.3, 0.6, 0.8, 1.0], [0, 0, 1, 1, 0, 1]
    # bins of three: |1/3 - 0.2| / 2 + |2/3 - 0.8| / 2
    assert expected_calibration_error(y, p, 2) == pytest.approx((abs(1 / 3 - 0.2) + abs(2 / 3 - 0.8)) / 2)


def test_bins_have_equal_mass_and_keep_ties_together() -> None:
    assert np.bincount(equal_mass_bins(np.linspace(0, 1, 100))).tolist() == [10] * 10
    tied = np.r_[np.full(70, 0.5), np.linspace(0.6, 1, 30)]
    assert len(set(equal_mass_bins(tied)[:70])) == 1
    assert len(equal_mass_bins([])) == 0
    assert equal_mass_bins([0.0, 0.5, 1.0], 2).tolist() == [0, 1, 1]  # a score on an edge lies above it


def test_reliability_table_agrees_with_ece_and_wilson() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(200)
    y = (rng.random(200) < p).astype(int)
    table = reliability_table(y, p)
    assert (
        table["count"].sum() == 200 and (table["p_max"].to_numpy()[:-1] < table["p_min"].to_numpy()[1:]).all()
    )
    gap = (table["count"] / 200 * (table["observed"] - table["predicted"]).abs()).sum()
    assert gap == pytest.approx(expected_calibration_error(y, p))
    row, z = table.iloc[3], 1.959964
    centre = (row["observed"] + z**2 / (2 * row["count"])) / (1 + z**2 / row["count"])
    assert (row["low"] + row["high"]) / 2 == pytest.approx(centre, abs=1e-6)
