"""Benchmarks of the training step: the discriminative loss (E3) and two modes on one backbone pass (E5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mtl.losses.em import EMLoss, discriminative_loss
from mtl.models.em import EMModel
from mtl.peak_memory import peak_bytes
from mtl.studies.em.discriminative_peers import (
    DELTA_D,
    DELTA_V,
    PEERS,
    WEIGHT_NORM,
    Loss,
    loss_over_instances,
)
from mtl.studies.em.objective import EMObjective, prompts_of, task_weights, valid_units
from mtl.timing import Case, scaling_exponent

Batch = dict[str, Any]


def random_instances(shape: Sequence[int], count: int, seed: int = 0) -> Tensor:
    """Labels int64 ``shape``: the Voronoi cells of ``count`` random points, one in four voxels background."""
    generator = torch.Generator().manual_seed(seed)
    seeds = torch.rand(count, len(shape), generator=generator) * torch.tensor(shape)
    axes = [torch.arange(length, dtype=torch.float32) for length in shape]
    voxels = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, len(shape))
    nearest = [torch.cdist(piece, seeds).topk(2, largest=False) for piece in voxels.split(2**16)]
    gap = torch.cat([found.values[:, 1] - found.values[:, 0] for found in nearest])
    ids = torch.cat([found.indices[:, 0] for found in nearest]) + 1
    return torch.where(gap > gap.quantile(0.25, interpolation="nearest"), ids, 0).view(*shape)


def fused_loss(embedding: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Ours: one autograd node."""
    margins = {"delta_v": DELTA_V, "delta_d": DELTA_D, "weight_norm": WEIGHT_NORM}
    return discriminative_loss(embedding, labels, weight, **margins)["instance"]


def forward_backward(loss: Loss, embedding: Tensor, labels: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    """A function that computes ``loss`` and returns its gradient in the embedding."""
    leaf = embedding.clone().requires_grad_()

    def step() -> Tensor:
        (gradient,) = torch.autograd.grad(loss(leaf, labels, weight), leaf)
        return gradient

    return step


def discriminative_cases(
    shape: Sequence[int] = (32, 128, 128), channels: int = 16, counts: Sequence[int] = (10, 50, 200)
) -> list[Case]:
    """E3: forward and backward against a loop and two scatter versions; 2.5x is hoped of the best scatter."""
    torch.manual_seed(0)
    embedding, weight = torch.randn(1, channels, *shape), torch.rand(1, *shape) * 10
    cases = []
    for count in counts:
        labels = random_instances(shape, count)[None]
        ours = forward_backward(fused_loss, embedding, labels, weight)
        for name, peer in PEERS.items():
            theirs = forward_backward(peer, embedding, labels, weight)
            goal = 2.5 if peer is not loss_over_instances else 30.0 * (count >= 200)
            workload = f"discriminative loss, weighted, forward and backward, {channels} channels, "
            workload += f"{'x'.join(map(str, shape))}, K={count}"
            gate = _gradient_gate(embedding, labels, weight, peer, ours)
            cases.append(Case("E3", workload, name, ours, theirs, gate, goal))
    return cases


def _gradient_gate(
    embedding: Tensor, labels: Tensor, weight: Tensor, peer: Loss, ours: Callable[[], Tensor]
) -> Callable[[], str]:
    def gate() -> str:
        # In float64 the peer is exact: what is left is our own rounding.
        expected = forward_backward(peer, embedding.double(), labels, weight.double())()
        gap = float((ours() - expected).norm() / expected.norm())
        assert gap <= 1e-6, f"gradients differ by {gap:.1e} of their norm"
        of_peer = float(
            (forward_backward(peer, embedding, labels, weight)() - expected).norm() / expected.norm()
        )
        return f"gradient off by {gap:.1e} of its norm (peer: {of_peer:.1e}), both against float64"

    return gate


def memory_row(shape: Sequence[int] = (32, 128, 128), channels: int = 16, count: int = 200) -> dict[str, Any]:
    """E3: most memory that a step holds at once beside its inputs, in sizes of the embedding (goal 1.5)."""
    torch.manual_seed(0)
    embedding, weight = torch.randn(1, channels, *shape), torch.rand(1, *shape)
    labels = random_instances(shape, count)[None]
    size = embedding.numel() * embedding.element_size()
    ours = peak_bytes(forward_backward(fused_loss, embedding, labels, weight)) / size
    found = {
        name: peak_bytes(forward_backward(loss, embedding, labels, weight)) / size
        for name, loss in PEERS.items()
    }
    text = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
    return {
        "id": "E3",
        "workload": f"most memory at once beside the inputs, {'x'.join(map(str, shape))}, K={count}",
        "peer": "loop over instances, scatter, index_add",
        **dict.fromkeys(("peer_s", "ours_s", "ratio", "goal", "control")),
        "memory": {"ours": ours, "goal": 1.5} | found,
        "correct": ours <= 1.5,
        "difference": f"in embeddings: ours {ours:.2f} (goal 1.5), {text}",
    }


def scaling_rows(
    counts: Sequence[int] = (10, 50, 200), depths: Sequence[int] = (8, 16, 32), rounds: int = 7
) -> list[dict[str, Any]]:
    """E3: exponents of the time in the number of instances (goal .05) and of voxels (goal 1.0)."""
    torch.manual_seed(0)

    def step(depth: int, count: int) -> Callable[[], Tensor]:
        shape = (depth, 128, 128)
        embedding, weight = torch.randn(1, 16, *shape), torch.rand(1, *shape)
        return forward_backward(fused_loss, embedding, random_instances(shape, count)[None], weight)

    in_instances = scaling_exponent(counts, [step(16, count) for count in counts], rounds)
    in_voxels = scaling_exponent(depths, [step(depth, 50) for depth in depths], rounds)
    return [
        _scaling_row("instances, K = 10 to 200 at 16x128x128", in_instances, 0.05),
        _scaling_row("voxels, 8 to 32 planes of 128x128, K=50", in_voxels, 1.0),
    ]


def _scaling_row(what: str, exponent: float, goal: float) -> dict[str, Any]:
    return {
        "id": "E3",
        "workload": f"discriminative loss: how time grows with {what}",
        "peer": "itself",
        **dict.fromkeys(("peer_s", "ours_s", "ratio", "goal", "control")),
        "exponent": exponent,
        "correct": True,
        "difference": f"exponent {exponent:.2f} (goal {goal})",
    }


def two_mode_batch(size: int = 1, shape: Sequence[int] = (16, 64, 64), seed: int = 0) -> Batch:
    """A batch with the study's keys; targets are noise, which costs as much as the true ones."""
    generator = torch.Generator().manual_seed(seed)
    dims = len(shape)
    labels = torch.stack([random_instances(shape, 12, seed + i) for i in range(size)])
    labels[:, : shape[0] // 4] = -100
    points = torch.stack([torch.randint(length, (size, 10), generator=generator) for length in shape], dim=2)
    picked = labels.amax(tuple(range(1, dims + 1)))
    tasks = task_weights(EMLoss())
    return {
        "image": torch.rand(size, 1, *shape, generator=generator),
        "labels": labels,
        "targets": {
            "weight": torch.rand(size, *shape, generator=generator),
            "direction": torch.randn(size, dims, *shape, generator=generator),
            "tensor": torch.randn(size, dims**2, *shape, generator=generator),
        },
        "points": points,
        "point_labels": (torch.arange(10) < 5).long().expand(size, -1),
        "semantic_ids": torch.ones(size, dtype=torch.int64),
        "target_ids": picked,
        "has_foreground": picked > 0,
        "max_instances": int(labels.max()),
        "valid_units": valid_units(EMLoss(), tuple(tasks), labels, picked),
        "id": [f"noise/{i}" for i in range(size)],
    }


def two_forwards(model: EMModel, batch: Batch) -> dict[str, Tensor]:
    """The peer: each mode is a forward pass of its own."""
    outputs = {
        "automatic": model(batch["image"]),
        "proofread": model(batch["image"], prompts_of(batch), batch["semantic_ids"]),
    }
    return EMObjective(EMLoss()).losses(outputs, batch)


def one_backbone_pass(model: EMModel, batch: Batch) -> dict[str, Tensor]:
    """Ours: the study's objective."""
    return EMObjective(EMLoss())(model, batch)


def two_mode_cases(features: int = 16, shape: Sequence[int] = (16, 64, 64)) -> list[Case]:
    """E5: losses and gradients of a step, the arm ``late``; and the same in two dimensions."""
    cases = []
    for dims in (3, 2):
        torch.manual_seed(0)
        sizes = tuple(shape) if dims == 3 else (4 * shape[1], 4 * shape[2])
        model = EMModel(spatial_dims=dims, features=features)
        batch = two_mode_batch(shape=sizes)
        cases.append(
            Case(
                "E5",
                f"two-mode training step, {'x'.join(map(str, sizes))}, F={features}",
                "two forward passes",
                ours=_gradients(deepcopy(model), batch, one_backbone_pass),
                theirs=_gradients(deepcopy(model), batch, two_forwards),
                gate=lambda model=model, batch=batch: _same_gradients(model, batch),
                goal=1.65,
            )
        )
    return cases


def _gradients(
    model: nn.Module, batch: Batch, objective: Callable[[EMModel, Batch], dict[str, Tensor]]
) -> Callable[[], list[Tensor]]:
    weights, parameters = task_weights(EMLoss()), list(model.parameters())

    def step() -> list[Tensor]:
        losses = objective(model, batch)
        total = sum(weights[task] * loss for task, loss in losses.items())
        return list(torch.autograd.grad(total, parameters))

    return step


def _same_gradients(model: EMModel, batch: Batch) -> str:
    """In float64, so that only a difference of method shows."""
    model = deepcopy(model).double()
    exact = {key: value.double() if _is_float(value) else value for key, value in batch.items()}
    exact["targets"] = {key: value.double() for key, value in batch["targets"].items()}
    ours, theirs = (_gradients(model, exact, way)() for way in (one_backbone_pass, two_forwards))
    expected = torch.cat([g.flatten() for g in theirs])
    gap = float((torch.cat([g.flatten() for g in ours]) - expected).norm() / expected.norm())
    assert gap <= 1e-9, f"gradients differ by {gap:.1e} of their norm"
    return f"gradients differ by {gap:.1e} of their norm in float64"


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
