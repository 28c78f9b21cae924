"""One stage from start to end on a toy with partial labels."""

from __future__ import annotations

import copy

import pytest
import torch
import toy_study
from toy_study import ToyData, ToyModel, collate, make_stage, make_trainer, objective

from mtl.errors import TrainingError
from mtl.training.checkpoints import load_model
from mtl.training.objective import TaskLosses


def test_a_stage_learns_logs_and_leaves_best_and_last(tmp_path):
    result = make_trainer(tmp_path).fit()
    losses = result.history.query("key == 'train/loss/a'").value.tolist()
    assert len(losses) == 6 and losses[-1] < losses[0] / 2
    assert {"train/loss/b", "train/loss/a/half", "train/lr/trunk", "train/weight/a", "val/score"} <= set(
        result.history.key
    )
    scores = result.history.query("key == 'val/score'").value.tolist()
    assert result.best_score == max(scores) and result.best_epoch == scores.index(max(scores)) + 1
    best = load_model(ToyModel, tmp_path / "best")
    assert toy_study.validate(best)["score"] == pytest.approx(result.best_score, abs=1e-6)
    assert (tmp_path / "last" / "config.json").exists() and (tmp_path / "best" / "README.md").exists()


def test_the_average_of_the_weights_is_what_is_scored_and_kept(tmp_path):
    trainer, seen, scored = make_trainer(tmp_path, average=0.9, epochs=2), [], []
    step, validate = trainer._train_step, trainer.validate

    def watched_step(window):
        step(window)
        seen.append({name: value.clone() for name, value in trainer.model.state_dict().items()})

    def watched_validate(model):
        assert not model.training
        scored.append({name: value.clone() for name, value in model.state_dict().items()})
        return validate(model)

    trainer._train_step, trainer.validate = watched_step, watched_validate
    result = trainer.fit()
    expected = seen[0]  # the first step is taken whole
    for t, weights in enumerate(seen[1:], start=2):
        decay = min(0.9, (1 + t) / (10 + t))
        expected = {
            name: decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value
            for name, value in weights.items()
        }
    for name, value in ((n, v) for n, v in expected.items() if v.is_floating_point()):
        torch.testing.assert_close(scored[-1][name], value, atol=1e-6, rtol=1e-5)
        assert not torch.allclose(value, seen[-1][name])
    best = load_model(ToyModel, tmp_path / "best").state_dict()
    for name, value in scored[result.best_epoch - 1].items():
        torch.testing.assert_close(best[name], value)


def test_a_finished_stage_is_not_trained_again(tmp_path):
    first = make_trainer(tmp_path).fit()
    trainer = make_trainer(tmp_path)
    trainer._train_step = lambda window: pytest.fail("trained again")
    again = trainer.fit()
    assert again.history.equals(first.history) and again.best_score == first.best_score
    assert toy_study.validate(trainer.model.eval())["score"] == pytest.approx(first.best_score, abs=1e-6)


def test_the_logged_mean_of_a_partial_task_counts_valid_units_only(tmp_path):
    trainer = make_trainer(tmp_path, epochs=1)
    trainer.stage = make_stage(epochs=1, learning_rates={"head_a": 0.0})
    trainer.model.eval()
    trainer.model.train = lambda mode=True: trainer.model
    result = trainer.fit()
    data = ToyData()
    with torch.no_grad():
        errors = (trainer.model(data.x)["b"] - data.b).square()[data.has_b]
    logged = result.history.query("key == 'train/loss/b'").value.item()
    assert logged == pytest.approx(float(errors.mean()), rel=1e-5)


def train_steps(trainer, windows):
    trainer._prepare()
    trainer.model.eval()  # batch statistics would differ between micro-batches
    from mtl.training.meters import LossMeter

    trainer.meter = LossMeter()
    for window in windows:
        trainer._train_step(window)
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def test_accumulated_micro_batches_equal_the_joint_batch(tmp_path):
    data = ToyData()
    joint = collate([data[i] for i in range(12)])
    parts = [collate([data[i] for i in idx]) for idx in ([1, 2, 4, 5], [0, 3, 6], [7, 8, 9, 10, 11])]
    assert [part["valid_units"]["b"] for part in parts] == [0, 3, 1]
    a = train_steps(make_trainer(tmp_path / "a"), [[joint]])
    b = train_steps(make_trainer(tmp_path / "b", accumulate=3), [parts])
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-5, atol=1e-7)


def test_a_task_absent_from_a_step_leaves_its_head_exactly_alone(tmp_path):
    data = ToyData()
    trainer = make_trainer(tmp_path)
    before = copy.deepcopy(trainer.model.head_b.state_dict())
    train_steps(trainer, [[collate([data[i] for i in (1, 2, 4)])]])
    assert all(torch.equal(before[k], v) for k, v in trainer.model.head_b.state_dict().items())


def test_a_loss_that_is_not_finite_stops_with_task_step_and_ids(tmp_path):
    trainer = make_trainer(tmp_path)

    def broken(model, batch):
        losses = objective(model, batch)
        if trainer.step == 3 and "b" in losses:
            losses["b"] = losses["b"] * float("nan")
        return losses

    trainer.objective = broken
    with pytest.raises(TrainingError, match=r"step 3.*task 'b'.*nan.*sample_\d+"):
        trainer.fit()
    assert not (tmp_path / "stage.json").exists()


@pytest.mark.parametrize(
    ("losses", "message"),
    [({"c": 1.0}, "task 'c'"), ({"b": 1.0}, "no valid unit")],
)
def test_an_objective_that_breaks_the_contract_is_refused(tmp_path, losses, message):
    trainer = make_trainer(tmp_path)
    trainer.objective = lambda model, batch: TaskLosses(
        {k: model(batch["x"])["a"].mean() * v for k, v in losses.items()}
    )
    data = ToyData()
    with pytest.raises(TrainingError, match=message):
        train_steps(trainer, [[collate([data[i] for i in (1, 2, 4)])]])


def test_an_unknown_selection_score_and_part_are_named(tmp_path):
    with pytest.raises(TrainingError, match="'dice'.*score"):
        make_trainer(tmp_path, selection="dice").fit()
    with pytest.raises(TrainingError, match="trunk, head_a, head_b.*spine"):
        make_trainer(tmp_path / "b", learning_rates={"spine": 1.0}).fit()


@pytest.mark.parametrize(
    "balancer", ["schedule", "random", "uncertainty", "dwa", "pcgrad", "mgda", "upgrad", "aligned_mtl"]
)
def test_every_balancer_trains_the_toy(tmp_path, balancer):
    result = make_trainer(tmp_path, balancer=balancer, epochs=3).fit()
    losses = result.history.query("key == 'train/loss/a'").value.tolist()
    assert losses[-1] < losses[0]


def test_learning_rates_follow_the_cosine_per_part(tmp_path):
    result = make_trainer(tmp_path, epochs=4, min_learning_rate=1e-4).fit()
    table = result.history.pivot_table(index="epoch", columns="key", values="value")
    assert table["train/lr/trunk"].iloc[-1] == pytest.approx(1e-4)
    halfway = (1e-2 + 1e-4) / 2
    assert table["train/lr/trunk"].iloc[1] == pytest.approx(halfway)
