"""One optimiser step of the brain_mri model on 1 or 2 ranks; prints losses and gradients as a file.

    python two_ranks.py OUT.pt BALANCER                         one process, the joint batch
    torchrun --nproc-per-node 2 two_ranks.py OUT.pt BALANCER    rank 0 has the masks, rank 1 has none

Normalisation is frozen: with batch statistics of its own each rank would compute another function, as
with any data-parallel training without synchronised batch norm.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from mtl.losses.brain_mri import MultiTaskLoss
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri.objective import BrainMriObjective
from mtl.training.devices import make_fabric
from mtl.training.loop import StageTrainer
from mtl.training.sampling import EpochLoader
from mtl.training.stages import Stage


class Slices(torch.utils.data.Dataset):
    """Eight slices; every second one has a mask, so that rank 0 of 2 gets them all."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(4)
        self.image = torch.randn(8, 1, 16, 16, generator=generator)
        self.mask = (torch.rand(8, 1, 16, 16, generator=generator) > 0.7).float()
        self.has_mask = torch.arange(8) % 2 == 0
        self.mask[~self.has_mask] = 0
        self.cls = torch.tensor([0, 1, 1, 0, 1, 1, 0, 0])

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> dict:
        return {name: getattr(self, name)[i] for name in ("image", "mask", "has_mask", "cls")} | {
            "id": str(i)
        }


class InOrder:
    def indices(self, epoch: int) -> list[int]:
        return list(range(8))


def collate(samples: list[dict]) -> dict:
    batch = {name: torch.stack([s[name] for s in samples]) for name in ("image", "mask", "has_mask", "cls")}
    units = {"segmentation": int(batch["has_mask"].sum()), "classification": len(samples)}
    return batch | {"id": [s["id"] for s in samples], "valid_units": units}


def main(out: Path, balancer: str) -> None:
    torch.manual_seed(0)
    model = MultiTaskModel(base_filters=4, depth=2, dropout=0.0)
    stage = Stage(
        name="joint",
        learning_rates={"encoder": 1e-2, "decoder": 1e-2, "cls_head": 1e-2},
        epochs=1,
        tasks=("segmentation", "classification"),
        selection="score",
        task_weights={"classification": 0.7},
        balancer=balancer,
        clip=0.0,
    )
    loader = EpochLoader(Slices(), InOrder(), 8, collate)
    trainer = StageTrainer(
        make_fabric("cpu"),
        model,
        BrainMriObjective(MultiTaskLoss()),
        stage,
        loader,
        lambda model: {"score": 0.0},
        out.parent / f"{out.stem}_stage",
    )
    freeze_normalisation(model)
    gradients = {}

    def note_gradients(*_: object) -> None:
        gradients.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    torch.optim.AdamW.step, step = (
        lambda self, *a: (note_gradients(), step(self, *a))[1],
        torch.optim.AdamW.step,
    )
    result = trainer.fit()
    if trainer.fabric.is_global_zero:
        rows = result.history[result.history.key.str.startswith("train/")]
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        losses = dict(zip(rows.key, rows.value, strict=True))
        torch.save({"losses": losses, "gradients": gradients, "weights": weights}, out)


def freeze_normalisation(model: MultiTaskModel) -> None:
    train = model.train

    def train_without_statistics(mode: bool = True) -> MultiTaskModel:
        train(mode)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        return model

    model.train = train_without_statistics


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
