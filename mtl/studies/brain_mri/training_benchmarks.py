"""Benchmarks of the training step: one shared network against two (B3), and the allocator (R1)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from mtl.losses.brain_mri import MultiTaskLoss
from mtl.models.brain_mri import ClassificationHead, MultiTaskModel
from mtl.models.unet import UNetDecoder, UNetEncoder
from mtl.timing import Case, timed

Batch = dict[str, Tensor]


class SeparateNetworks(nn.Module):
    """The peer: a segmentation U-Net and a classifier, an encoder each, with the weights of ``shared``."""

    def __init__(self, shared: MultiTaskModel) -> None:
        super().__init__()
        self.segmentation_encoder: UNetEncoder = deepcopy(shared.encoder)
        self.classification_encoder: UNetEncoder = deepcopy(shared.encoder)
        self.decoder: UNetDecoder = deepcopy(shared.decoder)
        self.cls_head: ClassificationHead = deepcopy(shared.cls_head)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """``(B, 1, H, W)`` to logits ``seg`` ``(B, 1, H, W)`` and ``cls`` ``(B, 2)``, two encoder passes."""
        mask = self.decoder(self.segmentation_encoder(x))
        return {"seg": mask, "cls": self.cls_head(self.classification_encoder(x)[-1])}


def random_batch(batch_size: int, size: int, seed: int = 0) -> Batch:
    """Images ``(B, 1, S, S)`` with a disc-shaped mask on every second one, all of them with a mask."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch_size, 1, size, size, generator=generator)
    cls = torch.arange(batch_size) % 2
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    disc = ((rows - size / 2) ** 2 + (columns - size / 3) ** 2 < (size / 8) ** 2).float()
    mask = cls.view(-1, 1, 1, 1) * disc
    return {
        "image": image + mask,
        "mask": mask,
        "cls": cls,
        "has_mask": torch.ones(batch_size, dtype=torch.bool),
    }


def training_step(
    model: nn.Module, batch: Batch, precision: torch.dtype = torch.float32, learning_rate: float = 1e-3
) -> Callable[[], float]:
    """A function that makes one optimiser step (AdamW) on ``batch`` and returns its loss."""
    loss = MultiTaskLoss()
    optimiser = torch.optim.AdamW(model.parameters(), learning_rate)
    device = batch["image"].device.type
    n_masked = len(batch["image"])

    def step() -> float:
        with torch.autocast(device, precision, enabled=precision != torch.float32):
            output = model(batch["image"])
            total = loss(output, batch["mask"], batch["cls"], batch["has_mask"], n_masked)["total"]
        total.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(total.detach())

    return step


def training_cases(
    base_filters: int = 32, depth: int = 3, size: int = 256, batch_size: int = 8, seed: int = 0
) -> list[Case]:
    """B3: a step of the shared network against a step of two, float32 and bfloat16 autocast."""
    workload = f"training step, batch {batch_size}, {size} px, f={base_filters}, depth {depth}"
    torch.manual_seed(seed)
    shared = MultiTaskModel(base_filters=base_filters, depth=depth, dropout=0.0, image_size=size)
    batch = random_batch(batch_size, size, seed)
    laid_out = batch | {"image": batch["image"].contiguous(memory_format=torch.channels_last)}
    theirs = training_step(SeparateNetworks(shared), batch)

    def case(name: str, precision: torch.dtype, tolerances: tuple[float, float], goal: float) -> Case:
        ours = deepcopy(shared).to(memory_format=torch.channels_last)
        return Case(
            id="B3",
            workload=f"{workload}, {name}",
            peer="two networks, float32",
            ours=training_step(ours, laid_out, precision),
            theirs=theirs,
            gate=lambda: _same_step(shared, batch, precision, *tolerances),
            goal=goal,
        )

    return [
        case("float32, channels last", torch.float32, (1e-5, 1e-4), 1.7),
        case("bfloat16, channels last", torch.bfloat16, (1e-2, 0.5), 3.2),
    ]


def _same_step(
    shared: MultiTaskModel, batch: Batch, precision: torch.dtype, of_loss: float, of_gradient: float
) -> str:
    """Both sides descend the same loss: the shared encoder's gradient is the sum of the two encoders'.

    ``of_loss``, ``of_gradient``: relative tolerances. bfloat16 keeps 8 bits, and what survives of them in the
    gradient of an untrained network is little: its gap is reported, and only a wrong direction is refused.
    """
    one, two = deepcopy(shared), SeparateNetworks(shared)
    losses = [_backward(model, batch, kind) for model, kind in ((one, precision), (two, torch.float32))]
    pairs = zip(two.segmentation_encoder.parameters(), two.classification_encoder.parameters(), strict=True)
    expected = torch.cat([(a.grad + b.grad).flatten() for a, b in pairs])
    found = torch.cat([p.grad.flatten() for p in one.encoder.parameters()])
    gap = float((found - expected).norm() / expected.norm())
    off = abs(losses[0] / losses[1] - 1)
    assert off <= of_loss, f"losses differ: {losses[0]:.6g} and {losses[1]:.6g}"
    assert gap <= of_gradient, f"encoder gradients differ by {gap:.2g} of their norm"
    return f"loss differs by {off:.1e}, encoder gradient by {gap:.1e} of its norm"


def _backward(model: nn.Module, batch: Batch, precision: torch.dtype) -> float:
    with torch.autocast(batch["image"].device.type, precision, enabled=precision != torch.float32):
        output = model(batch["image"])
        total = MultiTaskLoss()(output, batch["mask"], batch["cls"], batch["has_mask"])["total"]
    total.backward()
    return float(total.detach())


def allocator_row(tuned: Mapping[str, str], processes: int = 3) -> dict[str, Any]:
    """R1: a training step under the default allocator and under ``tuned`` (environment variables).

    Allocators are chosen when a process starts, so each side runs in processes of its own, in turn
    (default, tuned, tuned again); the medians are over all their steps. Losses must be equal to the last bit.
    """
    sides: dict[str, list[dict[str, Any]]] = {"default": [], "tuned": [], "again": []}
    for _ in range(processes):
        for name, found in sides.items():
            found.append(_steps_in_process({} if name == "default" else tuned))
    losses = {run["loss"] for runs in sides.values() for run in runs}
    seconds = {name: median(s for run in runs for s in run["seconds"]) for name, runs in sides.items()}
    correct = len(losses) == 1
    times = {"peer_s": seconds["default"], "ours_s": seconds["tuned"]}
    times |= {"ratio": seconds["default"] / seconds["tuned"], "control": seconds["again"] / seconds["tuned"]}
    return {
        "id": "R1",
        "workload": "training step, batch 8, 128 px, f=16, depth 4, bfloat16, memory kept by the process",
        "peer": "default allocator",
        **(times if correct else dict.fromkeys(times)),
        "goal": 1.1,
        "correct": correct,
        "difference": "losses equal to the last bit" if correct else f"losses differ: {sorted(losses)}",
    }


def _steps_in_process(variables: Mapping[str, str]) -> dict[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, env=inherited | variables, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _print_steps(warm_up: int = 3, rounds: int = 9) -> None:
    torch.manual_seed(0)
    model = MultiTaskModel(base_filters=16, depth=4, dropout=0.0).to(memory_format=torch.channels_last)
    step = training_step(model, random_batch(8, 128), torch.bfloat16)
    for _ in range(warm_up):
        step()
    losses: list[float] = []
    seconds = [timed(lambda: losses.append(step())) for _ in range(rounds)]
    print(json.dumps({"seconds": seconds, "loss": losses[-1]}))


if __name__ == "__main__":
    _print_steps()
