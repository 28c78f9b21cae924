"""Which changes of the package make a study's weights stale."""

from __future__ import annotations

import pytest

from mtl.studies import code_fingerprint

fingerprint = code_fingerprint.training_code_fingerprint.__wrapped__


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a few modules."""
    modules = (
        "studies/brain_mri/explanation.py", "models/unet.py", "models/em.py", "losses/em/dice.py",
        "evaluation/em/segmentation.py", "evaluation/em/alarms.py", "studies/em/segmentation.py",
        "studies/em/decodings.py", "studies/em/tiled_decoding.py", "studies/em/prediction.py",
        "inference/em/watershed.py", "inference/em/clicks_to_mask.py", "evaluation/contingency.py",
        "evaluation/objects.py", "inference/segments.py", "studies/demos.py", "studies/em/proofreading.py",
        "inference/em/proofreading.py", "studies/histology/annotation_loop.py",
        "studies/histology/annotation_rounds.py", "studies/histology/scoring.py",
        "evaluation/histology/simulated_annotator.py", "evaluation/calibration.py",
        "evaluation/segmentation.py", "inference/histology/prediction.py",
    )  # fmt: skip
    for module in modules:
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / module).write_text("a = 1")
    monkeypatch.setattr(code_fingerprint, "_PACKAGE", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("studies/brain_mri/explanation.py", set()),
        ("models/unet.py", {"brain_mri", "em"}),
        ("models/em.py", {"em"}),
        ("losses/em/dice.py", {"em"}),
        ("evaluation/em/segmentation.py", {"em"}),
        ("evaluation/contingency.py", {"em"}),
        ("evaluation/em/alarms.py", set()),
        ("studies/demos.py", set()),
        ("studies/em/proofreading.py", set()),
        ("inference/em/proofreading.py", set()),
        ("inference/em/clicks_to_mask.py", set()),
        ("studies/em/segmentation.py", set()),
    ],
)
def test_a_change_makes_the_weights_stale_that_depend_on_it(package, module, stale):
    before = {study: fingerprint(study) for study in ("brain_mri", "em")}
    (package / module).write_text("a = 2")
    assert {study for study, value in before.items() if fingerprint(study) != value} == stale


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("studies/em/segmentation.py", True),
        ("inference/em/watershed.py", True),
        ("inference/segments.py", True),
        ("evaluation/em/segmentation.py", True),
        ("evaluation/objects.py", True),
        ("evaluation/em/alarms.py", False),
        ("models/em.py", False),  # told by the weights' own fingerprint
    ],
)
def test_a_change_of_a_decoding_makes_segmentations_stale(package, module, stale):
    decoding = code_fingerprint.decoding_code_fingerprint.__wrapped__
    before = decoding("em")
    (package / module).write_text("a = 2")
    assert (decoding("em") != before) == stale


def test_a_change_of_the_simulated_annotator_begins_its_loops_anew_and_no_training(package):
    loop = code_fingerprint.annotation_loop_fingerprint.__wrapped__
    before = loop(), fingerprint("histology")
    (package / "studies/histology/annotation_loop.py").write_text("a = 2")
    assert loop() != before[0]
    assert fingerprint("histology") == before[1]
