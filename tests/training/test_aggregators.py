"""Gradient aggregators against closed forms and slow references; the interface is in test_balancers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from balancer_toys import (
    TASKS,
    flat_trunk_gradient,
    gradients,
    losses_of,
    make_batch,
    make_toy,
    run_on_ranks,
    run_step,
    task_gradients,
    zero,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl.errors import TrainingError
from mtl.training.aggregators import AGGREGATORS
from mtl.training.balancers import Balancer, make_balancer
from mtl.training.reduction import single_process
from mtl.training.task_gradients import gramian_of

T, F = True, False
BATCH = make_batch({"seg": [T, T, F, T, F, F], "cls": [T, T, T, F, T, F], "depth": [F, T, T, T, T, T]})
NAMES = tuple(AGGREGATORS)


def aggregate(name: str, rows: list[list[float]], seed: int = 0, scale: float = 1.0, **options) -> Tensor:
    """The update for tasks whose gradients over one shared vector are ``rows``."""
    tasks = [f"t{i}" for i in range(len(rows))]
    theta = torch.nn.Parameter(torch.zeros(len(rows[0]), dtype=torch.float64))
    balancer = make_balancer(name, tasks, seed=seed, **options)
    losses = {
        task: scale * (torch.tensor(row, dtype=torch.float64) @ theta)
        for task, row in zip(tasks, rows, strict=True)
    }
    groups = {"shared": [theta], "specific": []}
    balancer.begin_step(0.0)
    balancer.backward(losses, dict.fromkeys(tasks, 1.0), run_backward=lambda t: None, **groups)
    balancer.finish(single_process, **groups)
    return theta.grad


def close(found: Tensor, expected: list[float], tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), rtol=tolerance, atol=tolerance
    )


# ---------------------------------------------------------------- closed forms
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # g1 = (3, 0), g2 = (0, 4).
        ("pcgrad", [3.0, 4.0]),  # no conflict: the sum
        ("upgrad", [1.5, 2.0]),  # no conflict: the mean
        ("mgda", [3 * 16 / 25, 4 * 9 / 25]),  # foot of the perpendicular on the segment
        ("imtl_g", [12 / 7, 12 / 7]),  # equal projections on both, on the segment
        ("aligned_mtl", [1.5, 1.5]),  # both shortened to 3, then the mean
        ("nash_mtl", [math.sqrt(0.5), math.sqrt(0.5)]),  # w = 1 / |g|: (1, 1), shortened to 1
    ],
)
def test_orthogonal_gradients(name: str, expected: list[float]) -> None:
    close(aggregate(name, [[3.0, 0.0], [0.0, 4.0]]), expected, 2e-4 if name == "upgrad" else 1e-6)


def test_pcgrad_by_hand() -> None:
    """g1 = (1, 0), g2 = (-1, 1): <g1, g2> = -1; g1' = g1 + g2/2 = (.5, .5), g2' = g2 + g1 = (0, 1)."""
    close(aggregate("pcgrad", [[1.0, 0.0], [-1.0, 1.0]]), [0.5, 1.5])


def test_pcgrad_of_three_is_one_of_the_orders_of_the_algorithm() -> None:
    """All orders by the algorithm on vectors; different seeds take different ones."""
    rows = torch.tensor([[1.0, 0.0, 0.2], [-1.0, 1.0, 0.0], [0.1, -1.0, 1.0]], dtype=torch.float64)

    def project(i: int, order: tuple[int, ...]) -> Tensor:
        g = rows[i].clone()
        for j in order:
            g = g - min(0.0, float(g @ rows[j])) / float(rows[j] @ rows[j]) * rows[j]
        return g

    choices = [[project(i, o) for o in itertools.permutations({0, 1, 2} - {i})] for i in range(3)]
    possible = [sum(choice) for choice in itertools.product(*choices)]
    found = [aggregate("pcgrad", rows.tolist(), seed=seed) for seed in range(12)]
    for update in found:
        assert any(torch.allclose(update, one, atol=1e-9) for one in possible)
    assert len({tuple(update.tolist()) for update in found}) > 1
    assert torch.equal(aggregate("pcgrad", rows.tolist(), seed=5), found[5])


def test_pcgrad_draws_anew_in_every_step_and_resumes_its_draws() -> None:
    rows = torch.tensor([[1.0, 0.0, 0.2], [-1.0, 1.0, 0.0], [0.1, -1.0, 1.0]], dtype=torch.float64)
    theta = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    groups = {"shared": [theta], "specific": []}

    def step(balancer: Balancer) -> tuple[float, ...]:
        balancer.begin_step(0.0)
        losses = {task: row @ theta for task, row in zip(TASKS, rows, strict=True)}
        balancer.backward(losses, dict.fromkeys(TASKS, 1.0), run_backward=lambda t: None, **groups)
        balancer.finish(single_process, **groups)
        return tuple(theta.grad.tolist())

    whole, resumed = make_balancer("pcgrad", TASKS, seed=1), make_balancer("pcgrad", TASKS, seed=2)
    first = [step(whole) for _ in range(12)]
    resumed.load_state_dict(whole.state_dict())
    second = [step(whole) for _ in range(12)]
    assert len(set(first)) > 1
    assert first != second
    assert [step(resumed) for _ in range(12)] == second


VECTOR = st.lists(st.floats(-3, 3), min_size=3, max_size=3)


@given(a=VECTOR, b=VECTOR)
@settings(max_examples=40, deadline=None)
def test_mgda_of_two_is_the_shortest_point_of_the_segment(a: list[float], b: list[float]) -> None:
    x, y = (torch.tensor(v, dtype=torch.float64) for v in (a, b))
    if min(x.norm(), y.norm(), (x - y).norm()) < 1e-3:
        return
    w = ((y - x) @ y / ((x - y) @ (x - y))).clamp(0, 1)
    expected = (w * x + (1 - w) * y).norm()
    assert aggregate("mgda", [a, b]).norm().item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("cosine", [-0.99, -0.5, 0.0, 0.7])
@pytest.mark.parametrize("ratio", [1.0, 1e-4])
def test_nash_of_two_is_the_bisector(cosine: float, ratio: float) -> None:
    """By symmetry w_k is proportional to 1 / |g_k|; the solution is sqrt(2) long, or max_norm."""
    a, b = [5.0, 0.0], [ratio * cosine, ratio * math.sqrt(1 - cosine**2)]
    bisector = [1 + cosine, math.sqrt(1 - cosine**2)]
    length = math.hypot(*bisector)
    close(aggregate("nash_mtl", [a, b]), [v / length for v in bisector], 1e-3)
    free = aggregate("nash_mtl", [a, b], max_norm=0.0)
    close(free, [math.sqrt(2) * v / length for v in bisector], 1e-3)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_nash_solves_its_equation(seed: int, n: int) -> None:
    """G w = 1 / w: every task gains the same share <g_k, d> w_k = 1."""
    rows = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    update = aggregate("nash_mtl", rows.tolist(), max_norm=0.0)
    w = torch.linalg.lstsq(rows.T, update).solution
    torch.testing.assert_close((rows @ update) * w, torch.ones(n, dtype=torch.float64), rtol=2e-3, atol=2e-3)


def test_cagrad_of_two_by_search_over_directions() -> None:
    rows = torch.tensor([[1.0, 0.2], [-0.8, 1.0]], dtype=torch.float64)
    mean = rows.mean(dim=0)
    angles = torch.linspace(0, 2 * math.pi, 200_001, dtype=torch.float64)
    ball = mean + 0.4 * mean.norm() * torch.stack([angles.cos(), angles.sin()], dim=1)
    best = (ball @ rows.T).min(dim=1).values.max()
    found = aggregate("cagrad", rows.tolist(), c=0.4)
    assert (rows @ found).min().item() == pytest.approx(best.item(), rel=1e-4)
    assert (found - mean).norm().item() == pytest.approx(0.4 * mean.norm().item(), rel=1e-3)
    close(aggregate("cagrad", rows.tolist(), c=0.0), mean.tolist())


@given(seed=st.integers(0, 10_000), n=st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_upgrad_harms_no_task(seed: int, n: int) -> None:
    rows = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    update = aggregate("upgrad", rows.tolist())
    assert (rows @ update > -1e-2 * rows.norm(dim=1) * update.norm()).all()


def test_upgrad_of_two_by_hand() -> None:
    """g1 = (1, 0), g2 = (-1, 1): each is projected off the other (as in PCGrad), then the mean."""
    close(aggregate("upgrad", [[1.0, 0.0], [-1.0, 1.0]]), [0.25, 0.75], 1e-3)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_imtl_g_has_equal_projections(seed: int) -> None:
    rows = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    update = aggregate("imtl_g", rows.tolist())
    projections = rows @ update / rows.norm(dim=1)
    torch.testing.assert_close(projections, projections[:1].expand(3), rtol=1e-6, atol=1e-9)


# ---------------------------------------------------------------- what all of them share
@pytest.mark.parametrize("name", [name for name in NAMES if name != "nash_mtl"])
@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_update_scales_with_the_gradients(name: str, scale: float) -> None:
    """1e-6: a fixed tolerance in a solver would turn the gradients into nothing."""
    rows = [[1.0, 0.2, 0.0], [-0.8, 1.0, 0.1], [0.3, 0.1, -1.0]]
    torch.testing.assert_close(
        aggregate(name, rows, scale=scale), scale * aggregate(name, rows), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("name", NAMES)
def test_one_task_and_tasks_without_gradient(name: str) -> None:
    close(aggregate(name, [[1.0, -2.0]]), [1.0, -2.0])
    close(aggregate(name, [[0.0, 0.0], [1.0, -2.0]]), [1.0, -2.0])
    close(aggregate(name, [[0.0, 0.0], [0.0, 0.0]]), [0.0, 0.0])


@pytest.mark.parametrize("name", NAMES)
def test_trunk_moves_along_the_weighted_sum_and_heads_along_their_own(name: str) -> None:
    model, balancer = make_toy(), make_balancer(name, TASKS, {"seg": 2.0}, seed=1)
    run_step(model, balancer, [BATCH])
    weights = balancer.current_weights()
    reference = sum(weights[task] * g for task, g in task_gradients(model, BATCH).items())
    torch.testing.assert_close(flat_trunk_gradient(model), reference, rtol=1e-6, atol=1e-9)
    heads = {n: g for n, g in gradients(model).items() if n.startswith("heads")}
    zero(model)
    losses = losses_of(model, BATCH)
    (2 * losses["seg"] + losses["cls"] + losses["depth"]).backward()
    for key, gradient in heads.items():
        torch.testing.assert_close(gradient, gradients(model)[key])


@pytest.mark.parametrize("name", NAMES)
def test_task_that_comes_and_goes(name: str) -> None:
    """Three tasks, two, three again: the third step equals the first (but for PCGrad's order)."""
    model, balancer = make_toy(), make_balancer(name, TASKS)
    two = make_batch({"seg": [F, F], "cls": [T, T], "depth": [T, F]}, seed=5)
    updates = []
    for batch in (BATCH, two, BATCH):
        zero(model)
        run_step(model, balancer, [batch])
        updates.append(flat_trunk_gradient(model))
        assert set(balancer.current_weights()) == {task for task, n in batch.units().items() if n}
    if name != "pcgrad":
        assert torch.equal(updates[0], updates[2])


@pytest.mark.parametrize("name", ["upgrad", "pcgrad"])
def test_three_steps_on_two_ranks(name: str) -> None:
    """PCGrad's order is drawn alike on all ranks, step after step."""
    model, balancer = make_toy(), make_balancer(name, TASKS, seed=4)
    ranks = run_on_ranks(model, balancer, [[BATCH.part(slice(0, 4))], [BATCH.part(slice(4, 6))]], steps=3)
    for _ in range(3):
        zero(model)
        run_step(model, balancer, [BATCH])
    for rank_model, _ in ranks:
        torch.testing.assert_close(
            flat_trunk_gradient(rank_model), flat_trunk_gradient(model), rtol=1e-6, atol=1e-9
        )


def test_shared_parameter_that_no_task_reaches_keeps_no_gradient() -> None:
    theta, idle = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    balancer = make_balancer("upgrad", ["a", "b"])
    groups = {"shared": [idle, theta], "specific": []}
    balancer.begin_step(0.0)
    balancer.backward(
        {"a": theta.sum(), "b": theta[0] ** 2}, {"a": 1.0, "b": 1.0}, run_backward=lambda t: None, **groups
    )
    balancer.finish(single_process, **groups)
    assert idle.grad is None
    close(theta.grad.double(), [1.5, 0.5], 1e-3)


def test_memory_format_and_dtype_of_the_parameter_are_kept() -> None:
    theta = torch.nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last).bfloat16())
    factor = torch.arange(96.0).view(2, 3, 4, 4)
    balancer = make_balancer("mgda", ["a"])
    groups = {"shared": [theta], "specific": []}
    balancer.begin_step(0.0)
    balancer.backward({"a": (theta * factor).sum()}, {"a": 1.0}, run_backward=lambda t: None, **groups)
    balancer.finish(single_process, **groups)
    assert theta.grad.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(theta.grad, factor.bfloat16())


def test_works_under_bf16_autocast() -> None:
    model, balancer = make_toy().float(), make_balancer("upgrad", TASKS)
    batch = make_batch({task: [T, T, T] for task in TASKS})
    batch.x, batch.y = batch.x.float(), {task: y.float() for task, y in batch.y.items()}
    groups = {"shared": model.shared(), "specific": model.specific()}
    balancer.begin_step(0.0)
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(model, batch)
    balancer.backward(losses, dict.fromkeys(TASKS, 1.0), run_backward=lambda t: None, **groups)
    balancer.finish(single_process, **groups)
    reference = sum(balancer.current_weights()[t] * g for t, g in task_gradients(model, batch).items())
    assert torch.nn.functional.cosine_similarity(flat_trunk_gradient(model), reference, dim=0) > 0.99


@given(seed=st.integers(0, 1000), n=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_gramian_is_the_matrix_product(seed: int, n: int) -> None:
    rows = torch.randn(n, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(gramian_of(list(rows)), rows @ rows.T)


# ---------------------------------------------------------------- failures are loud
def test_non_finite_gradient_names_balancer_step_and_task() -> None:
    with pytest.raises(TrainingError, match=r"'mgda', step 0: .*'t1' is not finite"):
        aggregate("mgda", [[1.0, 0.0], [math.inf, 1.0]])


def test_opposite_gradients_have_no_nash_solution() -> None:
    with pytest.raises(TrainingError, match="'nash_mtl', step 0: the solver failed: no bargaining"):
        aggregate("nash_mtl", [[1.0, 0.0], [-1.0, 0.0]])


@pytest.mark.parametrize(
    ("weigh", "words"),
    [(lambda g: g.diagonal() * math.nan, "solver gave"), (lambda g: 1 / 0, "solver failed: division")],
)
def test_failing_solver(monkeypatch: pytest.MonkeyPatch, weigh, words: str) -> None:
    monkeypatch.setattr(AGGREGATORS["cagrad"], "weigh", lambda self, gramian: weigh(gramian))
    with pytest.raises(TrainingError, match=f"'cagrad', step 0: the {words}"):
        aggregate("cagrad", [[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_no_noise(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Solvers that print or warn would spoil the reports."""
    aggregate(name, [[1.0, 0.2, 0.0], [-0.8, 1.0, 0.1]])
    assert capfd.readouterr() == ("", "")
