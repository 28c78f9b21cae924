"""Means and differences of map figures: what is averaged, what is left out, and that it is counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtl.errors import DataError, ProtocolError
from mtl.evaluation.brain_mri.explanation_tables import (
    average_maps,
    map_differences,
    map_estimates,
    range_over_draws,
    reading,
)

NAN = float("nan")
SETTINGS = {"n_resamples": 200, "seed": 0}


def row(name: str, case: int, hit: float, fold: int = 0, draw: int = 0, pixels: float = 9.0) -> dict:
    """A map's figures; ``hit`` NaN: a map that points nowhere."""
    on_tumour = hit if pixels > 0 else NAN
    return {
        "map": name, "id": f"a/{case}", "source": "ab"[case % 2], "group": f"g{case}", "fold": fold,
        "draw": draw, "cls": int(pixels > 0), "has_mask": pixels == pixels, "mask_pixels": pixels,
        "undefined": float(np.isnan(hit)), "pointing_hit": on_tumour, "pointing_hit_near": on_tumour,
        "iou": on_tumour / 2, "energy_inside": on_tumour / 4, "energy_outside_head": hit / 8,
        "chance": 0.1 if pixels > 0 else NAN, "spearman": hit,
    }  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    trained = [row("trained", 0, 1.0), row("trained", 0, 0.0, fold=1), row("trained", 1, 1.0)]
    trained += [row("trained", 2, NAN), row("trained", 3, 0.0), row("trained", 4, 1.0, pixels=0.0)]
    random = [row("random", case, 0.0, draw=draw) for case in range(4) for draw in (0, 1)]
    random[1] = row("random", 0, NAN, draw=1)
    return pd.DataFrame(trained + random + [row("random", 4, 1.0, pixels=NAN)])


def test_folds_and_draws_are_averaged_where_defined_and_the_rest_is_counted(table):
    cases = average_maps(table).set_index(["map", "id"])
    assert cases.loc[("trained", "a/0"), "pointing_hit"] == 0.5
    assert cases.loc[("random", "a/0"), ["pointing_hit", "undefined"]].tolist() == [0.0, 0.5]
    silent = cases.loc[("trained", "a/2")]
    assert (
        np.isnan(silent["pointing_hit"]) and silent["pointing_hit_strict"] == 0 and silent["undefined"] == 1
    )
    assert np.isnan(cases.loc[("trained", "a/4"), "pointing_hit_strict"])
    with pytest.raises(ProtocolError, match="occur twice"):
        average_maps(pd.concat([table, table.head(1)]))


def test_estimates_are_means_over_the_cases_that_a_figure_is_about(table):
    found = map_estimates(average_maps(table), **SETTINGS)["trained"]
    assert set(found) == {"a", "b", "pooled"}
    pooled = found["pooled"]
    assert (pooled["pointing_hit"].value, pooled["pointing_hit"].n) == (pytest.approx((0.5 + 1 + 0) / 3), 3)
    assert (pooled["pointing_hit_strict"].value, pooled["pointing_hit_strict"].n) == (
        pytest.approx(1.5 / 4),
        4,
    )
    assert (pooled["undefined"].value, pooled["undefined"].n) == (pytest.approx(1 / 5), 5)
    assert pooled["energy_outside_head"].value == pytest.approx((0.5 + 1 + 0 + 1) / 4 / 8)
    assert pooled["chance"].value == pytest.approx(0.1)
    assert found["a"]["pointing_hit"].value == 0.5 and found["b"]["pointing_hit"].value == 0.5


def test_differences_are_paired_and_say_how_many_cases_are_left_out(table):
    cases = average_maps(table)
    found = map_differences(cases, ["pointing_hit", "energy_outside_head"], "random", "trained", **SETTINGS)
    hit, outside = found["pointing_hit"]["pooled"], found["energy_outside_head"]["pooled"]
    assert (hit["value"], hit["cases"], hit["left_out"]) == (pytest.approx(0.5), 3, 1)
    assert hit["low"] <= hit["value"] <= hit["high"]
    assert (outside["value"], outside["cases"], outside["left_out"]) == (pytest.approx(1.5 / 4 / 8), 4, 1)
    with pytest.raises(DataError, match="no maps nobody"):
        map_differences(cases, ["iou"], "nobody", "trained", **SETTINGS)


def test_a_source_without_any_mask_has_no_figures_about_tumours_but_others(table):
    table = table.assign(mask_pixels=table["mask_pixels"].where(table["source"] == "b"))
    found = map_estimates(average_maps(table), **SETTINGS)["trained"]["a"]
    assert found["pointing_hit"].value is None and found["pointing_hit"].reason
    assert found["energy_outside_head"].value is not None
    differences = map_differences(average_maps(table), ["iou"], "random", "trained", **SETTINGS)
    assert "a" not in differences["iou"] and differences["iou"]["b"]["cases"] == 2


def test_the_luck_of_the_draw_is_the_range_of_the_draws_means():
    hits = {(0, 0): 1.0, (0, 1): 0.0, (1, 0): 1.0, (1, 1): NAN, (2, 0): 0.0, (2, 1): 0.0}  # (case, draw)
    rows = [row("random", case, hit, draw=draw) for (case, draw), hit in hits.items()]
    found = range_over_draws(pd.DataFrame(rows), "random", ["pointing_hit"])
    assert found == {"pointing_hit": {"lowest": 0.0, "highest": pytest.approx(2 / 3), "draws": 2}}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.2, "better"),
        (-0.2, -0.1, "worse"),
        (-0.1, 0.2, "no difference shown"),
        (None, None, "not defined"),
    ],
)
def test_an_interval_is_read_by_a_fixed_rule(low, high, said):
    assert reading({"low": low, "high": high}) == said
