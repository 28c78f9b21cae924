"""The forecast counts what the trainer does, and times real steps; a clock that only the objective moves."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from toy_study import ToyData, ToyModel, collate, make_stage, make_trainer, objective

from mtl.training import forecast
from mtl.training.devices import make_fabric
from mtl.training.diagnostics import GradientProbe
from mtl.training.sampling import EpochLoader, ShuffledSampler


@pytest.mark.parametrize(("accumulate", "every"), [(1, 0), (1, 8), (3, 5), (3, 3)])
def test_steps_and_measurements_are_as_many_as_the_trainer_makes(tmp_path, accumulate, every):
    trainer = make_trainer(tmp_path, epochs=2, accumulate=accumulate)
    batches = list(islice(trainer.loader.batches(1), 2))
    trainer.make_probe, trainer.probe_every = (lambda: GradientProbe(objective, batches)), every
    result = trainer.fit()
    assert forecast.steps_of(trainer.stage, trainer.loader) == result.steps
    assert forecast.probes_of(result.steps, every) == result.gradients["step"].nunique()


@pytest.fixture
def clock(monkeypatch):
    """Seconds of the objective's calls, in turn; time stands still but for them."""
    seconds: list[float] = []
    now = [0.0]
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: now[0])

    def slow_objective(model, batch):
        now[0] += seconds.pop(0)
        return objective(model, batch)

    return seconds, slow_objective


def parts_of_a_stage(slow_objective, **changes):
    torch.manual_seed(1)
    loader = EpochLoader(ToyData(), ShuffledSampler(64, seed=2), 8, collate)
    return make_fabric("cpu"), ToyModel(), slow_objective, make_stage(**changes), loader


def test_a_step_takes_the_median_of_whole_windows_after_the_first(clock):
    seconds, slow_objective = clock
    seconds += [50, 50, 1, 2, 20, 30, 2, 2]
    parts = parts_of_a_stage(slow_objective, accumulate=2)
    before = parts[1].head_a.weight.clone()
    assert forecast.seconds_per_step(*parts, n_steps=3) == 4
    assert not seconds and not torch.equal(parts[1].head_a.weight, before)


def test_an_epoch_of_one_step_is_timed_all_the_same(clock):
    seconds, slow_objective = clock
    seconds += [3.0] * 8
    assert forecast.seconds_per_step(*parts_of_a_stage(slow_objective, accumulate=8)) == 24


def test_measurements_of_the_gradients_scale_with_their_batches(clock):
    seconds, slow_objective = clock
    seconds += [1.0, 2.0]
    parts = parts_of_a_stage(slow_objective, epochs=2)
    assert forecast.probing_seconds(*parts, n_batches=6, every=5) == 5 * (1 + 2) * 6 / 2
    assert not seconds


def test_a_stage_lasts_as_long_as_its_parts_and_a_run_as_long_as_its_stages():
    costs = [
        forecast.StageCost("a", 30, 2.0, {"validation": 60.0}, folds=2),
        forecast.StageCost("b", 6, 10.0),
    ]
    found = forecast.forecast_record(costs, torch.device("cpu"), "figures")
    assert found["stages"][0] == {
        "stage": "a", "folds": 2, "steps": 30, "seconds_per_step": 2.0, "minutes": 2.0,
        "minutes_of": {"training": 1.0, "validation": 1.0},
    }  # fmt: skip
    assert found["minutes"] == 3.0 and found["not_counted"] == "figures"
    assert found["memory_gib"] > 0.05 and found["device"] == "cpu" and found["gpu_memory_gib"] is None
