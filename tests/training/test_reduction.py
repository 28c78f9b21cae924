"""The same two-rank equality with real processes (gloo), and the reached mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from balancer_toys import TASKS, assert_same_gradients, gradients, make_batch, make_toy, run_step
from torch import distributed

from mtl.training.balancers import make_balancer
from mtl.training.reduction import single_process, sum_gradients

T, F = True, False
BATCH = make_batch({"seg": [T, T, F, T, F, F], "cls": [T, T, T, F, T, F], "depth": [F, T, T, T, T, T]})
PARTS = [slice(0, 4), slice(4, 6)]


def parameters(*gradients: list[float] | None) -> list[torch.nn.Parameter]:
    found = []
    for gradient in gradients:
        parameter = torch.nn.Parameter(torch.zeros(2))
        parameter.grad = None if gradient is None else torch.tensor(gradient)
        found.append(parameter)
    return found


def test_reached_elsewhere_gets_a_gradient_and_reached_nowhere_keeps_none() -> None:
    """The other rank, played here, reached the second parameter with (5, 7) and the third not at all."""
    here = parameters([1.0, 2.0], None, None)
    answers = iter([torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 5.0, 7.0])])
    given = []

    def reduce(tensor: torch.Tensor) -> torch.Tensor:
        given.append(tensor.tolist())
        return tensor + next(answers)

    sum_gradients(here, reduce)
    assert given == [[1.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0]]
    assert here[0].grad.tolist() == [1.0, 2.0]
    assert here[1].grad.tolist() == [5.0, 7.0]
    assert here[2].grad is None


def test_one_call_per_dtype_and_no_copy_in_one_process() -> None:
    mixed = parameters([1.0, 2.0], [3.0, 4.0])
    mixed[1].data, mixed[1].grad = mixed[1].data.double(), None
    mixed[1].grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    dtypes = []

    def reduce(tensor: torch.Tensor) -> torch.Tensor:
        dtypes.append(tensor.dtype)
        return 2 * tensor

    sum_gradients(mixed, reduce)
    assert dtypes == [torch.float32, torch.float32, torch.float64]
    assert [p.grad.tolist() for p in mixed] == [[2.0, 4.0], [6.0, 8.0]]
    before = mixed[0].grad
    sum_gradients(mixed, single_process)
    assert mixed[0].grad is before


def _rank(rank: int, folder: str, name: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)

    def reduce(tensor: torch.Tensor) -> torch.Tensor:
        distributed.all_reduce(tensor)
        return tensor

    model, balancer = make_toy(), make_balancer(name, TASKS, {"seg": 2.0}, seed=5)
    run_step(model, balancer, [BATCH.part(PARTS[rank])], BATCH.units(), reduce)
    torch.save((gradients(model), gradients(balancer)), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fixed", "uncertainty", "upgrad", "pcgrad"])
def test_two_gloo_processes_equal_one(name: str, tmp_path: Path) -> None:
    """The second rank has no segmentation mask."""
    torch.multiprocessing.spawn(_rank, args=(str(tmp_path), name), nprocs=2)
    model, balancer = make_toy(), make_balancer(name, TASKS, {"seg": 2.0}, seed=5)
    run_step(model, balancer, [BATCH])
    for rank in range(2):
        of_model, of_balancer = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert_same_gradients(of_model, gradients(model), rtol=1e-6, atol=1e-9)
        assert_same_gradients(of_balancer, gradients(balancer))
