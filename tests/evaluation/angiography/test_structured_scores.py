"""Structured scores against counting by hand and in loops, and what the controls get by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mtl.errors import DataError
from mtl.evaluation.angiography import matched_percents, structured_scores, summarise_structured

SEGMENTS = ["pLAD", "mLAD", "D1", "pRCA"]
TRUE = [
    "Left coronary view. pLAD 80%. D1 40%.",
    "Left coronary view. No significant stenosis.",
    "Right coronary view. pRCA 60%.",
    "No view is named here.",
]
GENERATED = [
    "Left coronary view. pLAD 65%. mLAD 30%.",
    "Right coronary view. pRCA 20%.",
    "Right coronary view. pRCA 50%.",
    "Left coronary view.",
]
STUDIES = ["s1", "s1", "s2", "s3"]


def test_counts_by_hand() -> None:
    table = structured_scores(TRUE, GENERATED, STUDIES, SEGMENTS)
    assert table["n_true"].tolist() == [2, 0, 1, 0] and table["n_generated"].tolist() == [2, 1, 1, 0]
    assert table["n_matched"].tolist() == [1, 0, 1, 0] and table["n_within_10"].tolist() == [0, 0, 1, 0]
    assert table["error_matched"].tolist() == [15, 0, 10, 0]
    assert table["error_all"].tolist() == [15 + 40 + 30, 20, 10, 0]
    assert table["exact_findings"].tolist() == [0, 0, 1, 1], "none named and none there is right"
    assert table["view_accuracy"].tolist()[:3] == [1, 0, 1] and math.isnan(table["view_accuracy"][3])
    summary = summarise_structured(table, n_resamples=200)
    # 2 matches (1 within 10 points), 1 true finding missed, 2 false ones
    assert summary["segment_f1"].value == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))
    assert summary["field_f1"].value == pytest.approx(2 / (2 + 2 * 1 + 1 + 2))
    assert summary["percent_mae"].value == pytest.approx(25 / 2)
    assert summary["percent_mae_all"].value == pytest.approx(115 / 5)
    assert summary["view_accuracy"].value == pytest.approx(2 / 3) and summary["view_accuracy"].n == 2
    assert summary["severe_auroc"].value == 1 and summary["severe_auroc"].n == 3, "65 beats 50 and 0"
    assert summary["segment_f1"].unit == "study"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_figures_equal_loops_over_findings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    draw = lambda: {name: int(rng.integers(1, 100)) for name in SEGMENTS if rng.random() < 0.5}  # noqa: E731
    true, generated = ([draw() for _ in range(8)] for _ in range(2))
    write = lambda findings: " ".join(f"{name} {percent}%." for name, percent in findings.items())  # noqa: E731
    texts = [list(map(write, side)) for side in (true, generated)]
    table = structured_scores(*texts, [f"s{i}" for i in range(8)], SEGMENTS)
    tp = fp = fn = near = 0
    errors, everything = [], []
    for t, g in zip(true, generated, strict=True):
        for name in SEGMENTS:
            tp, fp, fn = (
                tp + (name in t and name in g),
                fp + (name in g - t.keys()),
                fn + (name in t - g.keys()),
            )
            if name in t or name in g:
                everything.append(abs(t.get(name, 0) - g.get(name, 0)))
            if name in t and name in g:
                errors.append(everything[-1])
                near += errors[-1] <= 10
    summary = summarise_structured(table, n_resamples=20)
    expected = {
        "segment_f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
        "field_f1": 2 * near / (2 * near + 2 * (tp - near) + fp + fn) if tp + fp + fn else None,
        "percent_mae": float(np.mean(errors)) if errors else None,
        "percent_mae_all": float(np.mean(everything)) if everything else None,
    }
    for name, value in expected.items():
        assert summary[name].value == (None if value is None else pytest.approx(value)), name
    severe = [max(t.values(), default=0) >= 70 for t in true]
    if 0 < sum(severe) < 8:
        scores = [max(g.values(), default=0) for g in generated]
        assert summary["severe_auroc"].value == pytest.approx(roc_auc_score(severe, scores))


def test_severity_is_of_the_study_not_of_the_clip() -> None:
    true = ["pLAD 80%.", "D1 20%.", "pLAD 30%.", "pLAD 90%."]
    generated = ["none", "D1 75%.", "pLAD 40%.", "pLAD 60%."]
    table = structured_scores(true, generated, ["a", "a", "b", "c"], SEGMENTS)
    summary = summarise_structured(table, n_resamples=50)["severe_auroc"]
    assert summary.value == 1 and summary.n == 3, "study a scores 75, by its other clip"


def test_findings_whose_degree_is_not_given() -> None:
    true = ["pLAD, degree not given.", "D1, degree not given.", "pLAD 80%. D1, degree not given.", "D1 20%."]
    generated = ["pLAD, degree not given.", "D1 50%.", "pLAD 75%.", "D1 30%."]
    table = structured_scores(true, generated, list("abcd"), SEGMENTS)
    assert table["n_matched"].tolist() == [1, 1, 1, 1] and table["n_within_10"].tolist() == [1, 0, 1, 1]
    assert table["n_error_matched"].tolist() == [0, 0, 1, 1] and table["n_error_all"].tolist() == [0, 0, 1, 1]
    assert table["true_highest"].isna().tolist() == [True, True, False, False]
    summary = summarise_structured(table, n_resamples=20)
    assert summary["segment_f1"].value == pytest.approx(8 / 9)
    assert summary["percent_mae"].value == summary["percent_mae_all"].value == pytest.approx((5 + 10) / 2)
    assert summary["severe_auroc"].n == 2 and summary["severe_auroc"].value == 1
    nowhere = structured_scores(true[:2], true[:2], list("ab"), SEGMENTS)
    found = summarise_structured(nowhere, n_resamples=20)
    assert found["segment_f1"].value == 1 and found["percent_mae"].value is None
    assert found["severe_auroc"].value is None and found["severe_auroc"].reason


def test_one_report_for_all_has_no_area_and_perfect_texts_score_one() -> None:
    constant = structured_scores(TRUE, [TRUE[0]] * 4, STUDIES, SEGMENTS)
    assert summarise_structured(constant, n_resamples=20)["severe_auroc"].value == 0.5
    perfect = summarise_structured(structured_scores(TRUE, TRUE, STUDIES, SEGMENTS), n_resamples=20)
    assert perfect["percent_mae"].value == perfect["percent_mae_all"].value == 0
    assert all(perfect[name].value == 1 for name in ("segment_f1", "field_f1", "view_accuracy"))


def test_saying_nothing_is_not_rewarded() -> None:
    summary = summarise_structured(structured_scores(TRUE, [""] * 4, STUDIES, SEGMENTS), n_resamples=20)
    assert summary["segment_f1"].value == 0 and summary["view_accuracy"].value == 0
    assert summary["percent_mae"].value is None and summary["percent_mae"].reason
    assert summary["percent_mae_all"].value == pytest.approx((80 + 40 + 60) / 3)


def test_findings_in_a_table_for_the_scatter() -> None:
    rows = matched_percents(TRUE, GENERATED, STUDIES, SEGMENTS)
    named = {(row.study, row.segment): (row.true, row.generated) for row in rows.itertuples()}
    assert named[("s1", "pLAD")] == (80, 65) and named[("s2", "pRCA")] == (60, 50)
    assert named[("s1", "D1")][0] == 40 and math.isnan(named[("s1", "D1")][1])
    assert math.isnan(named[("s1", "mLAD")][0]) and len(rows) == 5
    assert matched_percents(["x"], ["y"], ["s"], SEGMENTS).dtypes["true"] == np.float64


def test_lengths_are_checked() -> None:
    with pytest.raises(DataError, match="columns of different lengths.*studies: 1"):
        structured_scores(["a", "b"], ["a", "b"], ["s"], SEGMENTS)
