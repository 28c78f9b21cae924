"""A shared trunk with one head per task, losses over valid units, and ranks emulated by threads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from mtl.training.balancers import Balancer
from mtl.training.reduction import single_process

TASKS = ("seg", "cls", "depth")


class Toy(nn.Module):
    """x (B, 4) -> task -> prediction (B,), in double precision."""

    def __init__(self, tasks: Sequence[str] = TASKS) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        self.heads = nn.ModuleDict({task: nn.Linear(3, 1) for task in tasks})
        self.double()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x)
        return {task: head(features)[:, 0] for task, head in self.heads.items()}

    def shared(self) -> list[Parameter]:
        return list(self.trunk.parameters())

    def specific(self) -> list[Parameter]:
        return list(self.heads.parameters())


@dataclass
class Batch:
    x: Tensor
    y: dict[str, Tensor]
    valid: dict[str, Tensor]

    def part(self, rows: slice) -> Batch:
        cut = {name: {task: t[rows] for task, t in getattr(self, name).items()} for name in ("y", "valid")}
        return Batch(self.x[rows], **cut)

    def units(self) -> dict[str, int]:
        return {task: int(valid.sum()) for task, valid in self.valid.items()}


def make_toy(tasks: Sequence[str] = TASKS, seed: int = 0) -> Toy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Toy(tasks)


def make_batch(counts: Mapping[str, Sequence[bool]], seed: int = 1) -> Batch:
    """``counts``: per task, which of the samples are valid."""
    g = torch.Generator().manual_seed(seed)
    n = len(next(iter(counts.values())))
    x = torch.randn(n, 4, generator=g, dtype=torch.float64)
    y = {task: torch.randn(n, generator=g, dtype=torch.float64) for task in counts}
    return Batch(x, y, {task: torch.tensor(valid) for task, valid in counts.items()})


def losses_of(model: Toy, batch: Batch) -> dict[str, Tensor]:
    """Mean squared error over valid samples; tasks without any are absent."""
    predictions = model(batch.x)
    return {
        task: ((predictions[task] - batch.y[task])[valid] ** 2).mean()
        for task, valid in batch.valid.items()
        if valid.any()
    }


def run_step(
    model: Toy,
    balancer: Balancer,
    micro_batches: Sequence[Batch],
    totals: Mapping[str, int] | None = None,
    reduce: Callable[[Tensor], Tensor] = single_process,
    progress: float = 0.0,
) -> None:
    """What the loop does between two optimiser steps."""
    units = [batch.units() for batch in micro_batches]
    totals = totals or sum_units(units)
    groups = {"shared": model.shared(), "specific": model.specific()}
    balancer.begin_step(progress)
    for batch, n in zip(micro_batches, units, strict=True):
        shares = {task: n[task] / total for task, total in totals.items() if total > 0}
        balancer.backward(losses_of(model, batch), shares, run_backward=lambda t: t.backward(), **groups)
    balancer.finish(reduce, **groups)


def sum_units(units: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {task: sum(n[task] for n in units) for task in units[0]}


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    """Name -> copy of ``.grad``."""
    return {n: None if p.grad is None else p.grad.clone() for n, p in module.named_parameters()}


def assert_same_gradients(found: Mapping[str, Any], expected: Mapping[str, Any], **tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] is None) == (gradient is None), name
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient, **tolerance)


def task_gradients(model: Toy, batch: Batch) -> dict[str, Tensor]:
    """Slow reference: task -> flat gradient of its loss over the trunk, each from a fresh graph."""
    found = {}
    for task in losses_of(model, batch):
        pieces = torch.autograd.grad(losses_of(model, batch)[task], model.shared())
        found[task] = torch.cat([piece.flatten() for piece in pieces])
    return found


def flat_trunk_gradient(model: Toy) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.shared()])


class Ranks:
    """Two processes as threads of which one runs at a time, so that global state is not raced for."""

    def __init__(self, world: int) -> None:
        self.turn, self.meet = threading.Lock(), threading.Barrier(world, timeout=30)
        self.given: list[Tensor | None] = [None] * world
        self.sizes: list[list[int]] = [[] for _ in range(world)]

    def reduce_for(self, rank: int) -> Callable[[Tensor], Tensor]:
        def reduce(tensor: Tensor) -> Tensor:
            self.given[rank] = tensor.clone()
            self.sizes[rank].append(tensor.numel())
            self.turn.release()
            self.meet.wait()
            total = torch.stack([t for t in self.given if t is not None]).sum(dim=0)
            self.meet.wait()
            self.turn.acquire()
            return tensor.copy_(total)

        return reduce


def run_on_ranks(
    model: Toy, balancer: Balancer, parts: Sequence[Sequence[Batch]], steps: int = 1
) -> list[tuple[Toy, Balancer]]:
    """The micro-batches of each rank, on copies of model and balancer; returns the copies."""
    copies = [(copy.deepcopy(model), copy.deepcopy(balancer)) for _ in parts]
    totals = sum_units([batch.units() for part in parts for batch in part])
    ranks, errors = Ranks(len(parts)), []

    def work(rank: int) -> None:
        try:
            with ranks.turn:
                for _ in range(steps):
                    zero(*copies[rank])
                    run_step(*copies[rank], parts[rank], totals, ranks.reduce_for(rank))
        except Exception as error:
            errors.append(error)
            ranks.meet.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    assert all(sizes == ranks.sizes[0] for sizes in ranks.sizes), "ranks reduce different sizes"
    return copies


def zero(*modules: nn.Module) -> None:
    for module in modules:
        module.zero_grad(set_to_none=True)
