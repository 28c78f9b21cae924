"""Weighting balancers against references written from their formulas."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from balancer_toys import (
    TASKS,
    assert_same_gradients,
    gradients,
    losses_of,
    make_batch,
    make_toy,
    run_on_ranks,
    run_step,
    zero,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import CheckpointError, ParameterError, TrainingError
from mtl.training.balancers import BALANCERS, Balancer, make_balancer
from mtl.training.reduction import single_process

T, F = True, False
BATCH = make_batch({"seg": [T, T, F, T, F, F], "cls": [T, T, T, F, T, F], "depth": [F, T, T, T, T, T]})
NO_SEG = make_batch({"seg": [F, F, F], "cls": [T, F, T], "depth": [T, T, F]}, seed=2)
WEIGHTINGS = ("fixed", "schedule", "random", "uncertainty", "dwa")
ALPHA = {"seg": 2.0, "depth": 0.5}
OPTIONS = {"schedule": {"initial": {"seg": 0.25}, "final": {"cls": 3.0}, "kind": "linear"}}


def build(name: str, tasks=TASKS, weights=ALPHA, seed: int = 3, **options) -> Balancer:
    balancer = make_balancer(name, tasks, weights, seed, **(OPTIONS.get(name, {}) | options))
    if name == "dwa":
        for means in ({"seg": 1.0, "cls": 4.0, "depth": 2.0}, {"seg": 0.9, "cls": 1.0, "depth": 2.2}):
            balancer.end_epoch(means)
    if name == "uncertainty":
        for s, value in zip(balancer.parameters(), (0.3, -0.7, 1.1), strict=True):
            s.data = torch.tensor(value, dtype=torch.float64)
    return balancer


def reference_weights(name: str, balancer: Balancer, progress: float) -> dict[str, float]:
    """From the formulas, without alpha."""
    if name == "schedule":
        return {
            "seg": 0.25 * (1 - progress) + progress,
            "cls": 1 * (1 - progress) + 3 * progress,
            "depth": 1.0,
        }
    if name == "random":
        z = torch.randn(3, generator=torch.Generator().manual_seed(3)).tolist()
        total = sum(math.exp(v) for v in z)
        return {task: 3 * math.exp(v) / total for task, v in zip(TASKS, z, strict=True)}
    if name == "dwa":
        r = {"seg": 0.9 / 1.0, "cls": 1.0 / 4.0, "depth": 2.2 / 2.0}
        total = sum(math.exp(v / 2) for v in r.values())
        return {task: 3 * math.exp(v / 2) / total for task, v in r.items()}
    if name == "uncertainty":
        return {task: math.exp(-s.item()) / 2 for task, s in zip(TASKS, balancer.log_variances, strict=True)}
    return dict.fromkeys(TASKS, 1.0)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_gradient_is_that_of_the_formula(name: str) -> None:
    model, balancer = make_toy(), build(name)
    run_step(model, balancer, [BATCH], progress=0.3)
    found = gradients(model)
    zero(model)
    weights = reference_weights(name, balancer, 0.3)
    alpha = {"cls": 1.0} | ALPHA
    sum(alpha[task] * weights[task] * loss for task, loss in losses_of(model, BATCH).items()).backward()
    assert_same_gradients(found, gradients(model))
    expected = {task: alpha[task] * weights[task] for task in TASKS}
    assert balancer.current_weights() == pytest.approx(expected)
    assert balancer.backward_passes(3) == 1


def test_uncertainty_gradient_of_the_log_variances() -> None:
    """d/ds of alpha (L exp(-s) + s) / 2 is alpha (1 - L exp(-s)) / 2."""
    model, balancer = make_toy(), build("uncertainty")
    losses = {task: loss.item() for task, loss in losses_of(model, BATCH).items()}
    run_step(model, balancer, [BATCH])
    for task, s in zip(TASKS, balancer.log_variances, strict=True):
        alpha = ALPHA.get(task, 1.0)
        assert s.grad.item() == pytest.approx(alpha * (1 - losses[task] * math.exp(-s.item())) / 2)


@pytest.mark.parametrize("name", BALANCERS)
def test_micro_batches_add_up_to_the_joint_batch(name: str) -> None:
    """Two micro-batches with different valid counts; the second has no segmentation mask."""
    model, joint, split = make_toy(), build(name), build(name)
    assert not BATCH.part(slice(4, 6)).valid["seg"].any()
    run_step(model, joint, [BATCH], progress=0.3)
    expected = gradients(model), gradients(joint)
    zero(model)
    run_step(model, split, [BATCH.part(slice(0, 4)), BATCH.part(slice(4, 6))], progress=0.3)
    assert_same_gradients(gradients(model), expected[0], rtol=1e-6, atol=1e-9)
    assert_same_gradients(gradients(split), expected[1])


@pytest.mark.parametrize("name", BALANCERS)
def test_two_ranks_equal_one_process(name: str) -> None:
    """The second rank has no segmentation mask, and different counts."""
    model, balancer = make_toy(), build(name)
    parts = [[BATCH.part(slice(0, 3)), BATCH.part(slice(3, 4))], [BATCH.part(slice(4, 6))]]
    ranks = run_on_ranks(model, balancer, parts)
    run_step(model, balancer, [BATCH])
    for rank_model, rank_balancer in ranks:
        assert_same_gradients(gradients(rank_model), gradients(model), rtol=1e-6, atol=1e-9)
        assert_same_gradients(gradients(rank_balancer), gradients(balancer))
        assert rank_balancer.current_weights() == pytest.approx(balancer.current_weights(), rel=1e-5)


@pytest.mark.parametrize("name", BALANCERS)
def test_two_ranks_with_a_task_absent_everywhere(name: str) -> None:
    model = make_toy()
    ranks = run_on_ranks(model, build(name), [[NO_SEG.part(slice(0, 1))], [NO_SEG.part(slice(1, 3))]])
    for rank_model, _ in ranks:
        assert all(p.grad is None for p in rank_model.heads["seg"].parameters())
        assert all(p.grad is not None for p in rank_model.heads["cls"].parameters())
        assert_same_gradients(gradients(rank_model), gradients(ranks[0][0]))


@pytest.mark.parametrize("name", BALANCERS)
def test_absent_task_leaves_its_head_exactly_unchanged(name: str) -> None:
    model, balancer = make_toy(), build(name)
    before = copy.deepcopy(model.state_dict())
    variances = [p.detach().clone() for p in balancer.parameters()]
    parameters = [*model.parameters(), *balancer.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.5)
    run_step(model, balancer, [NO_SEG])
    optimiser.step()
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith("heads.seg"), key
    if variances:
        assert [torch.equal(p, v) for p, v in zip(balancer.parameters(), variances, strict=True)] == [T, F, F]


@pytest.mark.parametrize("name", BALANCERS)
def test_weight_zero_is_absence(name: str) -> None:
    model, other = make_toy(), make_toy()
    run_step(model, build(name, weights={"seg": 0.0, "depth": 0.5}), [NO_SEG, BATCH])
    only = make_balancer(name, ("cls", "depth"), {"depth": 0.5}, seed=3)
    assert model.heads["seg"].weight.grad is None
    if name in ("fixed", "mgda", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "upgrad", "pcgrad"):
        batches = [copy.deepcopy(batch) for batch in (NO_SEG, BATCH)]
        for batch in batches:
            del batch.valid["seg"]
        run_step(other, only, batches)
        assert_same_gradients(gradients(model), gradients(other), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", BALANCERS)
def test_step_without_any_valid_unit_does_nothing(name: str) -> None:
    model, balancer = make_toy(), build(name)
    empty = make_batch({task: [F, F] for task in TASKS})
    run_step(model, balancer, [empty, empty], totals=dict.fromkeys(TASKS, 0))
    assert all(p.grad is None for p in model.parameters())
    assert balancer.step == 1


@pytest.mark.parametrize("name", BALANCERS)
def test_frozen_trunk_and_frozen_task(name: str) -> None:
    """Only the cls head trains: the other losses have no graph, and the trunk keeps no gradient."""
    model, balancer = make_toy(), build(name)
    model.requires_grad_(False)
    model.heads["cls"].requires_grad_(True)
    run_step(model, balancer, [BATCH, NO_SEG])
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    assert reached == {"heads.cls.weight", "heads.cls.bias"}


@pytest.mark.parametrize("name", BALANCERS)
def test_resumed_run_continues_identically(name: str) -> None:
    def steps(model, balancer, optimiser, first: int, last: int) -> None:
        for step in range(first, last):
            optimiser.zero_grad(set_to_none=True)
            run_step(model, balancer, [BATCH if step % 3 else NO_SEG], progress=step / 10)
            optimiser.step()
            if step % 2:
                balancer.end_epoch({"cls": 1 / (step + 1), "depth": 2.0})

    def fresh():
        model, balancer = make_toy(), build(name)
        return model, balancer, torch.optim.Adam([*model.parameters(), *balancer.parameters()], lr=0.01)

    whole = fresh()
    steps(*whole, 0, 10)
    killed = fresh()
    steps(*killed, 0, 5)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in killed], file)
    file.seek(0)
    resumed = fresh()
    for part, state in zip(resumed, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    assert resumed[1].step == 5
    assert resumed[1].current_weights() == killed[1].current_weights()
    steps(*resumed, 5, 10)
    for key, value in whole[0].state_dict().items():
        assert torch.equal(value, resumed[0].state_dict()[key]), key
    assert resumed[1].current_weights() == whole[1].current_weights()


@pytest.mark.parametrize("name", ["random", "pcgrad"])
def test_own_randomness_leaves_the_global_generator_alone(name: str) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    run_step(make_toy(), build(name), [BATCH])
    assert torch.equal(torch.get_rng_state(), before)


def test_random_draws_once_per_step_and_anew_in_the_next() -> None:
    model, balancer = make_toy(), build("random", weights=None)
    run_step(model, balancer, [BATCH])
    first = balancer.current_weights()
    run_step(model, balancer, [BATCH])
    assert first != balancer.current_weights()
    run_step(model, balancer, [NO_SEG])
    assert set(balancer.current_weights()) == {"cls", "depth"}
    assert sum(balancer.current_weights().values()) == pytest.approx(2)


@given(seed=st.integers(0, 2**32), present=st.sets(st.sampled_from(TASKS), min_size=1))
@settings(max_examples=30, deadline=None)
def test_random_weights_sum_to_the_number_of_present_tasks(seed: int, present: set[str]) -> None:
    balancer = make_balancer("random", TASKS, seed=seed)
    balancer.begin_step(0.0)
    losses = {task: torch.ones((), requires_grad=True) for task in present}
    balancer.backward(
        losses, dict.fromkeys(present, 1.0), shared=[], specific=[], run_backward=torch.Tensor.backward
    )
    assert sum(loss.grad.item() for loss in losses.values()) == pytest.approx(len(present), rel=1e-5)
    assert all(loss.grad > 0 for loss in losses.values())


MEANS = st.floats(1e-6, 1e6)


@given(rows=st.lists(st.tuples(MEANS, MEANS, MEANS), min_size=2, max_size=4), scale=st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_dwa_weights_sum_to_k_and_ignore_the_scale_of_a_loss(rows, scale: float) -> None:
    plain, scaled = make_balancer("dwa", TASKS), make_balancer("dwa", TASKS)
    for row in rows:
        plain.end_epoch(dict(zip(TASKS, row, strict=True)))
        scaled.end_epoch({"seg": row[0] * scale, "cls": row[1], "depth": row[2]})
    assert sum(plain.current_weights().values()) == pytest.approx(3)
    assert plain.current_weights() == pytest.approx(scaled.current_weights(), rel=1e-6, abs=1e-9)


def test_dwa_starts_equal_and_keeps_one_for_a_task_without_two_means() -> None:
    balancer = make_balancer("dwa", TASKS)
    for means in ({"seg": 1.0, "cls": 1.0}, {"cls": 0.5}):
        assert balancer.current_weights() == dict.fromkeys(TASKS, 1.0)
        balancer.end_epoch(means)
    # One task with two means: its softmax over one is 1 as well.
    assert balancer.current_weights() == dict.fromkeys(TASKS, 1.0)
    balancer.end_epoch({"seg": 2.0})
    a, b = math.exp(2.0 / 1.0 / 2), math.exp(0.5 / 1.0 / 2)
    expected = {"seg": 2 * a / (a + b), "cls": 2 * b / (a + b), "depth": 1.0}
    assert balancer.current_weights() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "progress", "fraction"),
    [
        ("linear", 0.0, 0.0), ("linear", 0.2, 0.0), ("linear", 0.4, 0.25), ("linear", 1.0, 1.0),
        ("cosine", 0.0, 0.0), ("cosine", 0.2, 0.0), ("cosine", 0.6, 0.5), ("cosine", 1.0, 1.0),
        ("cosine", 0.4, (1 - math.sqrt(0.5)) / 2),
        ("step", 0.0, 0.0), ("step", 0.19, 0.0), ("step", 0.2, 1.0), ("step", 1.0, 1.0),
    ],
)  # fmt: skip
def test_schedule_endpoints_and_middle(kind: str, progress: float, fraction: float) -> None:
    balancer = make_balancer(
        "schedule", TASKS, {"seg": 3.0}, initial={"seg": 1.0}, final={"seg": 0.2}, kind=kind, warm_up=0.2
    )
    balancer.begin_step(progress)
    expected = {"seg": 3.0 * (1.0 + (0.2 - 1.0) * fraction), "cls": 1.0, "depth": 1.0}
    assert balancer.current_weights() == pytest.approx(expected)


def test_schedule_from_zero_does_not_touch_the_head_before() -> None:
    model = make_toy()
    balancer = make_balancer("schedule", TASKS, initial={"seg": 0.0}, final={"seg": 1.0}, kind="linear")
    run_step(model, balancer, [BATCH], progress=0.0)
    assert model.heads["seg"].weight.grad is None
    zero(model)
    run_step(model, balancer, [BATCH], progress=0.5)
    assert model.heads["seg"].weight.grad.abs().sum() > 0


def test_bf16_losses_are_weighed_in_fp32() -> None:
    """1/3 in bf16 would be wrong by 0.2 %."""
    loss = torch.tensor(1.0, dtype=torch.bfloat16, requires_grad=True)
    totals = []
    make_balancer("fixed", ("a",)).backward(
        {"a": loss}, {"a": 1 / 3}, shared=[], specific=[], run_backward=totals.append
    )
    assert totals[0].dtype == torch.float32
    assert totals[0].item() == pytest.approx(1 / 3, rel=1e-6)


def test_another_identity_gives_the_same_as_the_short_cut() -> None:
    for name in ("fixed", "upgrad"):
        one, two = make_toy(), make_toy()
        run_step(one, build(name), [BATCH], reduce=single_process)
        run_step(two, build(name), [BATCH], reduce=lambda tensor: tensor)
        assert_same_gradients(gradients(two), gradients(one))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_balancer("fixd", TASKS), ["fixd", "upgrad"]),
        (lambda: make_balancer("fixed", TASKS, c=0.1), ["'c'", "no options"]),
        (lambda: make_balancer("cagrad", TASKS, d=0.1), ["'d'", "options are c"]),
        (lambda: make_balancer("schedule", TASKS, warmup=0.1), ["warmup", "warm_up"]),
        (lambda: make_balancer("fixed", TASKS, {"sgm": 1.0}), ["weights", "sgm", "seg, cls, depth"]),
        (lambda: make_balancer("fixed", TASKS, {"seg": -1.0}), ["seg", "-1.0"]),
        (lambda: make_balancer("fixed", TASKS, {"seg": math.nan}), ["seg", "nan"]),
        (lambda: make_balancer("fixed", TASKS, {"seg": "2"}), ["seg", "'2'"]),
        (lambda: make_balancer("fixed", ("a",), {"a": 0.0}), ["weights", "nothing"]),
        (lambda: make_balancer("fixed", ("a", "a")), ["distinct"]),
        (lambda: make_balancer("schedule", TASKS, kind="cos"), ["kind", "cosine"]),
        (lambda: make_balancer("schedule", TASKS, warm_up=1.0), ["warm_up", "1.0"]),
        (lambda: make_balancer("schedule", TASKS, final={"x": 1.0}), ["final", "'x'"]),
        (lambda: make_balancer("dwa", TASKS, temperature=0.0), ["temperature"]),
        (lambda: make_balancer("cagrad", TASKS, c=1.0), ["c: 1.0"]),
        (lambda: make_balancer("nash_mtl", TASKS, max_norm=-1.0), ["max_norm"]),
    ],
)
def test_parameter_errors_name_the_parameter(call, words: list[str]) -> None:
    with pytest.raises(ParameterError) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value


def test_contract_breaches_are_named() -> None:
    balancer = make_balancer("fixed", ("a", "b"))
    rest = {"shared": [], "specific": [], "run_backward": torch.Tensor.backward}
    with pytest.raises(TrainingError, match="'x'"):
        balancer.backward({}, {"x": 1.0}, **rest)
    with pytest.raises(TrainingError, match="'b' has a loss but no valid unit"):
        balancer.backward({"b": torch.ones((), requires_grad=True)}, {"a": 1.0}, **rest)
    with pytest.raises(TrainingError, match="'a' is nan"):
        make_balancer("dwa", ("a", "b")).end_epoch({"a": math.nan})


def test_state_of_another_balancer_is_refused() -> None:
    state = make_balancer("fixed", TASKS).state_dict()
    with pytest.raises(CheckpointError, match="fixed"):
        make_balancer("dwa", TASKS).load_state_dict(state)
    with pytest.raises(CheckpointError, match="depth"):
        make_balancer("fixed", ("seg", "cls")).load_state_dict(state)


@pytest.mark.parametrize("name", BALANCERS)
def test_every_name_builds_a_documented_balancer(name: str) -> None:
    balancer = make_balancer(name, TASKS)
    assert balancer.name == name
    assert "cost" in type(balancer).__doc__.lower()
    assert balancer.backward_passes(3) == (3 if balancer.needs_task_gradients else 1)
