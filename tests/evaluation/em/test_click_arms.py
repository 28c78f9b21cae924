"""Click arms compared: one Holm family, verdicts that need p-value, interval and objects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtl.errors import ProtocolError
from mtl.evaluation.em.click_arms import compare_click_arms

N = 24


def table(shift: float, n: int = N) -> pd.DataFrame:
    """Objects whose Dice rises with clicks, all of them ``shift`` higher after the first click."""
    rng = np.random.default_rng(0)
    start = rng.uniform(0.2, 0.3, n)
    curve = {f"dice_{k}": start + 0.1 * k + (shift + rng.normal(0, 0.01, n)) * (k > 0) for k in range(4)}
    return pd.DataFrame({"volume": "v", "object": range(n), "voxels": 100, "clicks": 3, **curve})


def test_an_arm_that_is_better_in_all_objects_is_called_so_and_one_that_is_level_is_not():
    runs = {"late": table(0.0), "input": table(0.2), "embedding": table(-0.2), "twin": table(0.0)}
    found = compare_click_arms(runs, ["dice@0", "dice@3"], n_resamples=400)
    of = found.set_index(["figure", "second"])["verdict"]
    assert of["dice@3", "input"] == "better" and of["dice@3", "embedding"] == "worse"
    assert (of["dice@0"] == "no difference shown").all() and of["dice@3", "twin"] == "no difference shown"
    assert found["value"].where(found["verdict"] == "better").dropna().tolist() == pytest.approx(
        [0.2], abs=0.02
    )


def test_fewer_clicks_are_better():
    runs = {"late": table(0.5), "input": table(0.62), "embedding": table(0.3)}
    found = compare_click_arms(runs, ["noc@85", "dice@3"], n_resamples=400).set_index(["figure", "second"])
    assert found["value"]["noc@85", "input"] < 0 and found["verdict"]["noc@85", "input"] == "better"
    assert found["verdict"]["noc@85", "embedding"] == "worse"


def test_p_values_are_not_limited_by_the_bootstrap():
    found = compare_click_arms({"late": table(0.0), "input": table(0.3)}, ["dice@3"], n_resamples=100)
    assert found["p_value"].tolist() == pytest.approx([1 / 20_001])


def test_p_values_face_the_whole_table():
    """Holm by hand: sorted p times m, m-1, ..., never falling, at most 1."""
    runs = {"late": table(0.0), "a": table(0.004), "b": table(0.1)}
    found = compare_click_arms(runs, ["dice@1", "auc"], n_resamples=400)
    highest, expected = 0.0, {}
    for rank, (row, p) in enumerate(found["p_value"].sort_values(kind="stable").items()):
        highest = max(highest, min(1.0, p * (len(found) - rank)))
        expected[row] = highest
    assert found["p_holm"].tolist() == pytest.approx([expected[row] for row in found.index])
    assert (found["p_holm"] > found["p_value"]).any()


def test_too_few_objects_get_no_verdict():
    found = compare_click_arms({"late": table(0.0, 6), "input": table(0.3, 6)}, ["dice@3"], n_resamples=100)
    assert found["verdict"].tolist() == ["no verdict"]


def test_a_single_arm_has_no_rows_and_other_objects_no_pairs():
    alone = compare_click_arms({"late": table(0.0)}, ["dice@3"])
    assert alone.empty and {"p_holm", "verdict"} <= set(alone)
    with pytest.raises(ProtocolError):
        compare_click_arms({"late": table(0.0), "input": table(0.0, 5)}, ["dice@3"])
