"""Learning rates over a stage against their formulas."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from mtl.training.stages import Stage, make_schedule


def rates(warm_up: float, steps: int, epochs: int = 1) -> list[float]:
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    stage = Stage(
        "s", {"part": 0.5}, epochs, ("task",), selection="score", min_learning_rate=0.1, warm_up=warm_up
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = make_schedule(optimiser, stage, steps)
        found = []
        for _ in range(steps):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
    return [*found, optimiser.param_groups[0]["lr"]]


def cosine(progress: float) -> float:
    return 0.1 + (0.5 - 0.1) * (1 + math.cos(math.pi * progress)) / 2


def test_the_cosine_ends_at_the_least_rate():
    assert rates(0.0, 10) == pytest.approx([cosine(t / 10) for t in range(11)])


def test_rates_rise_in_a_straight_line_before_the_cosine():
    found = rates(0.25, 12)
    rising = [0.5 * (1e-3 + (1 - 1e-3) * t / 3) for t in range(3)]
    assert found == pytest.approx([*rising, *(cosine(t / 9) for t in range(10))])
