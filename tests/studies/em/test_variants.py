"""Ablations that would take away what is not there, and what a model card says of its data."""

from __future__ import annotations

import pytest

from mtl.studies.em.model_card import model_card
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.study import EMStudy
from mtl.studies.em.variants import (
    ABLATIONS,
    ARMS,
    DESCRIPTIONS,
    changes_nothing,
    shown_changes,
    shown_name,
)


@pytest.mark.parametrize(
    ("ablation", "parameters", "nothing"),
    [
        ("no_geometry", {}, False),
        ("no_geometry", {"weight_geometry": 0}, True),
        ("no_direction", {"weight_geometry": 0}, True),
        ("no_direction", {"weight_dir": 0}, True),
        ("no_tensor", {"weight_dir": 0}, False),
        ("automatic_only", {"training_modes": "automatic"}, True),
        ("automatic_only", {"training_modes": "proofread"}, False),
        ("labels_50", {"label_fraction": 0.5}, True),
        ("no_edge_weight", {}, False),
    ],
)
def test_what_a_run_is_without_anyway_is_no_ablation(ablation, parameters, nothing):
    assert changes_nothing(ablation, EMParameters(**parameters).model_dump()) == nothing


def test_a_study_trains_only_ablations_that_take_something_away(tmp_path, tiny_parameters):
    parameters = tiny_parameters(tmp_path, weight_geometry=0, ablations="automatic_only,no_geometry,no_raw")
    assert EMStudy(parameters).ablations == ["automatic_only"]


def test_the_arm_without_weights_for_clicks_is_automatic_anyway(tmp_path, tiny_parameters):
    ablations = "automatic_only,proofread_only,no_raw"
    parameters = tiny_parameters(tmp_path, variants="embedding", ablations=ablations)
    assert EMStudy(parameters).ablations == ["no_raw"]


def test_the_card_of_a_network_that_saw_a_phantom_speaks_of_no_microscope_of_its_own(trained_study):
    study = trained_study
    card = model_card("late", study.variant_parameters("late"), study.volume)
    assert "a phantom, a volume made by a program" in card and "one microscope" not in card
    assert "no tissue and no microscope" in card
    real = study.variant_parameters("late").model_copy(update={"volume": "tissue.h5", "label_fraction": 0.25})
    card = model_card("late", real, study.volume)
    assert "phantom, a volume made" not in card and "one microscope and one species" in card
    assert "about 25% of the objects" in card


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("automatic/instance", "automatic · embedding"),
        ("proofread/target", "proofread · mask"),
        ("target_head", "target head"),
        ("automatic_only", "automatic only"),
        ("labels_20", "20% of labels"),
    ],
)
def test_names_are_shown_as_words(name, shown):
    assert shown_name(name) == shown


def test_every_variant_has_words_of_its_own():
    shown = [shown_name(name) for name in (*ARMS, *ABLATIONS)]
    assert len(set(shown)) == len(shown) and not any("_" in name or "/" in name for name in shown)
    assert set(DESCRIPTIONS) == set(ABLATIONS)


def test_what_an_ablation_sets_is_told_in_words():
    parameters = EMParameters(weight_edge=12.5).model_dump()
    assert shown_changes("no_edge_weight", parameters) == "weight of boundary voxels: 12.5 → 1"
    assert shown_changes("automatic_only", parameters) == "modes: automatic and proofread → automatic"
    for name in ABLATIONS:
        assert "_" not in shown_changes(name, parameters)
