"""Logged scalars of the em study."""

from __future__ import annotations

import pytest

from mtl.studies.em.log_keys import log_keys

WEIGHTS = {"semantic": 1.0, "instance": 2.0, "geometry": 0.5}


def test_names_and_totals_are_those_of_the_description():
    means = {
        "automatic/semantic": 1.0,
        "automatic/semantic/ce": 0.4,
        "automatic/instance": 2.0,
        "automatic/instance/pull": 0.3,
        "automatic/geometry": 4.0,
        "automatic/geometry/dir": 0.2,
        "proofread/semantic": 3.0,
    }
    found = log_keys(means, WEIGHTS)
    assert found.pop("train/automatic/loss") == pytest.approx(1 + 2 * 2 + 0.5 * 4)
    assert found.pop("train/proofread/loss") == pytest.approx(3.0)
    assert found.pop("train/loss") == pytest.approx((7 + 3) / 2)
    assert found == {
        "train/automatic/loss_sem": 1.0,
        "train/automatic/loss_sem/ce": 0.4,
        "train/automatic/loss_ins": 2.0,
        "train/automatic/loss_ins/pull": 0.3,
        "train/automatic/loss_geom": 4.0,
        "train/automatic/loss_geom/dir": 0.2,
        "train/proofread/loss_sem": 3.0,
    }


def test_an_epoch_without_any_task_logs_no_loss():
    assert log_keys({}, WEIGHTS) == {}
