"""Parameters that sweeps vary: skipped stages, frozen normalisation, seeds of data and split."""

from __future__ import annotations

import pytest
import torch

from mtl.errors import ParameterError
from mtl.models.brain_mri import MultiTaskModel
from mtl.reporting.study_jobs import notebook_jobs
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.training.stages import prepare_parts


@pytest.mark.parametrize(
    ("skipped", "order", "head_from", "joint_from"),
    [
        ("", ["warm_up", "head", "joint"], "warm_up", "head"),
        ("head", ["warm_up", "joint"], "warm_up", "warm_up"),
        ("warm_up", ["head", "joint"], None, "head"),
        ("warm_up, head", ["joint"], None, None),
    ],
)
def test_a_skipped_stage_is_passed_over(tmp_path, skipped, order, head_from, joint_from):
    parameters = BrainMriParameters(skip_stages=skipped, output_root=str(tmp_path))
    assert BrainMriStudy(parameters).training_order() == order
    assert stages.starts_from("head", parameters) == head_from
    assert stages.starts_from("joint", parameters) == joint_from


def small(tmp_path, **values) -> BrainMriStudy:
    sizes = {"image_size": 32, "depth": 2, "base_filters": 2, "phantom_patients": 16}
    return BrainMriStudy(BrainMriParameters(output_root=str(tmp_path), **sizes, **values))


def test_a_skipped_stage_is_not_trained_and_makes_only_what_follows_stale(tmp_path):
    full, without_head = small(tmp_path), small(tmp_path, skip_stages="head")
    without_head.__dict__ |= {"dataset": full.dataset, "split": full.split}
    assert full.fingerprint("warm_up", 0) == without_head.fingerprint("warm_up", 0)
    assert full.fingerprint("joint", 0) != without_head.fingerprint("joint", 0)
    with pytest.raises(ParameterError, match="'skip_stages' leaves 'head' out.*mtl sweep"):
        without_head.train("head")


def test_notebooks_refuse_to_skip_stages():
    with pytest.raises(ParameterError, match="'skip_stages'.*mtl sweep"):
        notebook_jobs("brain_mri", "smoke", {"skip_stages": "head"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"skip_stages": "joint"}, "skip_stages: joint; only warm_up and head"),
        ({"skip_stages": "warm_up", "frozen_normalisation": True}, "needs the warm-up"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        BrainMriParameters.from_values(values, "here")


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_normalisation_holds_the_statistics_of_the_joint_stage_and_nothing_else(frozen):
    torch.manual_seed(0)
    model = MultiTaskModel(base_filters=2, depth=2)
    stage = stages.make_stage("joint", BrainMriParameters(frozen_normalisation=frozen))
    prepare_parts(model, stage)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.eval().train()  # as the loop does after every validation
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    output = model(torch.randn(4, 1, 16, 16))
    (output["seg"].square().mean() + output["cls"].square().mean()).backward()
    optimiser.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    statistics = {name for name in before if "running" in name or "num_batches" in name}
    assert changed & statistics == (set() if frozen else statistics)
    assert {"encoder.levels.0.0.weight", "cls_head.logits.weight"} <= changed
    assert {name for name, parameter in model.named_parameters() if not parameter.requires_grad} == set()
    settings = {flag: stages.make_stage("joint", BrainMriParameters(frozen_normalisation=flag))
                for flag in (False, True)}  # fmt: skip
    assert settings[False].fingerprint() != settings[True].fingerprint()
    warm_up = stages.make_stage("warm_up", BrainMriParameters(frozen_normalisation=True))
    assert not warm_up.frozen_normalisation


def test_the_training_seed_moves_neither_data_nor_split_where_theirs_are_given(tmp_path):
    first = small(tmp_path / "a", seed=0)
    again = small(tmp_path / "b", seed=3, data_seed=0, split_seed=0)
    assert again.data_fingerprint == first.data_fingerprint
    assert again.split.hash == first.split.hash
    assert again._seed("joint", 0) != first._seed("joint", 0)
    other = small(tmp_path / "c", seed=3)
    assert other.data_fingerprint != first.data_fingerprint and other.split.hash != first.split.hash
