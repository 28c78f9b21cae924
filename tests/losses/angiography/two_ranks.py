"""Contrastive losses and gradients of two small towers under DDP; writes what rank 0 has.

python two_ranks.py OUT.pt                         one process, the joint batch
torchrun --nproc-per-node 2 two_ranks.py OUT.pt    each rank has half of it
"""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from mtl.losses.angiography import sigmoid_contrastive, softmax_contrastive


class Towers(nn.Module):
    """A linear layer for each side, temperature and bias."""

    def __init__(self) -> None:
        super().__init__()
        self.video, self.text = nn.Linear(5, 4), nn.Linear(6, 4)
        self.log_temperature, self.bias = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(-2.0))

    def forward(self, video: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        v, u = F.normalize(self.video(video), dim=1), F.normalize(self.text(text), dim=1)
        # Each rank's parameters take part in each case, so that DDP waits for none of them.
        return v, u, self.log_temperature + 0 * self.bias, self.bias


def case(kind: str, ids: Tensor | None, video: Tensor, text: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(0)
    towers = Towers().double()
    network = DistributedDataParallel(towers) if dist.is_initialized() else towers
    v, u, t, b = network(video, text)
    loss = sigmoid_contrastive(v, u, t, b, ids) if kind == "sigmoid" else softmax_contrastive(v, u, t, ids)
    loss.backward()
    mean = loss.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
    return {"loss": mean} | {f"{kind} {name}": p.grad for name, p in towers.named_parameters()}


def main(out: str) -> None:
    several = "WORLD_SIZE" in os.environ
    if several:
        dist.init_process_group("gloo")
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    generator = torch.Generator().manual_seed(7)
    video, text = (torch.randn(8, width, generator=generator).double() for width in (5, 6))
    ids = torch.tensor([0, 1, 2, 0, 0, 3, 2, 4])  # equal ones on the same rank and on two
    mine = slice(rank * 8 // ranks, (rank + 1) * 8 // ranks)
    found = {
        f"{kind} {'ids' if known else 'plain'}": case(
            kind, ids[mine] if known else None, video[mine], text[mine]
        )
        for kind in ("sigmoid", "softmax")
        for known in (False, True)
    }
    if rank == 0:
        torch.save(found, out)
    if several:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
