"""Checks that raise, alarms that name themselves."""

from __future__ import annotations

import pytest

from mtl.errors import ProtocolError
from mtl.evaluation.protocol import alarms, check_group_disjoint, require_same_test_set
from mtl.evaluation.statistics import Estimate


def figure(value: float | None, n: int = 100, reason: str | None = None) -> Estimate:
    return Estimate(value, None, None, n, "patient", reason)


HEALTHY = {
    name: figure(0.8 + 0.01 * i)
    for i, name in enumerate(("accuracy", "precision", "recall", "specificity", "roc_auc"))
}


def codes(**changes: Estimate) -> list[str]:
    return [alarm.code for alarm in alarms({**HEALTHY, **changes})]


def test_same_test_set_returns_the_hash() -> None:
    assert require_same_test_set({"warm-up": "abc", "joint": "abc"}) == "abc"


def test_different_test_sets_name_every_arm() -> None:
    with pytest.raises(ProtocolError, match="head: 222.*joint: 111.*warm-up: 111"):
        require_same_test_set({"warm-up": "111", "head": "222", "joint": "111"})


@pytest.mark.parametrize("missing", ["", None, float("nan")])
def test_missing_hash_is_refused(missing: object) -> None:
    with pytest.raises(ProtocolError, match="no test hash for joint"):
        require_same_test_set({"warm-up": "111", "joint": missing})


def test_no_arm_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no arm"):
        require_same_test_set({})


def test_group_in_two_parts_is_named() -> None:
    check_group_disjoint({"train": ["a", "a"], "validation": ["b"], "test": ["c"]})
    with pytest.raises(ProtocolError, match=r"1 group\(s\) lie in both train and test: b"):
        check_group_disjoint({"train": ["a", "b"], "validation": ["c"], "test": ["b", "d"]})


def test_healthy_figures_raise_nothing() -> None:
    assert codes() == []


def test_each_alarm_alone() -> None:
    assert codes(recall=figure(1.0), specificity=figure(0.04)) == ["all_positive"]
    assert codes(roc_auc=figure(0.49)) == ["auc_below_half"]
    assert codes(roc_auc_within_source=figure(0.3)) == ["auc_below_half"]
    assert codes(precision=HEALTHY["accuracy"]) == ["precision_equals_accuracy"]
    assert codes(predicted_positive=figure(0.0)) == ["constant_prediction"]
    assert codes(roc_auc=figure(0.9, n=29)) == ["few_units"]
    assert codes(mcc=figure(None, reason="only one class")) == ["undefined"]


def test_limits_are_not_alarms() -> None:
    assert codes(recall=figure(1.0), specificity=figure(0.05)) == []
    assert codes(recall=figure(0.99), specificity=figure(0.0)) == []
    assert codes(roc_auc=figure(0.5, n=30)) == []
    assert codes(accuracy=figure(1.0), precision=figure(1.0)) == []


def test_messages_carry_the_figures() -> None:
    found = alarms({"roc_auc": figure(0.43, 12), "mcc": figure(None, 40, "why")}, [0.7, 0.7])
    messages = {alarm.code: alarm.message for alarm in found}
    assert "roc_auc 0.430" in messages["auc_below_half"]
    assert messages["constant_prediction"] == "every case gets the same score"
    assert messages["few_units"].endswith("roc_auc (12 patients)")
    assert messages["undefined"] == "no value for mcc (why)"


def test_expected_gaps_can_be_allowed() -> None:
    assert alarms({"specificity": figure(None)}, allow_undefined=["specificity"]) == []
