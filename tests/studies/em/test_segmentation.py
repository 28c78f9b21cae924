"""Segmentations of the test part: tuned, kept, read back; clicks on its objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtl.errors import MissingArtefactError
from mtl.studies.em.clicks import chosen_objects, click_runs, replayed, right_and_wrong, window_around
from mtl.studies.em.segmentation import (
    INTENSITY,
    Segmentation,
    automatic_instances,
    read_segmentation,
    segment_image,
    segment_with_network,
)
from mtl.studies.em.segmentation_scores import chosen_settings, difference_of, object_planes, scores_of
from mtl.studies.em.study import EMStudy
from mtl.studies.em.worst_objects import worst_objects


@pytest.fixture(scope="module")
def segmented(trained_study):
    """What the first arm's network and the image alone give."""
    return segment_with_network(trained_study, "late") | {INTENSITY: segment_image(trained_study)}


def test_every_method_labels_the_whole_test_part(trained_study, segmented):
    assert set(segmented) == {"embedding", "boundary watershed", "direction", INTENSITY}
    for name, made in segmented.items():
        assert made.labels.shape == trained_study.test_labels.shape and made.labels.dtype == np.int32
        assert 0 <= made.validation_error <= 1
        assert (
            " nm" in (said := chosen_settings(trained_study, "late", name, made.settings))
            or name == "embedding"
        )
        assert len(said.split(", ")) == len(made.settings)


def test_planes_share_ids_unless_each_is_a_sample(trained_study, segmented):
    labels = segmented[INTENSITY].labels
    ids = [set(np.unique(plane[plane > 0])) for plane in labels]
    shared = sum(map(len, ids)) > len(set.union(*ids))
    assert shared == (not trained_study.volume.planar)


def test_what_was_found_is_read_back_and_only_for_this_test_part(trained_study, segmented):
    kept = read_segmentation(trained_study, "late", "embedding")
    assert np.array_equal(kept.labels, segmented["embedding"].labels)
    assert kept.settings == segmented["embedding"].settings
    other = EMStudy(trained_study.parameters)
    other.__dict__["data_fingerprint"] = "of other data"
    other.__dict__["split"] = trained_study.split
    with pytest.raises(MissingArtefactError, match="was made from other data or another network"):
        read_segmentation(other, "late", "embedding")
    with pytest.raises(MissingArtefactError, match="was made from other data or another network"):
        read_segmentation(other, "no_network", INTENSITY)
    with pytest.raises(MissingArtefactError, match="run notebook 03_decoding_and_evaluation first"):
        read_segmentation(trained_study, "automatic_only", "embedding")


def test_validation_chooses_the_method(trained_study, segmented):
    name, chosen = automatic_instances(trained_study, "late")
    networks = {method: made for method, made in segmented.items() if method != INTENSITY}
    assert chosen.validation_error == min(made.validation_error for made in networks.values())
    assert networks[name].validation_error == chosen.validation_error


def test_instances_are_made_where_they_are_missing_and_asked_for(trained_study, segmented, monkeypatch):
    trained_study.train("automatic_only")
    with pytest.raises(MissingArtefactError, match="run notebook 03"):
        automatic_instances(trained_study, "automatic_only")
    name, made = automatic_instances(trained_study, "automatic_only", make=True)
    monkeypatch.setattr("mtl.studies.em.segmentation.segment_with_network", None)  # not again
    assert automatic_instances(trained_study, "automatic_only", make=True)[0] == name
    assert made.labels.shape == trained_study.test_labels.shape


def test_the_truth_itself_scores_perfectly(trained_study):
    truth = np.maximum(trained_study.test_labels, 0)
    scores = scores_of(trained_study, truth)
    assert scores["adapted_rand"].value == pytest.approx(0, abs=1e-9)
    assert scores["pq"].value == pytest.approx(1)
    one = np.ones_like(truth)
    assert difference_of(trained_study, truth, one)["adapted_rand"].value > 0.2


def test_windows_hold_the_middle_of_their_object(trained_study):
    labels = trained_study.test_labels
    for number in chosen_objects(trained_study):
        window = window_around(labels == number, trained_study)
        sizes = [part.stop - part.start for part in window]
        assert sizes[0] == (8 if trained_study.parameters.dims == 3 else 1) or sizes[0] == labels.shape[0]
        assert sizes[1:] == [32, 32]
        assert (labels[window] == number).any()


def test_click_tables_hold_the_chosen_objects(trained_study, segmented):
    automatic = automatic_instances(trained_study, "late")[1]
    table = click_runs(trained_study, "late", automatic)
    assert table["object"].tolist() == chosen_objects(trained_study)
    assert {"dice_0", "dice_1", "dice_2"} <= set(table) and set(table["arm"]) == {"late"}
    assert table[["dice_0", "dice_1", "dice_2"]].stack().between(0, 1).all()
    shown = replayed(trained_study, "late", table["object"].tolist()[:1], automatic, 2)
    assert len(shown.images) == len(shown.titles) == 3
    made = [len(clicks) for clicks in shown.clicks]
    assert made[:2] == [0, 1] and made[1] <= made[2] <= 2
    height, width = shown.images[1].shape
    assert all(0 <= y < height and 0 <= x < width for y, x, _, _ in shown.clicks[2])
    assert f"2 clicks: {table['dice_2'].iloc[0]:.2f}" in shown.titles[-1]
    assert "no click:" in shown.titles[0] and "1 click:" in shown.titles[1]
    truth = [np.isin(marks, (1, 2)).sum() for marks in shown.labels]
    assert truth[0] > 0 and len(set(truth)) == 1  # all of the object's plane is in the square
    assert {picture.shape for picture in (*shown.images, *shown.labels)} == {(height, width)}


def test_failures_come_worst_first(trained_study, segmented):
    worst = worst_objects(trained_study, segmented[INTENSITY], n=3)
    scores = [float(title.rsplit(" ", 1)[1]) for title in worst.titles]
    assert scores == sorted(scores) and len(worst.images) == len(worst.labels) == len(scores)
    for image, marks in zip(worst.images, worst.labels, strict=True):
        assert image.shape == marks.shape and not marks[np.isnan(image)].any()
        assert np.isin(marks, (1, 2)).any() and np.isin(marks, (2, 3)).any()


def test_planes_and_marks(trained_study, segmented):
    (images, labels), titles = object_planes(trained_study, {"truth": trained_study.test_labels}, n=2)
    assert len(images) == len(labels) == len(titles) == 2 and images[0].ndim == 2
    mask, truth = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert right_and_wrong(mask, truth).tolist() == [1, 3, 2, 0]


def test_zero_clicks_end_where_the_predicted_foreground_ends(trained_study, segmented):
    """An automatic instance that fills the background would be charged for every membrane."""
    made = automatic_instances(trained_study, "late")[1]
    nowhere = replace(made, foreground=np.zeros_like(made.foreground))
    assert (click_runs(trained_study, "late", nowhere)["dice_0"] == 0).all()


def test_unknown_voxels_are_nobodys_fault(trained_study):
    """An instance that is right wherever the truth is known has a Dice of one."""
    truth = trained_study.test_labels
    grown = np.where(truth < 0, 1, truth).astype(np.int32)
    perfect = Segmentation(grown, np.ones(truth.shape, bool), {}, 0.0)
    assert {title.rsplit(" ", 1)[1] for title in worst_objects(trained_study, perfect).titles} == {"1.00"}
