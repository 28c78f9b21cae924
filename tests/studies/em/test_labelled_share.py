"""What label_fraction came to, against the labels that crops hold."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.errors import ParameterError
from mtl.studies.em.labelled_share import labelled_share, shares
from mtl.studies.em.study import EMStudy


def test_shares_by_hand():
    labels = np.array([[1, 1, 1, 1, 2, 2, 0, -100]])
    annotated = np.array([[1, 1, 1, 0, -100, -100, -100, -100]])  # 2 is dropped, 1 has a border
    found = shares(labels, annotated)
    assert (found["labelled"], found["objects"], found["objects_share"]) == (1, 2, 0.5)
    assert found["foreground_share"] == pytest.approx(4 / 6)
    assert found["known_share"] == pytest.approx(4 / 8)
    assert found["line_share"] == pytest.approx(1 / 6)


def test_all_labels_are_all_of_the_part(trained_study):
    share = labelled_share(trained_study, "late")
    assert share["asked"] == share["objects_share"] == share["foreground_share"] == 1.0
    part = trained_study.parts["train"]
    assert share["known_share"] == pytest.approx((part.read_labels(part.box) != -100).mean())


@pytest.mark.parametrize("dims", [2, 3])
def test_the_share_is_that_of_the_objects_that_crops_show(tmp_path, tiny_parameters, dims):
    options = {"dims": dims, "phantom_unannotated": 0.0, "phantom_neurites": 30, "augment": False}
    study = EMStudy(tiny_parameters(tmp_path, ablations="labels_50", **options))
    share, crops = labelled_share(study, "labels_50"), study.loader("labels_50").dataset
    assert 0 < share["labelled"] < share["objects"] and share["asked"] == 0.5
    part = study.parts["train"]
    annotated = crops.annotated(part)
    for sample in crops:
        z, y, x = (int(corner) for corner in sample["id"].rsplit("/", 1)[1].split("_"))
        size = (1,) * (3 - dims) + crops.crop_size
        box = tuple(slice(a, a + b) for a, b in zip((z, y, x), size, strict=True))
        inner = (slice(3, -3),) * dims  # nearer to its faces a crop cannot see what lies outside
        one, whole = sample["labels"].numpy()[inner], annotated[box].reshape(crops.crop_size)[inner]
        assert np.array_equal(one > 0, whole > 0) and np.array_equal(one < 0, whole < 0)


def test_a_chance_that_leaves_nothing_labelled_is_refused_before_the_training(tmp_path, tiny_parameters):
    parameters = tiny_parameters(tmp_path, label_fraction=1e-6, phantom_unannotated=0.0)
    with pytest.raises(ParameterError, match="label_fraction=1e-06 of 'late' leaves no object"):
        EMStudy(parameters).train("late")
