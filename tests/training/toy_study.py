"""A small two-task study with partial labels, for the tests of the training core.

Regression ``a`` is known for every sample, ``b`` only where ``has_b``. Run as a script it trains one
stage in a process of its own, so that tests can kill it or start two ranks:

    python toy_study.py FOLDER [--kill-at-step N | --kill-in-save N] [--balancer NAME] [--epochs N]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from mtl.models.parts import PartitionedModel
from mtl.training.devices import make_fabric
from mtl.training.loop import StageTrainer
from mtl.training.objective import TaskLosses
from mtl.training.sampling import EpochLoader, ShuffledSampler
from mtl.training.stages import Stage


class ToyModel(PartitionedModel, PyTorchModelHubMixin):
    part_names = ("trunk", "head_a", "head_b")
    shared_parts = ("trunk",)

    def __init__(self, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(dropout))
        self.head_a = nn.Linear(width, 1)
        self.head_b = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.trunk(x)
        return {"a": self.head_a(h)[:, 0], "b": self.head_b(h)[:, 0]}


class ToyData(torch.utils.data.Dataset):
    """64 samples; every third has the label of task ``b``."""

    def __init__(self, n: int = 64) -> None:
        generator = torch.Generator().manual_seed(11)
        self.x = torch.randn(n, 5, generator=generator)
        self.a = self.x[:, 0] - 2 * self.x[:, 1]
        self.b = self.x[:, 2] * self.x[:, 3]
        self.has_b = torch.arange(n) % 3 == 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict:
        return {"x": self.x[i], "a": self.a[i], "b": self.b[i], "has_b": self.has_b[i], "id": f"sample_{i}"}


def collate(samples: list[dict]) -> dict:
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in ("x", "a", "b", "has_b")}
    units = {"a": len(samples), "b": int(batch["has_b"].sum())}
    return batch | {"id": [sample["id"] for sample in samples], "valid_units": units}


def objective(model: nn.Module, batch: dict) -> TaskLosses:
    output = model(batch["x"])
    losses = {"a": (output["a"] - batch["a"]).square().mean()}
    n = batch["valid_units"]["b"]
    if n > 0:
        losses["b"] = (torch.where(batch["has_b"], output["b"] - batch["b"], 0.0)).square().sum() / n
    return TaskLosses(losses, {"a/half": losses["a"] / 2})


def validate(model: nn.Module) -> dict[str, float]:
    data = ToyData()
    with torch.no_grad():
        output = model(data.x.to(next(model.parameters()).device))
    return {"score": -float((output["a"].cpu() - data.a).square().mean())}


def make_stage(**changes) -> Stage:
    settings = {
        "name": "toy",
        "learning_rates": {"trunk": 1e-2, "head_a": 2e-2, "head_b": 2e-2},
        "epochs": 6,
        "tasks": ("a", "b"),
        "selection": "score",
        "seed": 5,
    }
    return Stage(**settings | changes)


def make_trainer(folder: Path, **changes) -> StageTrainer:
    torch.manual_seed(1)
    model = ToyModel()
    loader = EpochLoader(ToyData(), ShuffledSampler(64, seed=2), changes.pop("batch_size", 8), collate)
    return StageTrainer(make_fabric("cpu"), model, objective, make_stage(**changes), loader, validate, folder)


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill-at-step", type=int, default=0)
    parser.add_argument("--kill-in-save", type=int, default=0)
    parser.add_argument("--balancer", default="fixed")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--average", type=float, default=0.0)
    options = parser.parse_args()
    settings = {"balancer": options.balancer, "epochs": options.epochs, "average": options.average}
    trainer = make_trainer(options.folder, **settings)

    train_step = trainer._train_step

    def step_then_kill(window):
        train_step(window)
        if trainer.step == options.kill_at_step:
            kill_self()

    trainer._train_step = step_then_kill

    torch_save, saves = torch.save, iter(range(1, 1000))

    def save_half_then_kill(state, path):
        torch_save(state, path)
        if next(saves) == options.kill_in_save:
            with open(path, "r+b") as file:
                file.truncate(os.path.getsize(path) // 2)
            kill_self()

    torch.save = save_half_then_kill
    result = trainer.fit()
    rows = result.history.drop(columns="stage").to_dict("records")
    print(json.dumps({"score": result.best_score, "epoch": result.best_epoch, "rows": rows}))


if __name__ == "__main__":
    main()
