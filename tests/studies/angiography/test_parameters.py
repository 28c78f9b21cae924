"""Parameters that make no sense together are refused by name; variants that change nothing are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl.errors import ParameterError
from mtl.losses.angiography import LOSSES, LossConfig
from mtl.studies.angiography.parameters import AngiographyParameters
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import (
    ALL,
    OBJECTIVES,
    SETTINGS,
    VARIANTS,
    WEIGHTS,
    changes,
    changes_nothing,
    shown_variant,
)

from .conftest import ROOT, smoke


@pytest.mark.parametrize("path", sorted((ROOT / "params/angiography").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_parameter_file_is_valid(path: Path) -> None:
    assert AngiographyParameters.from_yaml(path).run == path.stem


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"variants": "all,most"}, "variants: unknown most; there is all, without_contrastive"),
        ({"scheduled": "masked=1:0", "balancer": "fixed"}, "no effect without balancer='schedule'"),
        ({"scheduled": "masked=1", "balancer": "schedule"}, "scheduled: 'masked=1' is not NAME=START:END"),
        ({"scheduled": "mask=1:0", "balancer": "schedule"}, "with a NAME of contrastive, captioning"),
        ({"scheduled": "masked=1:-1", "balancer": "schedule"}, "factors from 0 on"),
        ({"scheduled": "masked=1:0,masked=0:1", "balancer": "schedule"}, "each once"),
        ({"settings": "clap"}, "settings: unknown clap; there is clip, siglip"),
        ({"variants": "all,only_captioning,all"}, "variants: all is named twice"),
        ({"settings": "clip,mask_90,clip"}, "settings: clip is named twice"),
        ({"variants": "only_captioning"}, "variants: 'all' must be among them"),
        ({"videos": "films.csv"}, "videos='films.csv' needs data_root"),
        ({"frames": 7}, "frames=7 is no multiple of the tubelet's 8"),
        ({"size": 60}, "size=60 is no multiple of the tubelet's 16"),
        ({"width": 30}, "width=30 is no multiple of heads=4"),
        ({"weight_contrastive": 0, "weight_captioning": 0, "weight_masked": 0}, "all weights are 0"),
        (
            {"clips_per_epoch": 255},
            "clips_per_epoch=255 is less than probe_batches=4 batches of batch_size=64",
        ),
        ({"weight_captioning": 0}, "variants: only_captioning has no objective left"),
        (
            {"weight_contrastive": 0, "weight_masked": 0, "variants": "all,without_captioning"},
            "variants: without_captioning has no objective left",
        ),
        ({"batch_size": 5, "settings": "quarter_batch_clip"}, "quarter_batch_clip of batch_size=5 is less"),
        (
            {"videos": "films.csv", "data_root": "x", "settings": "clip,duplicates_30"},
            "duplicates_30: only reports of videos=phantom can be copied",
        ),
        (
            {"videos": "films.csv", "data_root": "x", "duplicate_rate": 0.1},
            "duplicate_rate: only reports of videos=phantom",
        ),
        ({"phantom_views": 3}, "'phantom_views'"),
        ({"report_fraction": 0}, "'report_fraction'"),
        ({"mask": 0.5}, "unknown parameter 'mask'"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        AngiographyParameters.from_values(values, "test")


def test_no_setting_and_clips_that_just_suffice_are_allowed() -> None:
    p = AngiographyParameters(settings="none", variants=" all , without_masked ", clips_per_epoch=256)
    assert p.setting_variants == () and p.objective_variants == (ALL, "without_masked")
    assert p.grid == (1, 4, 4)


def test_weights_are_those_of_the_losses() -> None:
    described = {name: getattr(LossConfig(), name) for name in LOSSES}
    assert tuple(WEIGHTS) == LOSSES
    full = AngiographyParameters.from_yaml(ROOT / "params/angiography/full.yaml")
    assert full.weights == described
    assert AngiographyParameters().weights == described | {"captioning": 4.0}, "the one that validation chose"


@pytest.mark.parametrize(
    ("variant", "values", "nothing"),
    [
        (ALL, {}, False),
        ("without_distillation", {}, True),
        ("without_distillation", {"weight_distillation": 0.5}, False),
        ("without_masked", {"weight_masked": 0}, True),
        ("only_contrastive", {"weight_captioning": 0, "weight_masked": 0}, True),
        ("only_contrastive", {"weight_captioning": 0}, False),
        ("siglip", {}, False),
        ("clip", {}, True),
        ("siglip", {"weight_contrastive": 0}, True),
        ("half_batch_clip", {"weight_contrastive": 0}, False),
        ("mask_90", {"weight_masked": 0}, True),
        ("tube_masks", {"weight_masked": 0, "tubelet_frames": 2}, True),
        ("tube_masks", {"tubelet_frames": 2}, False),
        ("tube_masks", {}, True),  # a tubelet spans the clip
        ("mask_50", {"mask_ratio": 0.5}, True),
        ("duplicates_60_unaware", {"duplicate_rate": 0.6}, False),
        ("duplicates_60_unaware", {"duplicate_rate": 0.6, "weight_contrastive": 0}, True),
    ],
)
def test_what_a_run_is_without_anyway_is_no_variant(variant: str, values: dict, nothing: bool) -> None:
    p = AngiographyParameters().model_copy(update=values)
    assert changes_nothing(variant, p.model_dump()) == nothing


def test_batches_of_half_and_a_quarter() -> None:
    values = {"batch_size": 32}
    sizes = {name: changes(name, values).get("batch_size", 32) for name in VARIANTS}
    assert {name: size for name, size in sizes.items() if size != 32} == {
        "half_batch": 16, "half_batch_clip": 16, "half_batch_siglip": 16,
        "quarter_batch": 8, "quarter_batch_clip": 8, "quarter_batch_siglip": 8,
    }  # fmt: skip
    assert SETTINGS["half_batch"]["batch_size"] == 0.5, "asking changes nothing"


def test_a_run_trains_only_what_changes_something(tmp_path: Path) -> None:
    names = "all,without_distillation,only_captioning"
    study = AngiographyStudy(
        smoke(tmp_path, variants=names, settings="clip,half_batch", contrastive="softmax")
    )
    assert study.training_order() == ["all", "only_captioning", "half_batch"]
    assert study.variant_parameters("half_batch").batch_size == 2
    assert study.tasks("only_captioning") == ("captioning",)
    with pytest.raises(
        ParameterError, match="unknown variant 'clip': this run has all, only_captioning, half"
    ):
        study.train("clip")


def test_every_variant_has_words_of_its_own() -> None:
    shown = [shown_variant(name) for name in VARIANTS]
    assert len(set(shown)) == len(shown) and not any("_" in name for name in shown)
    assert set(OBJECTIVES) == {
        "all", "only_contrastive", "only_captioning", *(f"without_{name}" for name in LOSSES),
    }  # fmt: skip


def test_scheduled_factors_reach_the_balancer_of_variants_that_have_the_objective(tmp_path: Path) -> None:
    both = {"scheduled": "masked=1:0.1, captioning=0:1", "balancer": "schedule", "schedule": "linear"}
    study = AngiographyStudy(smoke(tmp_path, variants="all,without_masked", settings="none", **both))
    options = study.settings(study.first).balancer_options
    assert options["initial"] == {"masked": 1, "captioning": 0} and options["kind"] == "linear"
    assert options["final"] == {"masked": 0.1, "captioning": 1} and options["warm_up"] == 0
    (other,) = study.trainings("without_masked")
    assert study.settings(other).balancer_options["final"] == {"captioning": 1}
