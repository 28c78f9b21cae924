"""A task of one's own: absent labels, one encoder pass, every balancer, checkpoints, the study beside it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mtl.errors import CheckpointError, DataError, ParameterError
from mtl.inference.brain_mri import MultiTaskPredictor
from mtl.losses.brain_mri import MultiTaskLoss
from mtl.model_folder import load_model
from mtl.models.brain_mri import ClassificationHead, MultiTaskModel
from mtl.models.unet import UNetDecoder
from mtl.studies import parameters_class
from mtl.studies.brain_mri.objective import BrainMriObjective
from mtl.studies.brain_mri.own_task import OwnTask, OwnTaskObjective
from mtl.studies.brain_mri.own_task_study import OwnTaskStudy
from mtl.studies.brain_mri.predict import predict_cases
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.training.balancers import BALANCERS
from mtl.training.gradient_summary import summarise

NAMES = ("segmentation", "classification", "area")


class AreaHead(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.mlp = ClassificationHead(encoder.channels[-1], num_classes=1, hidden=8, dropout=0.0)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        return self.mlp(features[-1])[:, 0]


class ThreeTaskModel(MultiTaskModel):
    added_heads = {"area": AreaHead}


class WiderHead(AreaHead):
    width = 9


class WiderModel(MultiTaskModel):
    added_heads = {"area": WiderHead}


class TwoMapsModel(MultiTaskModel):
    added_heads = {"brightness": lambda encoder: UNetDecoder(4, 2)}


def log_area(sample: dict) -> float | None:
    share = 0.0 if sample["mask"] is None else float(sample["mask"].mean())
    return math.log(100 * share) if share else None


def absolute_error(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (predicted - target).abs()


AREA = OwnTask("area", ThreeTaskModel, log_area, F.smooth_l1_loss, absolute_error)


def sample(i: int, known: bool, pixels: int) -> dict:
    mask = torch.zeros(1, 16, 16)
    mask.view(-1)[:pixels] = 1
    image = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(i)) + mask
    keys = {"source": "a", "patient": f"p{i}", "slice": 0, "id": f"a/{i}", "cls": int(pixels > 0)}
    return {"image": image, "mask": mask if known else None, **keys}


@pytest.fixture
def samples() -> list[dict]:
    return [sample(0, True, 0), sample(1, True, 16), sample(2, False, 32), sample(3, True, 64)]


@pytest.fixture
def model() -> ThreeTaskModel:
    torch.manual_seed(0)
    return ThreeTaskModel(base_filters=4, depth=2, dropout=0.0, image_size=16)


def objective(task: OwnTask = AREA) -> OwnTaskObjective:
    return OwnTaskObjective(MultiTaskLoss(), ("segmentation", "classification", task.name), task)


def test_labels_are_counted_and_kept_only_where_there_are_any(samples):
    batch = AREA.collate(samples)
    assert batch["valid_units"] == {"segmentation": 3, "classification": 4, "area": 2}
    assert batch["area_rows"].tolist() == [1, 3]
    np.testing.assert_allclose(batch["area_target"], np.log([100 * 16 / 256, 100 * 64 / 256]), rtol=1e-6)


def test_loss_is_the_mean_over_labelled_samples_and_the_old_losses_do_not_change(model, samples):
    batch = AREA.collate(samples)
    losses = objective()(model, batch)
    output = model(batch["image"])
    by_hand = [
        F.smooth_l1_loss(output["area"][row], torch.tensor(log_area(samples[row]))).item() for row in (1, 3)
    ]
    assert set(losses) == set(NAMES)
    assert losses["area"].item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    plain = BrainMriObjective(MultiTaskLoss())(model, batch)
    for name in plain:
        torch.testing.assert_close(losses[name], plain[name])


def test_without_a_label_the_task_is_absent_and_its_head_does_not_run(model, samples):
    ran = []
    model.area_head.register_forward_hook(lambda *_: ran.append("area"))
    batch = AREA.collate([samples[0], samples[2]])
    assert batch["valid_units"]["area"] == 0
    assert set(objective()(model, batch)) == {"segmentation", "classification"}
    assert ran == []


def test_the_encoder_runs_once_for_all_three(model, samples):
    passes = []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    objective()(model, AREA.collate(samples))
    assert len(passes) == 1


def test_a_target_may_be_a_map(samples):
    task = OwnTask("brightness", TwoMapsModel, lambda s: s["image"], F.mse_loss, absolute_error)
    torch.manual_seed(0)
    model, batch = TwoMapsModel(base_filters=4, depth=2, image_size=16), task.collate(samples)
    assert batch["brightness_target"].shape == (4, 1, 16, 16)
    loss = objective(task)(model.eval(), batch)["brightness"]
    torch.testing.assert_close(loss, F.mse_loss(model(batch["image"])["brightness"], batch["image"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "classification"}, "'classification' is a task of the study already"),
        ({"name": "volume"}, r"ThreeTaskModel.added_heads has no head 'volume' \(it has: area\)"),
        ({"network": MultiTaskModel}, "MultiTaskModel.added_heads has no head 'area'"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, said):
    with pytest.raises(ParameterError, match=said):
        replace(AREA, **changes)


def test_errors_and_losses_of_another_shape_are_refused():
    values = torch.zeros(3)
    assert AREA.errors_of(values, values).shape == (3,) and AREA.loss_of(values, values).ndim == 0
    with pytest.raises(DataError, match=r"task 'area': error gives shape \(\) for 3 cases"):
        replace(AREA, error=F.l1_loss).errors_of(values, values)
    with pytest.raises(DataError, match=r"error gives shape \(3, 1, 2, 2\) for 3 cases"):
        AREA.errors_of(torch.zeros(3, 1, 2, 2), torch.zeros(3, 1, 2, 2))
    with pytest.raises(DataError, match=r"task 'area': loss gives shape \(3,\); a scalar is expected"):
        replace(AREA, loss=absolute_error).loss_of(values, values)


def test_targets_that_cannot_be_learnt_from_are_refused(model, samples):
    with pytest.raises(DataError, match="task 'area': the target of a/0 is not finite"):
        replace(AREA, target=lambda s: float("nan")).collate(samples)
    with pytest.raises(DataError, match="different shapes"):
        replace(AREA, target=lambda s: torch.zeros(1 + s["cls"])).collate(samples)
    paired = replace(AREA, target=lambda s: torch.zeros(2))
    with pytest.raises(DataError, match=r"head gives \(\) per sample, its target has \(2,\)"):
        objective(paired)(model, paired.collate(samples))


def test_the_fingerprint_follows_what_is_trained_and_not_how_it_is_scored():
    assert replace(AREA, error=F.mse_loss).fingerprint == AREA.fingerprint
    for changed in (
        {"loss": F.mse_loss},
        {"target": lambda s: 0.0},
        {"weight": 2.0},
        {"network": WiderModel},
    ):
        assert replace(AREA, **changed).fingerprint != AREA.fingerprint


# ---------------------------------------------------------------------- trained
@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    values = {
        "image_size": 48, "phantom_patients": 16, "phantom_rho": 0.5, "base_filters": 4, "depth": 2,
        "batch_size": 8, "warm_up_epochs": 1, "head_epochs": 1, "joint_epochs": 1, "masked_ratio": 0.5,
        "precision": "32-true", "test_fraction": 0.4, "n_bootstrap": 100, "probe_batches": 3,
    }  # fmt: skip
    return parameters_class("brain_mri")(output_root=str(tmp_path_factory.mktemp("out")), **values)


@pytest.fixture(scope="module")
def two(settings) -> BrainMriStudy:
    return BrainMriStudy(settings.model_copy(update={"run": "two"}))


@pytest.fixture(scope="module")
def three(two) -> OwnTaskStudy:
    study = OwnTaskStudy.beside(two, AREA, "three")
    for stage in study.training_order():
        study.train(stage)
    return study


def test_data_start_weights_and_batches_are_those_of_the_two_task_study(two, three):
    assert three.dataset is two.dataset and three.split.test_hash == two.split.test_hash
    starts = []
    for study in (two, three):
        torch.manual_seed(3)
        starts.append(study.untrained_model("joint").state_dict())
    assert all(torch.equal(starts[1][name], tensor) for name, tensor in starts[0].items())
    drawn = [[batch["id"] for batch in study.loader("joint", 0).batches(1)] for study in (two, three)]
    assert drawn[0] == drawn[1]
    assert two.fingerprint("joint", 0) != three.fingerprint("joint", 0)


def test_a_label_that_changes_outside_of_the_code_makes_the_weights_stale(two, three):
    first = three.dataset.table["id"][0]
    others = OwnTaskStudy.beside(two, AREA, "three")
    assert others.fingerprint("joint", 0) == three.fingerprint("joint", 0)
    corrected = replace(AREA, target=lambda s: 0.5 if s["id"] == first else AREA.target(s))
    same_source = OwnTaskStudy.beside(two, AREA, "three")
    same_source.collate = corrected.collate  # as if a table that the target is looked up in had another entry
    assert same_source.fingerprint("joint", 0) != three.fingerprint("joint", 0)


def test_earlier_stages_leave_the_added_head_alone_and_the_joint_stage_trains_it(three):
    heads = [three.model(stage, 0).area_head.state_dict() for stage in ("warm_up", "head", "joint")]
    weight = [head["mlp.logits.weight"] for head in heads]
    assert torch.equal(weight[0], weight[1]) and not torch.equal(weight[1], weight[2])


def test_all_heads_were_trained_and_probed_with_three_tasks(three):
    result = three.train("joint")[0]
    logged = set(result.history["key"])
    assert {f"train/loss/{name}" for name in NAMES} | {"val/area_error"} <= logged
    summary = summarise(result.gradients)
    assert set(summary.tasks["task"]) == set(NAMES)
    assert summary.matrix("cosine").shape == (3, 3)


def test_the_checkpoint_is_loaded_with_its_class_and_refused_by_others(three):
    folder = three.run.stage(0, "joint") / "best"
    loaded, batch = load_model(ThreeTaskModel, folder), next(iter(three.batches(0, "test")))
    again = three.model("joint", 0)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(batch["image"])["area"], again(batch["image"])["area"])
    assert loaded.image_size == 48 and set(loaded.parts) == {"encoder", "decoder", "cls_head", "area_head"}
    assert "`area`" in (folder / "README.md").read_text()
    with pytest.raises(CheckpointError, match="ThreeTaskModel"):
        load_model(MultiTaskModel, folder)


def test_the_predictor_takes_the_checkpoint_for_the_old_tasks(three):
    folder, picture = three.run.stage(0, "joint") / "best", np.random.default_rng(0).random((60, 60)) * 99
    found = MultiTaskPredictor(folder, device="cpu", model_class=ThreeTaskModel).predict_single(picture)
    assert 0 <= found.tumor_prob <= 1 and found.mask.shape == (60, 60)


def test_test_cases_are_those_with_a_tumour_mask_scored_one_by_one(three):
    cases = three.test_cases()
    rows = three.rows(0, "test")
    assert set(cases["id"]) == set(rows.loc[rows["has_mask"] & (rows["cls"] == 1), "id"])
    model, mean = three.model("joint", 0), []
    for one in three.samples(three.split.folds[0].train):
        mean += [] if log_area(one) is None else [log_area(one)]
    for row, one in zip(cases.itertuples(), three.samples(list(cases["id"])), strict=True):
        with torch.inference_mode():
            predicted = float(model(one["image"][None])["area"])
        assert row.error == pytest.approx(abs(predicted - log_area(one)), abs=1e-4)
        assert row.error_of_mean == pytest.approx(abs(np.mean(mean) - log_area(one)), abs=1e-5)
    assert cases["group"].notna().all() and set(cases["test_hash"]) == {three.split.test_hash}


def test_the_old_tasks_are_predicted_as_ever(three):
    table = predict_cases(
        three.model("joint", 0), three.batches(0, "test"),
        classifies=True, min_tumor_pixels=10, device=torch.device("cpu"),
    )  # fmt: skip
    assert set(table["id"]) == set(three.split.folds[0].test) and table["tumor_prob"].between(0, 1).all()


@pytest.mark.parametrize("balancer", BALANCERS)
def test_every_balancer_takes_the_third_task(two, samples, balancer):
    study = OwnTaskStudy.beside(two, AREA, "balanced")
    study.parameters = study.parameters.model_copy(update={"balancer": balancer, "dropout": 0.0})
    torch.manual_seed(0)
    model, stage = study.untrained_model("joint"), study.settings("joint", 0)
    assert stage.tasks == NAMES and stage.balancer == balancer
    shared = list(model.shared_parameters().values())
    specific = [p for name, p in model.named_parameters() if name not in model.shared_parameters()]
    balancer = stage.make_balancer()
    for batch in (AREA.collate(samples), AREA.collate([samples[0], samples[2]])):  # then without the task
        losses = study.objective(stage.tasks)(model, batch)
        balancer.begin_step(0.5)
        balancer.backward(
            losses, dict.fromkeys(losses, 1.0), shared=shared, specific=specific,
            run_backward=lambda loss: loss.backward(),
        )  # fmt: skip
        balancer.finish(lambda flat: flat, shared=shared, specific=specific)
        reached = all(p.grad is not None and p.grad.any() for p in model.area_head.mlp.logits.parameters())
        assert reached == ("area" in losses)
        assert all(p.grad.isfinite().all() for p in shared)
        model.zero_grad(set_to_none=True)
