"""The em study: variants, training, what makes a checkpoint stale."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mtl.errors import MissingArtefactError, ParameterError, ProtocolError
from mtl.losses.em.geometry import DIFFERENCES
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.study import EMStudy


def test_a_trained_variant_is_found_again_and_has_learnt(trained_study):
    again = EMStudy(trained_study.parameters)
    first = trained_study.train("late")[0]  # finished: from its folder
    torch.manual_seed(again._seed("initial weights"))
    start = again.untrained_model("late").state_dict()
    trained = again.model("late").state_dict()
    assert first.steps == 3
    assert any(not torch.equal(start[name], weights) for name, weights in trained.items())


def test_log_keys_are_those_of_the_description(trained_study):
    keys = set(trained_study.train("late")[0].history["key"])
    modes = ("automatic", "proofread")
    assert keys >= {"train/loss", "val/objects", *(f"train/{mode}/loss" for mode in modes)}
    terms = ("loss_sem", "loss_sem/ce", "loss_sem/iou", "loss_sem/dice", "loss_ins", "loss_ins/pull")
    terms += ("loss_ins/norm", "loss_geom", "loss_geom/dir", "loss_geom/cov", "loss_geom/raw")
    assert keys >= {f"train/{mode}/{term}" for mode in modes for term in terms}


def test_the_automatic_ablation_has_no_proofread_task(trained_study):
    assert {task.split("/")[0] for task in trained_study.settings("automatic_only").tasks} == {"automatic"}
    expected = 2 + trained_study.parameters.weight_geometry
    assert sum(trained_study.settings("automatic_only").task_weights.values()) == pytest.approx(expected)
    assert sum(trained_study.settings("late").task_weights.values()) == pytest.approx(expected)


def test_variants_see_the_same_crops(trained_study):
    one, other = (next(iter(trained_study.loader(name).batches(1))) for name in ("late", "automatic_only"))
    assert one["id"] == other["id"] and torch.equal(one["image"], other["image"])


def test_parts_are_apart_and_frozen(trained_study):
    split = trained_study.split
    assert split.validation[0] - split.train[1] == split.test[0] - split.validation[1] == 2
    moved = trained_study.parameters.model_copy(update={"gap_planes": 3})
    with pytest.raises(ProtocolError, match="frozen with another volume, fractions or gap"):
        _ = EMStudy(moved).split


def test_other_data_is_another_test_set(trained_study):
    other = EMStudy(trained_study.parameters.model_copy(update={"data_seed": 7}))
    with pytest.raises(ProtocolError, match="frozen with another volume"):
        _ = other.split


@pytest.mark.real_data
@pytest.mark.parametrize(("volume", "dims"), [("isbi2012_em", 3), ("gala_fibsem", 2)])
def test_dimensions_that_do_not_fit_the_volume_are_refused(
    data_root, tmp_path, tiny_parameters, volume, dims
):
    parameters = tiny_parameters(tmp_path, data_root=str(data_root), volume=volume, dims=dims)
    with pytest.raises(ParameterError, match="parameter 'dims'"):
        _ = EMStudy(parameters).volume


def test_a_changed_parameter_makes_the_checkpoint_stale(trained_study):
    changed = EMStudy(trained_study.parameters.model_copy(update={"delta_v": 0.4}))
    with pytest.raises(MissingArtefactError, match="run notebook 02_training first"):
        changed.model("late")
    overlapping = EMStudy(trained_study.parameters.model_copy(update={"window_overlap": 0.5}))
    with pytest.raises(MissingArtefactError, match="run notebook 02_training first"):
        overlapping.model("late")  # the score that picked the checkpoint depends on it
    shown_only = EMStudy(trained_study.parameters.model_copy(update={"max_clicks": 3}))
    assert shown_only.model("late") is not None


def test_an_unknown_variant_is_named(tmp_path, tiny_parameters):
    with pytest.raises(ParameterError, match="unknown variant 'input': this run has late, automatic_only"):
        EMStudy(tiny_parameters(tmp_path)).train("input")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"variants": "late,loud"}, "variants: unknown"),
        ({"variants": "late,late"}, "variants: late is named twice"),
        ({"training_modes": "automatic,automatic"}, "training_modes: automatic is named twice"),
        ({"ablations": "no_luck"}, "ablations: unknown"),
        ({"training_modes": ""}, "training_modes: none is given"),
        ({"ablations": ""}, "ablations: none is given"),
        ({"variants": "target_head", "point_sample_mode": "class"}, "point_sample_mode=class does not fit"),
        ({"variants": "target_head", "training_modes": "automatic"}, "add it to training_modes"),
        ({"crops_per_epoch": 3}, "crops_per_epoch=3 is less than probe_batches=4"),
        (
            {"variants": "target_head", "weight_ce": 0, "weight_dice": 0},
            "weight_ce and weight_dice are both 0",
        ),
        ({"weight_pull": 0, "weight_push": 0, "weight_norm": 0}, "weight_push and weight_norm are all 0"),
        ({"spacing": "nan,4,4"}, "above 0 and finite"),
        ({"phantom_spacing": ""}, "phantom_spacing is empty"),
        ({"learning_rate": float("inf")}, "'learning_rate'.*finite"),
        ({"min_lr": 1.0}, "min_lr=1 is above learning_rate"),
        ({"spacing": "8,8"}, "three numbers are expected"),
        ({"volume": "somewhere"}, "needs data_root"),
        ({"crop_side": 8, "levels": 5}, "too small for levels=5"),
        ({"weight_instance": 0}, "weight_semantic and weight_instance must be above 0"),
        ({"intensity_range": "5"}, "two numbers are expected"),
        ({"intensity_range": "200,100"}, "low below high"),
        ({"intensity_range": "0,nan"}, "low,high must be finite"),
        ({"hdf5_key": ""}, "'hdf5_key': .*at least 1 character"),
        ({"ngff_level": -1}, "'ngff_level'"),
        ({"gap_planes": -2}, "'gap_planes'"),
        ({"min_target_voxels": 0}, "'min_target_voxels'"),
        ({"backbone": "UNet"}, "'backbone': .*'SegResNet' or 'VISTA3D'"),
        ({"backbone": "VISTA3D", "variants": "late,multiscale"}, "multiscale needs backbone=SegResNet"),
        ({"backbone": "VISTA3D", "crop_side": 16}, "crops of .* too small for backbone=VISTA3D"),
        ({"backbone": "VISTA3D", "window_side": 16, "window_planes": 8}, "windows of .* too small"),
        ({"decode_tile_planes": 1}, "decode_tile_planes=1: neighbouring tiles have no plane in common"),
        ({"decode_tile_side": 4}, "decode_tile_side=4: 0, or 8 pixels or more"),
        ({"decode_tile_overlap": 0}, "'decode_tile_overlap'"),
        (
            {"ablations": "labels_50", "label_fraction": 0.5},
            "labels_50 labels 0.5 of the objects, .* not less",
        ),
        ({"ablations": "no_tensor,labels_20", "label_fraction": 0.1}, "ablations: labels_20 labels 0.2"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(values, said):
    with pytest.raises(ParameterError, match=said):
        EMParameters.from_values(values, "test")


def test_label_ablations_of_a_run_that_labels_more_are_trained_with_their_own_share(
    tmp_path, tiny_parameters
):
    study = EMStudy(tiny_parameters(tmp_path, ablations="labels_50,labels_20", label_fraction=0.6))
    assert [study.variant_parameters(f"labels_{share}").label_fraction for share in (50, 20)] == [0.5, 0.2]


def test_what_has_no_deterministic_algorithm_on_a_gpu_is_refused(tmp_path, tiny_parameters, monkeypatch):
    gpu = SimpleNamespace(device=torch.device("cuda"))
    monkeypatch.setattr("mtl.studies.em.study.make_fabric", lambda *_: gpu)
    with pytest.raises(ParameterError, match="deterministic: .* device=cpu"):
        _ = EMStudy(tiny_parameters(tmp_path, deterministic=True)).fabric
    assert EMStudy(tiny_parameters(tmp_path)).fabric is gpu


def test_the_kind_of_difference_reaches_the_loss(tmp_path, tiny_parameters):
    for kind in DIFFERENCES:
        assert EMStudy(tiny_parameters(tmp_path, geometry_kind=kind)).loss("late").geometry_kind == kind
