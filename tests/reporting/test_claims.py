"""Prose from files: every figure with its source, rounded as a reader wants it."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import MissingArtefactError
from mtl.reporting.claims import claim, format_figure, reference, show_table
from mtl.reporting.metrics_file import write_metrics

ESTIMATE = {"value": 0.9312, "low": 0.9012, "high": 0.9612, "n": 253, "unit": "images"}
METRICS = {"joint": {"kaggle": {"auc": ESTIMATE, "share": 0.1234, "n": 1253, "p": 0.00004, "name": "Kaggle"}}}


def parse(display: object) -> BeautifulSoup:
    return BeautifulSoup(display.data, "html.parser")


def words(display: object) -> str:
    return parse(display).get_text().replace("\u00a0", " ")


def test_an_estimate_reads_with_its_interval_and_keeps_its_source(tmp_path: Path) -> None:
    write_metrics(tmp_path, "joint", METRICS["joint"])
    shown = claim("ROC-AUC {joint.kaggle.auc} here.", tmp_path)
    assert words(shown) == "ROC-AUC 0.931 (95 % CI 0.901 to 0.961) here."
    data = parse(shown).data
    assert data["value"] == "0.9312" and data["data-source"] == "metrics.json#/joint/kaggle/auc"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{joint.kaggle.auc:value}", "0.931"),
        ("{joint.kaggle.auc:full}", "0.931 (95 % CI 0.901 to 0.961, 253 images)"),
        ("{joint.kaggle.auc:.1%}", "93.1% (95 % CI 90.1% to 96.1%)"),
        ("{joint.kaggle.share:.1%}", "12.3%"),
        ("{joint.kaggle.share}", "0.12"),
        ("{joint.kaggle.n}", "1,253"),
        ("{joint.kaggle.p:p}", "< 0.001"),
        ("{joint.kaggle.name}", "Kaggle"),
    ],
)
def test_formats(template: str, expected: str) -> None:
    assert words(claim(template, METRICS)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (3, "3"),
        (0.5, "0.50"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (0.0123, "0.012"),
        (-0.25, "-0.25"),
        (None, "not defined"),
        ({"value": None, "reason": "one class only"}, "not defined (one class only)"),
        ({"value": 0.5, "low": 0.3, "high": 0.7}, "0.50 (95 % CI 0.30 to 0.70)"),
        ({"value": 31.2, "low": 20.0, "high": 41.0}, "31 (95 % CI 20 to 41)"),
    ],
)
def test_digits(value: object, expected: str) -> None:
    assert format_figure(value) == expected


@settings(max_examples=60, deadline=None)
@given(st.floats(-100, 100), st.floats(1e-4, 50))
def test_the_ends_of_an_interval_stay_apart_and_near_what_they_are(value: float, width: float) -> None:
    text = format_figure({"value": value, "low": value - width / 2, "high": value + width / 2})
    low, high = (float(part) for part in text.split("CI ")[1].rstrip(")").split(" to "))
    assert low < high
    assert math.isclose(low, value - width / 2, abs_tol=0.06 * width)


def test_a_missing_path_names_path_and_file(tmp_path: Path) -> None:
    write_metrics(tmp_path, "joint", METRICS["joint"])
    path = tmp_path / "metrics.json"
    with pytest.raises(KeyError, match=r"joint\.lgg\.dice") as caught:
        claim("{joint.lgg.dice}", path)
    assert str(path) in str(caught.value)
    with pytest.raises(MissingArtefactError, match="metrics.json"):
        claim("{a}", tmp_path / "elsewhere" / "metrics.json")


def test_keys_with_dots_lists_and_slashes() -> None:
    metrics = {"sweep": {"rho_0.5": {"task/term": 0.25}}, "list": [{"value": 0.75}]}
    shown = parse(claim("{sweep.rho_0.5.task/term} {list.0}", metrics))
    assert [d["data-source"] for d in shown.find_all("data")] == [
        "metrics.json#/sweep/rho_0.5/task~1term",
        "metrics.json#/list/0",
    ]


def test_formulas_and_code_are_left_alone() -> None:
    text = r"$\frac{joint}{n}$ and `{joint.kaggle.n}` and $$\sum_{k}$$"
    assert claim(text, METRICS).data == text


def test_markup_in_a_value_is_escaped() -> None:
    assert "<script>" not in claim("{x}", {"x": "<script>"}).data


def test_references(tmp_path: Path) -> None:
    path = tmp_path / "references.yaml"
    path.write_text(
        "kendall:\n  value: 0.918\n  what: ROC-AUC\n  citation: Kendall 2018\n  url: https://doi.org/x\n"
    )
    shown = reference("kendall", path)
    assert words(shown) == "ROC-AUC 0.92 (Kendall 2018)"
    assert parse(shown).data["data-source"] == "references.yaml#/kendall"
    assert words(claim("{references.kendall:.3f}", {}, path)) == "0.918"
    with pytest.raises(KeyError, match=r"'other'.*kendall"):
        reference("other", path)
    path.write_text("kendall: {value: 1}\n")
    with pytest.raises(KeyError, match=r"kendall\.citation"):
        reference("kendall", path)


def test_table_cells_source_and_alignment() -> None:
    table = pd.DataFrame(
        {"Stage": ["a<b", "joint"], "AUC": [ESTIMATE, None], "x": [0.51, 12.0], "n": [1, 2000]}
    )
    shown = parse(show_table(table, "metrics.json#/joint", "A caption", index=False))
    assert shown.div["data-source"] == "metrics.json#/joint" and shown.caption.get_text() == "A caption"
    rows = [[cell.get_text(" ") for cell in row.find_all("td")] for row in shown.select("tbody tr")]
    assert rows == [["a<b", "0.931 0.901 to 0.961", "0.5", "1"], ["joint", "–", "12.0", "2,000"]]
    styles = [cell["style"] for cell in shown.select("tbody tr")[0].find_all("td")]
    assert styles == ["text-align:left", "text-align:right", "text-align:right", "text-align:right"]
    with pytest.raises(ValueError, match="source"):
        show_table(table, "")


def test_a_table_without_rows_can_say_so():
    empty = pd.DataFrame(columns=["what", "alarm"])
    assert parse(show_table(empty, "metrics.json", if_empty="No alarm.")).get_text() == "No alarm."
    one = pd.DataFrame({"what": ["joint"]})
    assert parse(show_table(one, "metrics.json", if_empty="No alarm.")).select("tbody tr")


def test_an_end_beside_zero_does_not_read_as_zero():
    assert (
        format_figure({"value": -0.057, "low": -0.112, "high": -0.001}) == "-0.057 (95 % CI -0.112 to -0.001)"
    )
    assert format_figure({"value": 0.05, "low": 0.0, "high": 0.11}) == "0.05 (95 % CI 0.00 to 0.11)"
