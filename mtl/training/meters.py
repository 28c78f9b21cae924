"""Epoch means of losses, and the guard that stops a run whose loss is not finite.

Neither asks the device for a value within a step, so a GPU never waits for Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mtl.errors import TrainingError


class LossMeter:
    """Means over valid units: an absent task adds nothing, and its mean over no units is left out."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(
        self, losses: Mapping[str, Tensor], terms: Mapping[str, Tensor], units: Mapping[str, int]
    ) -> None:
        """Add one micro-batch; a term ``task/...`` counts with the units of its task."""
        for name, value in {**losses, **terms}.items():
            n = units[name] if name in units else units[_task_of(name, units)]
            value = value.detach().float() * n
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + n

    def means(
        self, names: Sequence[str], reduce: Callable[[Tensor], Tensor], device: torch.device
    ) -> dict[str, float]:
        """Means over all ranks of those ``names`` that had valid units; waits for the device."""
        zero = torch.zeros((), device=device)
        sums = torch.stack([self._sums.get(name, zero) for name in names])
        counts = torch.tensor([float(self._counts.get(name, 0)) for name in names], device=device)
        sums, counts = reduce(torch.stack([sums, counts])).tolist()
        return {name: s / n for name, s, n in zip(names, sums, counts, strict=True) if n > 0}

    @property
    def names(self) -> list[str]:
        """What has been added so far."""
        return sorted(self._sums)


def _task_of(term: str, tasks: Mapping[str, int]) -> str:
    owners = [task for task in tasks if term.startswith(f"{task}/")]
    if not owners:
        raise TrainingError(
            f"logged term {term!r} belongs to no task of {sorted(tasks)}: name it 'task/term'"
        )
    return max(owners, key=len)


class FiniteGuard:
    """Stops at the first loss (or gradient norm) that is NaN or infinite, naming it, step and batch ids.

    On the CPU at once, before the weights change. On a GPU the values are copied in the background and
    looked at as they arrive, at the latest when :meth:`flush` is called (before anything is saved).
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._pending: list[tuple[torch.cuda.Event, Tensor, list[str], int, list[str]]] = []

    def watch(self, named: Mapping[str, Tensor], step: int, ids: list[str]) -> None:
        """Look at scalars, e.g. ``{"the loss of task 'a'": loss}``."""
        if not named:
            return
        values = torch.stack([value.detach().float() for value in named.values()])
        if values.device.type != "cuda":
            self._check(values, list(named), step, ids)
            return
        copy = torch.empty(values.shape, pin_memory=True)
        copy.copy_(values, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending.append((event, copy, list(named), step, ids))
        while self._pending and self._pending[0][0].query():
            self._check(*self._pending.pop(0)[1:])

    def flush(self) -> None:
        """Wait for all copies and look at them."""
        for event, *entry in self._pending:
            event.synchronize()
            self._check(*entry)
        self._pending.clear()

    def _check(self, values: Tensor, names: list[str], step: int, ids: list[str]) -> None:
        for name, value in zip(names, values.tolist(), strict=True):
            if value != value or abs(value) == float("inf"):
                shown = ", ".join(ids[:8]) + (", ..." if len(ids) > 8 else "")
                raise TrainingError(f"stage {self.stage!r}, step {step}: {name} is {value}; batch: {shown}")
