"""The audit of a run's own sources: one test set for every arm; a source is scored by the others' network."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.evaluation.brain_mri import by_stage_and_source, classification_table
from mtl.studies import parameters_class
from mtl.studies.brain_mri import source_audit
from mtl.studies.brain_mri.predictions import write_baseline_predictions
from mtl.studies.brain_mri.shortcut import BACKGROUND_NATIVE, BACKGROUND_PREPARED, ELSEWHERE
from mtl.studies.brain_mri.small_classifier import of_sources
from mtl.studies.brain_mri.study import BrainMriStudy


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> BrainMriStudy:
    parameters = parameters_class("brain_mri")(
        output_root=str(tmp_path_factory.mktemp("outputs")), image_size=16, phantom_patients=48,
        phantom_slices=1, phantom_rho=0.4, phantom_duplicates=0.0, shortcut_size=16, shortcut_filters=4,
        shortcut_epochs=1, batch_size=8, depth=2, precision="32-true", n_bootstrap=100,
    )  # fmt: skip
    return BrainMriStudy(parameters)


@pytest.fixture(scope="module")
def audited(study):
    """With the baselines standing in for the joint network, whose training is tested elsewhere."""
    baselines = write_baseline_predictions(study)
    joint = baselines[baselines["stage"] == "histogram"].assign(stage="joint")
    with pytest.MonkeyPatch.context() as patch:
        both = [joint, baselines]
        patch.setattr(source_audit, "read_predictions", lambda *_: source_audit.pd.concat(both))
        return source_audit.audit_predictions(study)


def test_every_arm_is_tested_on_the_run_s_own_frozen_test_set(study, audited):
    arms = ["joint", "source_only", "histogram", BACKGROUND_NATIVE, BACKGROUND_PREPARED, ELSEWHERE]
    assert sorted(set(audited["stage"])) == sorted(arms)
    wanted = sorted(study.split.folds[0].test)
    for _, rows in audited.groupby("stage"):
        assert sorted(rows["id"]) == wanted and set(rows["test_hash"]) == {study.split.test_hash}
    assert study.run.predictions("source_audit").exists()
    found = by_stage_and_source(classification_table(audited, n_resamples=100))
    assert found[BACKGROUND_PREPARED]["pooled"]["roc_auc"].value == pytest.approx(0.5)
    assert found[BACKGROUND_NATIVE]["pooled"]["roc_auc"].value > 0.5


def test_a_source_is_scored_by_a_network_that_never_saw_it(study, audited):
    small = study.dataset
    rows = audited[(audited["stage"] == ELSEWHERE) & (audited["source"] == "scanner_b")]
    network = source_audit._classifier(study, small, ["scanner_a"])
    seen = [part.table for part in network.data.load()]
    assert all(set(table["source"]) == {"scanner_a"} and len(table) for table in seen)
    assert not set(seen[0]["group"]) & set(seen[1]["group"])
    np.testing.assert_allclose(
        network.probabilities(small.subset(list(rows["id"]))), rows["tumor_prob"], rtol=1e-6
    )


def test_sources_are_left_out_only_where_the_others_show_both_classes(study):
    assert source_audit._others_can_teach(study, study.dataset)
    assert not source_audit._others_can_teach(study, of_sources(study.dataset, ["scanner_a"]))
    table = study.dataset.table
    one_sided = table[(table["source"] == "scanner_b") | (table["cls"] == 1)]  # scanner_a: tumours only
    assert not source_audit._others_can_teach(study, study.dataset.subset(list(one_sided["id"])))
