"""The two-mode step: tasks, totals, zero gradients, the clicks of the mask head."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mtl.errors import ParameterError
from mtl.losses.em import EMLoss
from mtl.models.em import INJECTIONS, EMModel
from mtl.models.prompts import PointPrompts, check_points
from mtl.studies.em.corrective_clicks import corrective_click, joined, some_points
from mtl.studies.em.objective import (
    MODES,
    EMObjective,
    prompts_of,
    proofread_labels,
    task_weights,
    valid_units,
)
from mtl.training.balancers import make_balancer
from mtl.training.reduction import single_process

SHAPES = {2: (10, 12), 3: (4, 8, 6)}


def small_model(dims: int = 2, injection: str = "late", **changes) -> EMModel:
    torch.manual_seed(0)
    sizes = {"features": 4, "embedding_channels": 3, "blocks_down": (1, 1), "blocks_up": (1,)}
    return EMModel(spatial_dims=dims, injection=injection, **sizes | changes)


def small_batch(dims: int = 2, loss: EMLoss | None = None, injection: str = "late", modes=MODES) -> dict:
    """Three samples: all known; known and unknown; background and unknown only."""
    loss, shape = loss or EMLoss(), SHAPES[dims]
    generator = torch.Generator().manual_seed(dims)
    labels = torch.randint(0, 4, (3, *shape), generator=generator)
    labels[1:, : shape[0] // 2] = -100
    labels[2] = torch.where(labels[2] > 0, 0, labels[2])
    points = torch.stack([torch.randint(n // 2, n, (3, 6), generator=generator) for n in shape], dim=2)
    at = torch.stack([labels[b][tuple(points[b].T)] for b in range(3)])
    ids = torch.tensor([2, 1, 0])
    tasks = tuple(task_weights(loss, modes, injection))
    return {
        "image": torch.rand(3, 1, *shape, generator=generator),
        "labels": labels,
        "targets": {
            "weight": torch.rand(3, *shape, generator=generator) + 0.1,
            "direction": torch.randn(3, dims, *shape, generator=generator),
            "tensor": torch.randn(3, dims**2, *shape, generator=generator),
        },
        "points": points,
        "point_labels": torch.where(ids[:, None] > 0, (at == ids[:, None]).long(), -1),
        "semantic_ids": torch.ones(3, dtype=torch.int64),
        "target_ids": ids,
        "max_instances": 3,
        "has_foreground": torch.tensor([True, True, False]),
        "valid_units": valid_units(loss, tasks, labels, ids),
        "id": ["a/0", "a/1", "a/2"],
    }


def part_losses(model: EMModel, batch: dict, loss: EMLoss) -> dict[str, dict]:
    """The loss class used alone, a forward pass per mode; proofread on the samples with foreground only."""
    known = batch["has_foreground"]
    targets = {name: value[known] for name, value in batch["targets"].items()}
    prompts = PointPrompts(batch["points"][known], batch["point_labels"][known])
    prompted = model(batch["image"][known], prompts, batch["semantic_ids"][known])
    automatic = loss(model(batch["image"]), batch["labels"], batch["image"], batch["targets"])
    proofread = loss(prompted, batch["labels"][known], batch["image"][known], targets)
    return {"automatic": automatic, "proofread": proofread}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("injection", ["late", "input", "multiscale", "embedding"])
def test_objective_under_fixed_has_the_gradient_of_the_mean_total_over_modes(dims, injection):
    loss = EMLoss(weight_semantic=0.5, weight_instance=2.0, weight_geometry=0.3)
    model, batch = small_model(dims, injection).double(), small_batch(dims, loss)
    batch["image"] = batch["image"].double()
    parts = part_losses(model, batch, loss)
    total = (parts["automatic"]["total"] + parts["proofread"]["total"]) / 2
    expected = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)

    losses = EMObjective(loss)(model, batch)
    for mode, part in parts.items():
        for head in ("semantic", "instance", "geometry"):
            torch.testing.assert_close(losses[f"{mode}/{head}"], part[head])
    balancer = make_balancer("fixed", tuple(losses), task_weights(loss))
    parameters = {"shared": list(model.backbone.parameters()), "specific": []}
    balancer.begin_step(0.0)
    balancer.backward(losses, dict.fromkeys(losses, 1.0), **parameters, run_backward=lambda t: t.backward())
    balancer.finish(single_process, **parameters)
    for (name, parameter), gradient in zip(model.named_parameters(), expected, strict=True):
        if gradient is None:
            assert parameter.grad is None, name
        else:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-9, msg=name)


def test_tasks_and_terms_are_named_for_the_logs():
    losses = EMObjective(EMLoss())(small_model(), small_batch())
    assert set(losses) == {
        f"{mode}/{head}" for mode in MODES for head in ("semantic", "instance", "geometry")
    }
    terms = {"semantic": ("ce", "iou", "dice"), "instance": ("pull", "push", "norm")}
    terms["geometry"] = ("dir", "cov", "raw")
    assert set(losses.terms) == {
        f"{mode}/{head}/{term}" for mode in MODES for head, names in terms.items() for term in names
    }


def test_weights_are_those_of_the_heads_over_the_number_of_modes():
    loss = EMLoss(weight_semantic=3.0, weight_geometry=0.0)
    assert task_weights(loss) == {
        "automatic/semantic": 1.5,
        "automatic/instance": 0.5,
        "proofread/semantic": 1.5,
        "proofread/instance": 0.5,
    }
    assert task_weights(loss, ["automatic"]) == {"automatic/semantic": 3.0, "automatic/instance": 1.0}
    assert task_weights(EMLoss(), ["proofread"], "target_head")["proofread/target"] == 1.0
    for modes in ([], ["proofreading"]):
        with pytest.raises(ParameterError, match="training_modes"):
            task_weights(loss, modes)


@pytest.mark.parametrize("modes", [("automatic",), ("proofread",)])
@pytest.mark.parametrize("injection", INJECTIONS)
def test_one_mode_alone(modes, injection):
    loss = EMLoss()
    batch = small_batch(2, loss, injection, modes)
    losses = EMObjective(loss, modes)(small_model(2, injection), batch)
    assert set(losses) == set(task_weights(loss, modes, injection))


def test_units_leave_out_samples_without_known_foreground():
    assert small_batch(injection="target_head")["valid_units"] == {
        "automatic/semantic": 3,
        "automatic/instance": 2,
        "automatic/geometry": 3,
        "proofread/semantic": 2,
        "proofread/instance": 2,
        "proofread/geometry": 2,
        "proofread/target": 2,
    }


def test_a_batch_without_foreground_is_absent_from_proofread():
    loss, batch = EMLoss(), small_batch()
    batch["labels"] = torch.where(batch["labels"] > 0, 0, batch["labels"])
    batch["has_foreground"] = torch.zeros(3, dtype=torch.bool)
    batch["valid_units"] = valid_units(loss, tuple(task_weights(loss)), batch["labels"], batch["target_ids"])
    assert set(EMObjective(loss)(small_model(), batch)) == {"automatic/semantic", "automatic/geometry"}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("injection", INJECTIONS)
def test_unknown_voxels_have_exactly_zero_gradient_in_both_modes(dims, injection):
    loss = EMLoss()
    model, batch = small_model(dims, injection), small_batch(dims, loss, injection)
    objective = EMObjective(loss)
    outputs = {
        mode: {name: value.detach().requires_grad_() for name, value in output.items()}
        for mode, output in objective.outputs(model, batch).items()
    }
    sum(objective.losses(outputs, batch).values()).backward()
    absent = proofread_labels(batch["labels"], batch["has_foreground"], -100)
    for mode, labels in (("automatic", batch["labels"]), ("proofread", absent)):
        heads = [name for name in outputs[mode] if name != "features"]
        assert set(heads) >= {"semantic", "instance", "geometry"}
        for name in heads:
            if outputs[mode][name].grad is None:  # in automatic mode nothing is wanted of the mask head
                assert (injection, name) == ("embedding", "target")
                continue
            gradient = outputs[mode][name].grad.movedim(1, -1)
            assert torch.count_nonzero(gradient[labels == -100]) == 0, (mode, name)
            assert torch.count_nonzero(gradient) > 0, (mode, name)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_every_weighted_term_reaches_a_trainable_parameter(injection):
    loss, model = EMLoss(), small_model(2, injection)
    batch = small_batch(2, loss, injection)
    objective = EMObjective(loss)
    outputs = objective.outputs(model, batch)
    for mode, output in outputs.items():
        labels = batch["labels"]
        parts = loss(output, labels, batch["image"], batch["targets"], target_ids=batch["target_ids"])
        for name, value in parts.items():
            gradients = torch.autograd.grad(
                value, list(model.parameters()), retain_graph=True, allow_unused=True
            )
            assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0, (mode, name)
    if injection == "target_head":
        assert "target/dice" in parts


def test_a_geometry_weight_of_zero_goes_without_the_head():
    loss = EMLoss(weight_geometry=0.0)
    batch = small_batch(2, loss)
    del batch["targets"]["direction"], batch["targets"]["tensor"]
    losses = EMObjective(loss)(small_model(geometry=False), batch)
    assert set(losses) == {f"{mode}/{head}" for mode in MODES for head in ("semantic", "instance")}


@pytest.mark.parametrize(
    ("injection", "passes"),
    [("late", 1), ("embedding", 1), ("target_head", 1), ("input", 2), ("multiscale", 2)],
)
def test_the_backbone_runs_once_unless_prompts_pass_through_it(injection, passes):
    ran = Counter()
    model = small_model(2, injection)
    model.backbone.register_forward_hook(lambda *_: ran.update(["backbone"]))
    EMObjective(EMLoss())(model, small_batch(2, None, injection))
    assert ran["backbone"] == passes


def test_corrective_clicks_fall_on_mistakes_and_say_which_kind():
    torch.manual_seed(0)
    wanted = torch.zeros(3, 6, 7, dtype=torch.bool)
    wanted[:, 1:3, 1:4] = True
    known = torch.ones_like(wanted)
    known[1, 1] = False
    predicted = torch.stack([torch.zeros(6, 7, dtype=torch.bool), wanted[1], wanted[2]])
    predicted[1, :3, 2] = True
    predicted[1, 1, 1] = predicted[1, 2, 1] = False
    found = Counter()
    for _ in range(300):
        points, labels = corrective_click(predicted, wanted, known)
        assert points.shape == (3, 1, 2) and labels[2, 0] == -1
        for b in (0, 1):
            found[(b, *points[b, 0].tolist(), int(labels[b, 0]))] += 1
    missed = {(0, *p.tolist(), 1) for p in wanted[0].nonzero()}
    assert set(found) == missed | {(1, 0, 2, 0), (1, 2, 1, 1)}
    assert min(found[click] for click in missed) > 20  # 50 are expected of each


def test_kept_points_hold_the_first_positive_one_and_nothing_new():
    torch.manual_seed(0)
    prompts = PointPrompts(torch.arange(16).view(2, 4, 2), torch.tensor([[0, 1, 1, -1], [0, 0, -1, -1]]))
    seen = [some_points(prompts) for _ in range(200)]
    kept = torch.stack([labels for _, labels in seen])
    assert bool((kept[:, 0, 1] == 1).all()) and bool(((kept == prompts.labels) | (kept == -1)).all())
    assert 0.2 < float((kept[:, 0, 2] == 1).float().mean()) < 0.8
    assert all(torch.equal(points, prompts.points) for points, _ in seen)
    both = joined(prompts, seen[0])
    assert both.points.shape == (2, 8, 2) and both.labels.shape == (2, 8)


def test_the_mask_head_is_trained_with_corrective_clicks_and_its_own_last_mask(monkeypatch):
    loss, model = EMLoss(), small_model(3, "target_head")
    batch = small_batch(3, loss, "target_head")
    calls = []
    plain = EMModel.target

    def target(self, features, embedding, prompts, previous):
        check_points(prompts, SHAPES[3])
        logits = plain(self, features, embedding, prompts, previous)
        calls.append((prompts, previous, logits))
        return logits

    monkeypatch.setattr(EMModel, "target", target)
    monkeypatch.setattr("mtl.studies.em.objective.drawn_below", lambda n: n - 1)
    EMObjective(loss, max_corrections=2)(model, batch)["proofread/target"].backward()
    assert len(calls) == 3 and calls[0][1] is None
    given = len(prompts_of(batch).labels[0])
    assert [len(prompts.labels[0]) for prompts, _, _ in calls] == [given, given + 1, given + 2]
    for (_, _, logits), (_, previous, _) in zip(calls, calls[1:], strict=False):
        assert torch.equal(previous, (logits > 0).float())  # as a click session keeps it
        assert not previous.requires_grad
    for b, point, label in zip(range(3), calls[-1][0].points[:, -1], calls[-1][0].labels[:, -1], strict=True):
        at = batch["labels"][b][tuple(point)]
        wrong = bool(calls[1][2][b, 0][tuple(point)] > 0) != bool(at == batch["target_ids"][b])
        assert (label == -1) or (wrong and at != -100)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.target_head.parameters())


class NothingAsked(TorchDispatchMode):
    """Refuses every operation for whose result's value or shape a GPU would have to be waited for."""

    refused = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "equal", "is_nonzero", "item")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert not name.startswith(self.refused), name
        if name in ("index", "index_put", "index_put_"):
            assert all(i is None or i.dtype != torch.bool for i in args[1]), name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_step_never_waits_for_the_device(injection, monkeypatch):
    # What is checked on the CPU only, and drawn there.
    monkeypatch.setattr("mtl.models.prompts.check_points", lambda *_: None)
    monkeypatch.setattr("mtl.models.prompts.check_classes", lambda *_: None)
    monkeypatch.setattr("mtl.studies.em.objective.drawn_below", lambda n: n - 1)
    loss = EMLoss()
    model, batch = small_model(2, injection), small_batch(2, loss, injection)
    with NothingAsked():
        sum(EMObjective(loss)(model, batch).values()).backward()
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NothingAsked():
        int(batch["labels"].max())


def test_what_known_part_known_empty_and_unknown_samples_can_teach():
    labels = torch.zeros(4, 2, 4, 5, dtype=torch.int64)  # the third: background alone
    labels[0, :, 1:3], labels[1, :, 1:3], labels[1, :, 3], labels[3] = 1, 1, -100, -100
    loss, ids = EMLoss(), torch.tensor([1, 1, 0, 0])
    counts = valid_units(loss, tuple(task_weights(loss)), labels, ids)
    assert counts == {
        "automatic/semantic": 3,
        "automatic/instance": 2,
        "automatic/geometry": 3,
        "proofread/semantic": 2,
        "proofread/instance": 2,
        "proofread/geometry": 2,
    }
    assert all(type(count) is int for count in counts.values())
