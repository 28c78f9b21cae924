"""metrics.json: merging, refusing what is not a number, and saying what is missing."""

from __future__ import annotations

import json
import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from mtl.errors import MissingArtefactError
from mtl.reporting.metrics_file import read_metrics, write_metrics


class FakeEstimate:
    def to_dict(self) -> dict:
        return {"value": 0.5, "low": 0.4, "high": 0.6, "n": 7, "unit": "patients"}


def test_sections_are_merged_and_replaced(tmp_path: Path) -> None:
    write_metrics(tmp_path, "warm_up", {"dice": 0.5})
    write_metrics(tmp_path, "joint", {"auc": 0.9})
    write_metrics(tmp_path, "warm_up", {"dice": 0.6})
    assert read_metrics(tmp_path) == {"warm_up": {"dice": 0.6}, "joint": {"auc": 0.9}}
    assert read_metrics(tmp_path, "joint") == {"auc": 0.9}


def test_numpy_scalars_and_estimates_become_plain(tmp_path: Path) -> None:
    write_metrics(
        tmp_path, "s", {"a": np.float32(0.5), "n": np.int64(3), "yes": np.bool_(True), "e": FakeEstimate()}
    )
    found = read_metrics(tmp_path, "s")
    assert found == {"a": 0.5, "n": 3, "yes": True, "e": FakeEstimate().to_dict()}
    assert isinstance(found["yes"], bool)


@pytest.mark.parametrize(("value", "why"), [(math.nan, "not a number"), (math.inf, "infinite")])
def test_what_is_no_number_becomes_null_with_a_reason(tmp_path: Path, value: float, why: str) -> None:
    write_metrics(tmp_path, "s", {"x": value, "e": {"value": value, "low": value, "high": 1.0, "n": 2}})
    found = read_metrics(tmp_path, "s")
    assert found["x"] == {"value": None, "reason": why}
    assert found["e"]["value"] is None and found["e"]["low"] is None and found["e"]["high"] == 1.0
    assert why in found["e"]["reason"] and found["e"]["n"] == 2
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


@pytest.mark.parametrize("value", [np.zeros(3), {1, 2}, Path("x"), object()])
def test_other_types_are_refused_by_name(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match=r"joint\.kaggle\.bad"):
        write_metrics(tmp_path, "joint", {"kaggle": {"bad": value}})
    assert not (tmp_path / "metrics.json").exists()


def test_keys_must_be_text(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="key 3"):
        write_metrics(tmp_path, "s", {3: 1.0})


def test_missing_file_and_section_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match="metrics.json"):
        read_metrics(tmp_path)
    write_metrics(tmp_path, "joint", {})
    with pytest.raises(MissingArtefactError, match=r"'warm_up'.*joint"):
        read_metrics(tmp_path, "warm_up")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"joint": ')
    with pytest.raises(MissingArtefactError, match="not valid JSON"):
        read_metrics(tmp_path)


def test_writers_in_several_processes_lose_nothing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(
            pool.map(
                write_metrics, [tmp_path] * 12, [f"s{i}" for i in range(12)], [{"i": i} for i in range(12)]
            )
        )
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found == {f"s{i}": {"i": i} for i in range(12)}


@pytest.mark.parametrize(
    "entry", [{"label": "Dice"}, {"value": 1}, 3, {"label": "Dice", "value": {"low": 1}}]
)
def test_headline_figures_must_have_their_shape(tmp_path: Path, entry: object) -> None:
    good = {"label": "Dice", "value": FakeEstimate()}
    write_metrics(tmp_path, "s", {"headline": [good, {"label": "n", "value": 3}]})
    with pytest.raises(TypeError, match=r"s\.headline\[1\].*label"):
        write_metrics(tmp_path, "s", {"headline": [good, entry]})
