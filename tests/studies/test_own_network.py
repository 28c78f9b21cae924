"""A network of one's own in the joint stage: trained, saved, found again, tested on the frozen cases."""

from __future__ import annotations

import pytest
import torch

from mtl.inference.brain_mri import MultiTaskPredictor
from mtl.inference.brain_mri.calibration import Calibration
from mtl.model_folder import load_model
from mtl.models.backbones import ResNetModel
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri.own_network import new_network, predict_network, train_network, weights_hash
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.studies.methods import MethodsParameters


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> BrainMriStudy:
    small = MethodsParameters(
        output_root=str(tmp_path_factory.mktemp("outputs")), phantom_patients=16, phantom_slices=1,
        image_size=48, base_filters=2, depth=2, batch_size=8, precision="32-true",
    )  # fmt: skip
    return BrainMriStudy(small.for_brain_mri(run="own", joint_epochs=1, phantom_duplicates=0))


def test_a_network_is_the_same_each_time_it_is_made(study):
    first, second = new_network(study), new_network(study)
    assert weights_hash(first) == weights_hash(second)
    assert weights_hash(first) != weights_hash(new_network(study, ResNetModel))
    with torch.no_grad():
        second.encoder.levels[0][0].weight[0, 0, 0, 0] += 1e-3
    assert weights_hash(first) != weights_hash(second)


def test_an_own_backbone_trains_is_found_again_and_predicts_the_frozen_cases(study):
    model = new_network(study, ResNetModel)
    before = weights_hash(model)
    result = train_network(study, "residual", model)
    assert weights_hash(model) != before
    again = load_model(ResNetModel, result.folder / "best")
    assert weights_hash(again) == weights_hash(model)
    table = predict_network(study, "residual", model)
    assert sorted(table["id"]) == sorted(study.split.folds[0].test)
    assert set(table["test_hash"]) == {study.split.test_hash}
    assert set(table["stage"]) == {"residual"} and table["threshold"].notna().all()
    stored = Calibration.of(result.folder / "best")
    chosen = MultiTaskPredictor(result.folder / "best", model_class=ResNetModel)
    assert (result.folder / "best" / "calibration.json").is_file()
    assert chosen.classification_threshold == stored.classification_threshold
    assert chosen.temperature == stored.temperature
    repeated = new_network(study, ResNetModel)
    assert train_network(study, "residual", repeated).seconds == result.seconds  # taken from its folder
    assert weights_hash(repeated) == weights_hash(model)


def test_the_original_takes_the_steps_that_the_studys_joint_stage_takes(study):
    result = train_network(study, "original", new_network(study))
    assert result.steps == study.loader("joint", 0).steps_per_epoch()
    assert isinstance(load_model(MultiTaskModel, result.folder / "best"), MultiTaskModel)


def test_another_start_is_trained_anew(study):
    first = train_network(study, "start", new_network(study))
    other = new_network(study)
    with torch.no_grad():
        other.encoder.levels[0][0].weight.mul_(0.5)
    second = train_network(study, "start", other)
    assert first.seconds != second.seconds


def test_a_changed_forward_with_the_same_weights_is_trained_anew(study):
    class Changed(ResNetModel):
        def forward(self, x, do_seg=True, do_cls=True, do_added=True):
            return super().forward(0.5 * x, do_seg, do_cls, do_added)

    class Plain(ResNetModel):
        pass

    Changed.__module__ = Plain.__module__ = __name__
    Changed.__qualname__ = Plain.__qualname__ = "Mine"
    plain, changed = new_network(study, Plain), new_network(study, Changed)
    assert weights_hash(plain) == weights_hash(changed)
    first = train_network(study, "mine", plain)
    assert train_network(study, "mine", changed).seconds != first.seconds
