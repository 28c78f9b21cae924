"""Means over images with their intervals, and alarms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtl.evaluation.histology import alarms, summarise_images


def rows(n: int = 40, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = {
        "image": [f"i{k}" for k in range(n)],
        "pq": rng.random(n),
        "sq": rng.random(n),
        "ap50": rng.random(n),
    }
    return pd.DataFrame(table | {"n_true": 20, "n_predicted": 18} | columns)


def test_means_are_over_images_where_the_metric_is_defined() -> None:
    table = rows()
    table.loc[:3, "sq"] = np.nan
    found = summarise_images(table, n_resamples=300)
    assert set(found) == {"pq", "sq", "ap50"}
    assert found["pq"].value == pytest.approx(table["pq"].mean()) and found["pq"].n == 40
    assert found["sq"].value == pytest.approx(table["sq"].mean()) and found["sq"].n == 36
    assert found["pq"].low < found["pq"].value < found["pq"].high and found["pq"].unit == "image"


def test_rows_of_one_image_are_drawn_together() -> None:
    table = rows()
    twice = pd.concat([table, table])
    one, two = (summarise_images(t, ["pq"], n_resamples=500)["pq"] for t in (table, twice))
    assert two.n == 40 and (two.high - two.low) == pytest.approx(one.high - one.low, rel=0.05)


def test_alarms_say_what_is_suspicious() -> None:
    assert alarms(rows()) == []
    few = alarms(rows(5))
    assert [alarm.code for alarm in few] == ["few_units"]
    n_predicted = [0, 0, 1, 1, 1] + [18] * 35
    codes = {alarm.code: alarm.message for alarm in alarms(rows(n_predicted=n_predicted))}
    assert set(codes) == {"nothing_found", "one_blob"}
    assert "2 of 40" in codes["nothing_found"] and "3 of 40" in codes["one_blob"]


def test_alarms_of_several_networks_count_images() -> None:
    table = pd.concat([rows(n_predicted=0), rows(), rows(n_predicted=1)])
    codes = {alarm.code: alarm.message for alarm in alarms(table)}
    assert "40 of 40" in codes["nothing_found"] and "40 of 40" in codes["one_blob"]
