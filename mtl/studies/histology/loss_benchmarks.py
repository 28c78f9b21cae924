"""Benchmark H2: the eight losses, forward and backward, for four images of 512 x 512 pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mtl.losses.histology import LossConfig, MultiTaskLoss
from mtl.studies.histology.loss_peers import usual_losses
from mtl.studies.histology.map_benchmarks import nuclei
from mtl.targets.histology import distance_map
from mtl.timing import Case, scaling_exponent

BATCH, SIDE, CHANNELS, STRIDE = 4, 512, 32, 16
GOAL = 2.2
TOLERANCE = 1e-5
#: The pixel contrast draws at random: it takes no part in the comparison of values and gradients.
WITHOUT_CHANCE = replace(LossConfig(), alpha_pixel_con=0.0)
Outputs = dict[str, Tensor]


def made_batch(side: int = SIDE) -> tuple[Outputs, Tensor, Tensor, Tensor]:
    """Outputs of a network halfway through its training, outlined nuclei (a third), their map, images."""
    torch.manual_seed(0)
    ids = nuclei(round(95 * (side / SIDE) ** 2), side)
    instances = torch.from_numpy(ids).expand(BATCH, -1, -1)
    inside = (instances > 0).float()[:, None]
    y = ((instances % 3 == 1) & (instances > 0)).float()[:, None]
    target = torch.from_numpy(distance_map(ids * (ids % 3 == 1))).expand(BATCH, -1, -1, -1)
    unit = lambda *shape: torch.nn.functional.normalize(torch.randn(*shape), dim=1)  # noqa: E731
    output = {
        "preds": 6 * inside - 3 + torch.randn(BATCH, 1, side, side),
        "hv_map": torch.rand(BATCH, 1, side, side),
        "recon": torch.rand(BATCH, 3, side, side),
        "obj_emb": unit(BATCH, CHANNELS, side, side),
        "pixel_emb": unit(BATCH, CHANNELS, side, side),
    }
    return output, y, target.contiguous(), torch.rand(BATCH, 3, side, side)


def loss_cases(side: int = SIDE) -> list[Case]:
    """H2: against the usual way, on embeddings as large as the image, and on the network's own grid."""
    output, y, target, images = made_batch(side)
    workload = f"eight losses, forward and backward, B={BATCH}, {side} x {side}, D={CHANNELS}"
    usual = _step(lambda o: usual_losses(o, y, target, images, LossConfig()), output)
    cases = []
    native = torch.nn.functional.normalize(
        torch.nn.functional.avg_pool2d(output["obj_emb"], STRIDE), dim=1
    )  # what the network has before it is enlarged
    for where, mine in (
        ("embeddings of the image's size", output),
        ("prototypes on the network's own grid", output | {"obj_emb": native}),
    ):
        ours = _step(lambda o: MultiTaskLoss()(o, y, target, images)["total"], mine)
        gate = lambda mine=mine: _gate(mine, output, y, target, images)  # noqa: E731
        cases.append(
            Case("H2", f"{workload}; {where}", "the usual way, image by image", ours, usual, gate, GOAL)
        )
    return cases


def loss_exponent() -> float:
    """How the time of ours grows with the pixels of an image."""
    sides = (128, 256, 512)
    steps = []
    for side in sides:
        output, y, target, images = made_batch(side)
        steps.append(_step(lambda o, y=y, t=target, i=images: MultiTaskLoss()(o, y, t, i)["total"], output))
    return scaling_exponent([side**2 for side in sides], steps)


def _step(loss: Callable[[Outputs], Tensor], output: Outputs) -> Callable[[], tuple[Tensor, ...]]:
    leaves = {name: value.clone().requires_grad_() for name, value in output.items()}

    def step() -> tuple[Tensor, ...]:
        # Views, because torch's counter of operations cannot follow a module that is handed leaves.
        given = {name: leaf.view_as(leaf) for name, leaf in leaves.items()}
        return torch.autograd.grad(loss(given), list(leaves.values()), allow_unused=True)

    return step


def _gate(mine: Outputs, output: Outputs, y: Tensor, target: Tensor, images: Tensor) -> str:
    """Values and gradients of all that does not draw at random, on the same embeddings."""
    exact = {name: value.double() for name, value in output.items()}
    expected = _step(
        lambda o: usual_losses(o, y.double(), target.double(), images.double(), WITHOUT_CHANCE), exact
    )()
    found = _step(lambda o: MultiTaskLoss(WITHOUT_CHANCE)(o, y, target, images)["total"], output)()
    gaps = [
        float((a - b).norm() / b.norm())
        for a, b in zip(found, expected, strict=True)
        if a is not None and b is not None and b.any()
    ]
    assert max(gaps) <= TOLERANCE, f"gradients differ by {max(gaps):.1e} of their norm"
    grid = "" if mine is output else "; the timed side works on the grid of the deepest features"
    return f"gradients off by {max(gaps):.1e} of their norm, pixel contrast aside{grid}"
