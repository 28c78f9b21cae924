"""Click curves: made answers whose curve is known, the zero-click rule, NoC with failures, pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtl.errors import DataError, ProtocolError
from mtl.evaluation.contingency import cut_into_blocks
from mtl.evaluation.em.click_curves import (
    best_overlapping,
    choose_objects,
    click_figures,
    click_table,
    compare_clicks,
    simulate_clicks,
    summarise_clicks,
)
from mtl.evaluation.em.simulated_user import SimulatedUser
from mtl.evaluation.segmentation import dice

USER = SimulatedUser(spacing=(1.0, 1.0))


def strip(length: int = 40) -> np.ndarray:
    truth = np.zeros((5, length), bool)
    truth[:, : length // 2] = True
    return truth


def painter(truth: np.ndarray, radius: int):
    """Answers with squares: painted at positive clicks, erased at negative ones, in order."""

    def answer(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
        assert points.dtype == np.int64 and labels.dtype == np.int8 and len(points) == len(labels)
        mask = np.zeros_like(truth)
        for point, label in zip(points, labels, strict=True):
            mask[tuple(slice(max(0, n - radius), n + radius + 1) for n in point)] = label == 1
        return mask

    return answer


def test_curve_of_an_answer_that_paints_squares() -> None:
    truth = strip()
    run = simulate_clicks(truth, painter(truth, 2), USER, max_clicks=10)
    assert run.dice[0] == 0 and run.dice[1] == pytest.approx(2 * 25 / (25 + 100))
    assert len(run.dice) == 11 and run.dice[-1] > 0.95
    assert all(click.positive for click in run.clicks[:3])


def test_the_user_stops_when_nothing_is_wrong_and_the_last_dice_stands() -> None:
    truth = strip()
    run = simulate_clicks(truth, lambda points, labels: truth, USER, max_clicks=4)
    assert run.dice == (0, 1, 1, 1, 1) and len(run.clicks) == 1


def test_zero_clicks_is_the_best_overlapping_instance_by_dice() -> None:
    truth = strip()
    automatic = np.zeros(truth.shape, np.int64)
    automatic[:, :20] = 4  # 12 of 20 columns of the object ...
    automatic[:, 12:] = 9  # ... and a large instance that covers the other 8
    best = best_overlapping(automatic, truth)
    assert (best == (automatic == 4)).all()
    labels = truth.astype(np.int64) * 3
    table = click_table(labels, lambda points, labels: truth, USER, automatic=automatic, objects=[3])
    assert table["dice_0"][0] == pytest.approx(dice(automatic == 4, truth))
    assert not best_overlapping(np.zeros_like(automatic), truth).any()


def test_unknown_voxels_count_nowhere() -> None:
    labels = strip().astype(np.int64)
    labels[:, 25:] = -100
    leaky = labels != 0  # all of the unknown part is marked
    automatic = leaky.astype(np.int64)
    table = click_table(labels, lambda points, labels: leaky, USER, automatic=automatic, objects=[1])
    assert table["dice_0"][0] == table["dice_10"][0] == 1 and table["clicks"][0] == 1


def curves() -> pd.DataFrame:
    """Reached at once, after two clicks, never; K = 3."""
    values = np.array([[0.9, 0.9, 0.9, 0.9], [0.2, 0.6, 0.86, 0.88], [0.1, 0.2, 0.3, 0.4]])
    table = pd.DataFrame(values, columns=[f"dice_{k}" for k in range(4)])
    return pd.concat(
        [pd.DataFrame({"volume": "v", "object": [1, 2, 3], "voxels": 9, "clicks": 3}), table], axis=1
    )


def test_figures_by_hand() -> None:
    found = click_figures(curves())
    assert found["noc@85"].tolist() == [0, 2, 3] and found["failed@85"].tolist() == [0, 0, 1]
    assert found["noc@90"].tolist() == [0, 3, 3] and found["failed@90"].tolist() == [0, 1, 1]
    assert found["auc"].tolist() == pytest.approx([0.9, (0.4 + 0.73 + 0.87) / 3, (0.15 + 0.25 + 0.35) / 3])
    assert found["gain@3"].tolist() == pytest.approx([0, 0.68, 0.3])
    summary = summarise_clicks(curves(), n_resamples=200)
    assert summary["noc@85"].value == pytest.approx(5 / 3) and summary["noc@85"].unit == "object"
    assert summary["failed@85"].value == pytest.approx(1 / 3) and summary["dice@1"].n == 3
    assert summary["dice@0"].low < summary["dice@0"].value < summary["dice@0"].high


def test_paired_arms() -> None:
    better = curves()
    better["dice_3"] += 0.1
    change = compare_clicks(curves(), better.sample(frac=1, random_state=0), n_resamples=200)
    assert change["dice@3"].estimate.value == pytest.approx(0.1)
    assert change["dice@0"].estimate.value == 0
    with pytest.raises(ProtocolError, match="no pairs"):
        compare_clicks(curves(), better.iloc[:2])


def test_objects_are_chosen_by_size_and_seed() -> None:
    labels = cut_into_blocks((8, 8), (4, 4)).astype(np.int64)  # sixteen of four pixels; the first is 0
    labels[0, 4] = -100
    assert choose_objects(labels, min_size=4) == [i for i in range(1, 16) if i != 2]
    some = choose_objects(labels, min_size=4, max_objects=5, seed=3)
    assert some == choose_objects(labels, min_size=4, max_objects=5, seed=3) and len(some) == 5
    assert some != choose_objects(labels, min_size=4, max_objects=5, seed=4)
    with pytest.raises(DataError, match="no object of 5"):
        choose_objects(labels, min_size=5)


def test_an_answer_of_the_wrong_kind_is_refused() -> None:
    truth = strip()
    with pytest.raises(DataError, match="the answer is float64"):
        simulate_clicks(truth, lambda points, labels: truth.astype(float), USER)
