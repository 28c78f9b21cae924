"""Objective, stages, loaders and predictions of brain_mri against the loss class and naive loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from mtl.datasets.brain_mri import collate
from mtl.errors import DataError
from mtl.losses.brain_mri import MultiTaskLoss
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies import parameters_class
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.comparisons import difference
from mtl.studies.brain_mri.data import require_filled_masks
from mtl.studies.brain_mri.objective import BrainMriObjective
from mtl.studies.brain_mri.predict import predict_cases, validation_scores
from mtl.studies.brain_mri.predictions import read_predictions
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.training.reduction import single_process
from mtl.training.stages import prepare_parts

CPU = torch.device("cpu")


def sample(i: int, known: bool) -> dict:
    generator = torch.Generator().manual_seed(i)
    mask = torch.zeros(1, 16, 16)
    if i % 2:
        mask[:, 3:9, 4:10] = 1
    return {
        "image": torch.randn(1, 16, 16, generator=generator) + 2 * mask,
        "mask": mask if known else None,
        "cls": i % 2,
        "source": "a",
        "patient": f"p{i}",
        "slice": 0,
        "id": f"a/{i}",
    }


@pytest.fixture
def batch() -> dict:
    return collate([sample(i, known=i % 3 != 0) for i in range(8)])


@pytest.fixture
def model() -> MultiTaskModel:
    torch.manual_seed(0)
    return MultiTaskModel(base_filters=4, depth=2, dropout=0.0)


def test_objective_under_fixed_has_the_gradient_of_the_weighted_total(model, batch):
    parameters = parameters_class("brain_mri")(lambda_cls=0.4)
    stage = stages.make_stage(stages.JOINT, parameters)
    loss = MultiTaskLoss(lambda_cls=0.4)
    total = loss(model(batch["image"]), batch["mask"], batch["cls"], batch["has_mask"])["total"]
    expected = torch.autograd.grad(total, list(model.parameters()))

    balancer = stage.make_balancer()
    losses = BrainMriObjective(loss)(model, batch)
    assert set(losses) == {"segmentation", "classification"}
    assert set(losses.terms) == {"segmentation/dice", "segmentation/bce"}
    arguments = {"shared": list(model.encoder.parameters())}
    arguments["specific"] = [*model.decoder.parameters(), *model.cls_head.parameters()]
    balancer.begin_step(0.0)
    balancer.backward(losses, dict.fromkeys(losses, 1.0), **arguments, run_backward=lambda t: t.backward())
    balancer.finish(single_process, **arguments)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_heads_run_only_where_a_task_has_labels(model, batch):
    ran = []
    model.decoder.register_forward_hook(lambda *_: ran.append("decoder"))
    model.cls_head.register_forward_hook(lambda *_: ran.append("cls_head"))
    loss = MultiTaskLoss()
    assert set(BrainMriObjective(loss, ("segmentation",))(model, batch)) == {"segmentation"}
    assert ran == ["decoder"]
    maskless = collate([sample(i, known=False) for i in range(4)])
    assert set(BrainMriObjective(loss)(model, maskless)) == {"classification"}
    assert ran == ["decoder", "cls_head"]


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        (stages.WARM_UP, {"encoder": 1e-3, "decoder": 1e-3}),
        (stages.HEAD, {"cls_head": 1e-3}),
        (stages.JOINT, {"encoder": 1e-4, "decoder": 3e-4, "cls_head": 3e-4}),
    ],
)
def test_stages_train_the_parts_of_the_specification(model, name, trained):
    stage = stages.make_stage(name, parameters_class("brain_mri")())
    assert stage.learning_rates == trained
    assert (stage.weight_decay, stage.clip, stage.min_learning_rate) == (1e-4, 1.0, 1e-6)
    prepare_parts(model, stage)
    assert set(model.frozen_parts) == set(model.parts) - set(trained)


def test_validation_scores_equal_a_naive_loop(model, batch):
    model.eval()
    scores = validation_scores(model, [batch], classifies=True, device=CPU)
    with torch.no_grad():
        output = model(batch["image"])
    dice = []
    for logits, mask, known in zip(output["seg"], batch["mask"], batch["has_mask"], strict=True):
        p, t = (logits > 0).numpy().ravel(), mask.numpy().ravel() > 0.5
        if known and t.any():
            dice.append(2 * np.logical_and(p, t).sum() / (p.sum() + t.sum()))
    probability = output["cls"].softmax(1)[:, 1].numpy()
    assert scores["dice"] == pytest.approx(np.mean(dice), abs=1e-6)
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(batch["cls"], probability))
    assert scores["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(batch["cls"], probability >= 0.5)
    )
    expected = (scores["dice"] + scores["balanced_accuracy"]) / 2
    assert scores["dice_and_balanced_accuracy"] == pytest.approx(expected)


def test_a_model_without_a_trained_head_is_scored_by_its_masks(model, batch):
    table = predict_cases(model.eval(), [batch], classifies=False, min_tumor_pixels=10, device=CPU)
    with torch.no_grad():
        masks = model(batch["image"])["seg"].sigmoid().flatten(1).numpy()
    expected = [np.sort(mask)[-10:].mean() for mask in masks]
    np.testing.assert_allclose(table["tumor_prob"], expected, rtol=1e-5)
    assert table.loc[~table["has_mask"], ["dice", "iou", "mask_pixels"]].isna().all().all()
    assert table["predicted_pixels"].notna().all()


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> BrainMriStudy:
    values = {
        "output_root": str(tmp_path_factory.mktemp("outputs")),
        "image_size": 32,
        "depth": 2,
        "base_filters": 2,
        "phantom_patients": 24,
        "warm_up_epochs": 1,
        "batch_size": 8,
    }
    return BrainMriStudy(parameters_class("brain_mri")(**values))


def test_the_joint_stage_draws_sources_in_the_wished_proportion(study):
    for epoch in (0, 1, 2):
        drawn = study.drawn_in_epoch("joint", fold=0, epoch=epoch)
        assert abs(drawn["strong"].mean() - study.parameters.masked_ratio) < 1 / len(drawn)


def test_the_warm_up_draws_masked_slices_only_and_no_test_slice_is_ever_trained_on(study):
    assert study.drawn_in_epoch("warm_up", 0, 1)["has_mask"].all()
    tested = set(study.split.folds[0].test) | set(study.split.folds[0].validation)
    for stage in ("warm_up", "head", "joint"):
        assert not tested & set(study.drawn_in_epoch(stage, 0, 1)["id"])


def test_a_changed_parameter_makes_a_stage_stale_and_an_irrelevant_one_does_not(study):
    first = study.fingerprint("warm_up", 0)
    changed = {"w_dice": 0.7, "dropout": 0.1, "warm_up_lr": 2e-3, "batch_size": 4}
    for name, value in changed.items():
        other = BrainMriStudy(study.parameters.model_copy(update={name: value}))
        other.__dict__ |= {"dataset": study.dataset, "split": study.split}
        assert other.fingerprint("warm_up", 0) != first, name
    same = BrainMriStudy(
        study.parameters.model_copy(update={"n_bootstrap": 222, "device": "cpu", "joint_epochs": 77})
    )
    same.__dict__ |= {"dataset": study.dataset, "split": study.split}
    assert same.fingerprint("warm_up", 0) == first


def test_predictions_of_another_test_set_are_refused(study):
    from mtl.errors import ProtocolError

    rows = pd.DataFrame({"id": ["x"], "test_hash": ["another"]})
    study.run.write_predictions("joint", rows)
    with pytest.raises(ProtocolError, match="'joint'.*another test set"):
        read_predictions(study, ["joint"])


def test_one_seed_reads_an_interval_but_gives_no_verdict_on_sharing():
    row = {
        "metric": "dice_nonempty",
        "first": "warm_up",
        "second": "joint",
        "source": "pooled",
        "margin": 0.02,
    }
    row |= {"value": 0.05, "low": 0.01, "high": 0.09, "n": 20, "unit": "group", "verdict": "positive"}
    found = difference(pd.DataFrame([row]), "dice_nonempty", "warm_up", "joint")
    assert (found["value"], found["verdict"]) == (0.05, "positive")
    assert found["over_seeds"] == {"seeds": 1, "verdict": "no verdict"}


def test_a_part_without_a_filled_mask_is_named(tmp_path):
    small = {"phantom_patients": 16, "phantom_slices": 1, "image_size": 32, "phantom_duplicates": 0.0}
    study = BrainMriStudy(parameters_class("brain_mri")(output_root=str(tmp_path), **small))
    require_filled_masks(study.dataset, study.split)
    test = study.dataset.table["id"].isin(study.split.folds[0].test)
    study.dataset.table["has_mask"] &= ~test
    with pytest.raises(DataError, match="the test part of the split has no slice with a filled tumour mask"):
        require_filled_masks(study.dataset, study.split)
