"""The gradient probe on models whose gradients are known."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mtl.errors import ParameterError, TrainingError
from mtl.training.diagnostics import ALL, COLUMNS, GradientProbe, figures

Gradients = Mapping[str, Mapping[str, list[float]]]


class Vectors(nn.Module):
    """Two blocks of parameters; a batch holds the gradient that each task is to have."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.ParameterDict({"low": torch.zeros(2), "high": torch.zeros(2)})
        self.head = nn.Parameter(torch.zeros(2))

    def shared_parameters(self) -> dict[str, nn.Parameter]:
        return {f"enc.{name}": p for name, p in self.enc.items()}


def linear(model: Vectors, batch: Gradients) -> dict[str, Tensor]:
    """L_k = <g_k, theta>: its gradient is g_k."""
    return {
        task: sum(torch.tensor(g) @ model.enc[block] for block, g in blocks.items()) + model.head.sum()
        for task, blocks in batch.items()
    }


def value(table: pd.DataFrame, kind: str, probe: str, a: str, b: str = "", block: str = ALL) -> float:
    found = table.query(
        "kind == @kind and probe == @probe and task_a == @a and task_b == @b and block == @block"
    )
    assert len(found) == 1, found
    return found["value"].item()


# Tasks agree in the low block and oppose each other in the high one.
PLANTED = [
    {"a": {"low": [3.0, 4.0], "high": [1.0, 0.0]}, "b": {"low": [3.0, 4.0], "high": [-2.0, 0.0]}},
    {"a": {"low": [3.0, 0.0], "high": [0.0, 1.0]}, "b": {"low": [4.0, 0.0], "high": [0.0, -2.0]}},
]


def test_planted_conflict_in_one_block() -> None:
    table = GradientProbe(linear, PLANTED).measure(Vectors(), step=7)
    assert tuple(table.columns) == COLUMNS
    assert set(table["step"]) == {7}
    assert set(table["block"]) == {ALL, "enc.low", "enc.high"}
    for probe in "01":
        assert value(table, "cosine", probe, "a", "b", "enc.low") == pytest.approx(1.0)
        assert value(table, "cosine", probe, "a", "b", "enc.high") == pytest.approx(-1.0)
    # Batch 0, all: a = (3, 4, 1, 0), b = (3, 4, -2, 0).
    assert value(table, "cosine", "0", "a", "b") == pytest.approx(23 / np.sqrt(26 * 29))
    assert value(table, "norm", "0", "a") == pytest.approx(np.sqrt(26))
    assert value(table, "magnitude_similarity", "0", "a", "b") == pytest.approx(2 * np.sqrt(26 * 29) / 55)
    # The sum is (6, 8, -1, 0), its square 101; <a, sum> = 49, <b, sum> = 52.
    assert value(table, "update_share", "0", "a") == pytest.approx(49 / 101)
    assert value(table, "update_share", "0", "b") == pytest.approx(52 / 101)
    # High block: the sum (-1, 0) goes with b; a is pushed backwards.
    assert value(table, "update_share", "0", "a", block="enc.high") == pytest.approx(-1.0)
    assert value(table, "update_share", "0", "b", block="enc.high") == pytest.approx(2.0)
    # The noise floor of a: (3, 4, 1, 0) and (3, 0, 0, 1).
    assert value(table, "same_task_cosine", "0-1", "a", "a") == pytest.approx(9 / np.sqrt(26 * 10))
    assert value(table, "same_task_cosine", "0-1", "a", "a", "enc.high") == pytest.approx(0.0)


def test_weights_scale_norms_and_shares_but_no_cosine() -> None:
    plain = GradientProbe(linear, PLANTED).measure(Vectors(), 0)
    heavy = GradientProbe(linear, PLANTED, weights={"a": 10.0}).measure(Vectors(), 0)
    pd.testing.assert_frame_equal(
        heavy, GradientProbe(linear, PLANTED).measure(Vectors(), 0, weights={"a": 10.0})
    )
    assert value(heavy, "norm", "0", "a") == pytest.approx(10 * value(plain, "norm", "0", "a"))
    assert value(heavy, "norm", "0", "b") == value(plain, "norm", "0", "b")
    assert value(heavy, "cosine", "0", "a", "b") == pytest.approx(value(plain, "cosine", "0", "a", "b"))
    # 10a = (30, 40, 10, 0), b = (3, 4, -2, 0): <10a, sum> / |sum|^2.
    assert value(heavy, "update_share", "0", "a") == pytest.approx(2830 / (33**2 + 44**2 + 8**2))


def test_absent_task_and_zero_gradient_give_no_figures() -> None:
    batches = [
        {"a": {"low": [1.0, 0.0]}, "b": {"high": [1.0, 0.0]}},
        {"a": {"low": [1.0, 1.0]}},
    ]
    table = GradientProbe(linear, batches).measure(Vectors(), 0)
    assert table.query("probe == '1' and task_a == 'b'").empty
    assert table.query("kind == 'same_task_cosine' and task_a == 'b'").empty
    assert value(table, "norm", "0", "b", block="enc.low") == 0.0
    assert table.query("kind == 'cosine' and block != 'all'").empty
    assert value(table, "cosine", "0", "a", "b") == 0.0
    assert table["value"].notna().all()


def test_blocks_of_ones_own_choice() -> None:
    table = GradientProbe(linear, PLANTED, block_of=lambda name: name[-1]).measure(Vectors(), 0)
    assert set(table["block"]) == {ALL, "w", "h"}


def test_frozen_shared_part_gives_an_empty_table() -> None:
    model = Vectors().requires_grad_(False)
    table = GradientProbe(linear, PLANTED).measure(model, 0)
    assert table.empty
    assert tuple(table.columns) == COLUMNS


def test_bad_input_is_named() -> None:
    with pytest.raises(ParameterError, match="at least 2, got 1"):
        GradientProbe(linear, PLANTED[:1])
    with pytest.raises(TrainingError, match="task 'a' is nan"):
        GradientProbe(lambda m, b: {"a": m.enc["low"].sum() * float("nan")}, [0, 1]).measure(Vectors(), 0)
    with pytest.raises(TrainingError, match="gradient is not finite"):
        GradientProbe(lambda m, b: {"a": m.enc["low"].sum().sqrt()}, [0, 1]).measure(Vectors(), 0)


class Noisy(nn.Module):
    """Everything that a measurement could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 3, 3)
        )
        self.frozen_norm = nn.BatchNorm2d(3)
        self.register_buffer("calls", torch.zeros(()))

    def shared_parameters(self) -> dict[str, nn.Parameter]:
        return {f"encoder.{name}": p for name, p in self.encoder.named_parameters()}

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.frozen_norm(self.encoder(x))


class Drawing(nn.Module):
    """An objective with state of its own that draws from every generator."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(()))
        self.seen: list[tuple[bool, torch.dtype]] = []

    def forward(self, model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        self.queue += 1
        out = model(batch * (torch.rand(()) + random.random() + np.random.rand()))
        self.seen.append((model.training, out.dtype))
        return {"a": out.pow(2).mean(), "b": out.abs().sum()}


def disturbable(model: nn.Module, objective: nn.Module) -> list:
    state = [model.state_dict(), objective.state_dict()]
    flags = [module.training for root in (model, objective) for module in root.modules()]
    tensors = [tensor.clone() for part in state for tensor in part.values()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return [flags, tensors, grads, torch.get_rng_state(), np.random.get_state()[1], random.getstate()]


def assert_same(found, expected) -> None:
    if isinstance(expected, Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert np.array_equal(found, expected)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


def test_measurement_leaves_everything_as_found_and_repeats_itself() -> None:
    torch.manual_seed(3)
    model, objective = Noisy().train(), Drawing()
    model.frozen_norm.eval()
    batches = [torch.randn(4, 1, 8, 8) for _ in range(2)]
    model(batches[0]).sum().backward()
    model.encoder[0].weight.grad = None
    before = disturbable(model, objective)
    probe = GradientProbe(objective, batches)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        first = probe.measure(model, 0)
        assert not torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")
    assert_same(disturbable(model, objective), before)
    assert objective.seen == [(True, torch.float32)] * 2
    torch.manual_seed(4)
    pd.testing.assert_frame_equal(probe.measure(model, 0), first)


class Failing(Drawing):
    def forward(self, model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        super().forward(model, batch)
        raise ValueError("no")


def test_state_comes_back_after_an_error() -> None:
    model, objective, batches = Noisy().train(), Failing(), [torch.randn(4, 1, 8, 8)] * 2
    before = disturbable(model, objective)
    with pytest.raises(ValueError, match="no"):
        GradientProbe(objective, batches).measure(model, 0)
    assert len(objective.seen) == 1
    assert_same(disturbable(model, objective), before)


def test_gradients_are_those_of_the_model_in_eval_mode() -> None:
    """An independent reference: eval mode, plain backward."""
    torch.manual_seed(5)
    model, batches = Noisy().train(), [torch.randn(4, 1, 8, 8) for _ in range(2)]
    table = GradientProbe(lambda m, x: {"a": m(x).pow(2).mean()}, batches).measure(model, 0)
    model.eval()
    for index, x in enumerate(batches):
        model.zero_grad()
        model(x).pow(2).mean().backward()
        square = sum(float(p.grad.double().pow(2).sum()) for p in model.encoder.parameters())
        assert value(table, "norm", str(index), "a") == pytest.approx(square**0.5, rel=1e-5)
        block = sum(float(p.grad.double().pow(2).sum()) for p in model.encoder[3].parameters())
        found = value(table, "norm", str(index), "a", block="encoder.3")
        assert found == pytest.approx(block**0.5, rel=1e-5)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 4), size=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_invariants(seed: int, n: int, size: float) -> None:
    """Shares sum to 1; cosines lie in [-1, 1] and do not change with the length of a gradient."""
    vectors = np.random.default_rng(seed).normal(size=(n, 6))
    keys = [(0, f"t{i}") for i in range(n)]
    plain = pd.DataFrame(figures(keys, vectors @ vectors.T), columns=COLUMNS[2:])
    vectors[0] *= size
    longer = pd.DataFrame(figures(keys, vectors @ vectors.T), columns=COLUMNS[2:])
    for table in (plain, longer):
        assert table.query("kind == 'update_share'")["value"].sum() == pytest.approx(1.0)
        assert table.query("kind == 'magnitude_similarity'")["value"].between(0, 1 + 1e-12).all()
    cosines = [table.query("kind == 'cosine'")["value"].to_numpy() for table in (plain, longer)]
    np.testing.assert_allclose(cosines[0], cosines[1], atol=1e-9)
    assert (np.abs(cosines[0]) <= 1 + 1e-12).all()
    # Exchanging two tasks leaves their cosine.
    swap = [1, 0, *range(2, n)]
    swapped = pd.DataFrame(figures(keys, (vectors @ vectors.T)[np.ix_(swap, swap)]), columns=COLUMNS[2:])
    assert swapped.query("kind == 'cosine'")["value"].iloc[0] == pytest.approx(cosines[1][0])


def test_gradients_that_cancel_have_no_update_share() -> None:
    vectors = np.array([[1.0, 2.0], [-1.0, -2.0]])
    kinds = [row[0] for row in figures([(0, "a"), (0, "b")], vectors @ vectors.T)]
    assert "update_share" not in kinds
    assert "cosine" in kinds
