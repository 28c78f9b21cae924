"""Benchmark A2: contrastive losses of 4,096 pairs, against the whole matrix of pairs: time and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.losses.angiography import sigmoid_contrastive, softmax_contrastive
from mtl.peak_memory import peak_bytes
from mtl.studies.angiography.contrastive_peers import (
    full_cross_entropy,
    full_sigmoid,
    full_softmax,
    full_softplus,
)
from mtl.timing import Case, fitted_exponent

BATCH, WIDTH = 4096, 512
BATCHES = (1024, 2048, 4096)
TIME_GOAL, MEMORY_GOAL, EXPONENT_GOAL = 1 / 1.05, 7.0, 1.1
#: Of the gradient's norm: float32 sums over thousands of pairs in another order.
TOLERANCE = 1e-5
Loss = Callable[..., Tensor]
Inputs = tuple[Tensor, ...]

#: Ours, and the ways it is written on the whole matrix. The first takes a bias besides.
LOSSES: dict[str, tuple[Loss, dict[str, Loss]]] = {
    "sigmoid": (
        sigmoid_contrastive,
        {"log-sigmoid of signs times logits": full_sigmoid, "softplus, diagonal taken off": full_softplus},
    ),
    "softmax": (
        softmax_contrastive,
        {"log-softmax both ways": full_softmax, "cross-entropy both ways": full_cross_entropy},
    ),
}


def made_pairs(batch: int = BATCH, width: int = WIDTH) -> Inputs:
    """Embeddings of length 1 where those of a pair are near each other, log temperature, and bias."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(batch, width, generator=generator)
    text = video + torch.randn(batch, width, generator=generator)
    embeddings = (F.normalize(x, dim=1) for x in (video, text))
    return (*embeddings, torch.tensor(math.log(10.0)), torch.tensor(-math.log(batch - 1)))


def contrastive_cases(batch: int = BATCH, width: int = WIDTH) -> list[Case]:
    """A2: forward and backward; all gradients are the same before a clock starts."""
    inputs = made_pairs(batch, width)
    cases = []
    for name, (mine, peers) in LOSSES.items():
        for words, peer in peers.items():
            ours, theirs = forward_backward(mine, name, inputs), forward_backward(peer, name, inputs)
            exact = forward_backward(peer, name, tuple(x.double() for x in inputs))
            gate = lambda a=ours, b=exact: gradient_gate(a(), b())  # noqa: E731
            what = f"{name} loss of {batch} pairs, D={width}, forward and backward"
            cases.append(Case("A2", what, f"the whole matrix: {words}", ours, theirs, gate, TIME_GOAL))
    return cases


def forward_backward(loss: Loss, name: str, inputs: Inputs) -> Callable[[], Inputs]:
    """Gradients of all that the loss takes."""
    leaves = [x.clone().requires_grad_() for x in (inputs if name == "sigmoid" else inputs[:3])]
    return lambda: torch.autograd.grad(loss(*leaves), leaves)


def gradient_gate(found: Inputs, expected: Inputs) -> str:
    """Raises ``AssertionError`` where a gradient is off by more than `TOLERANCE` of its norm."""
    gap = max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))
    assert gap <= TOLERANCE, f"gradients differ by {gap:.1e} of their norm"
    return f"gradients off by {gap:.1e} of their norm, against float64"


def memory_rows(batches: Sequence[int] = BATCHES, width: int = WIDTH) -> list[dict[str, Any]]:
    """A2: most bytes of tensors at once beside the inputs, at the largest batch and as they grow with it."""
    return [_memory_row(name, batches, width) for name in LOSSES]


def _memory_row(name: str, batches: Sequence[int], width: int) -> dict[str, Any]:
    mine, peers = LOSSES[name]
    mib = {
        words: [peak_bytes(forward_backward(loss, name, made_pairs(n, width))) / 2**20 for n in batches]
        for words, loss in {"ours": mine, **peers}.items()
    }
    least = min(mib[words][-1] for words in peers)
    slopes = {words: fitted_exponent(batches, values) for words, values in mib.items()}
    listed = ", ".join(f"{words} {values[-1]:.0f} MiB" for words, values in mib.items())
    return {
        "id": "A2",
        "workload": f"{name} loss of {batches[-1]} pairs, D={width}: most memory at once beside the inputs",
        "peer": "the whole matrix: " + ", ".join(peers),
        **dict.fromkeys(("peer_s", "ours_s", "ratio", "goal", "control")),
        "memory": mib,
        "memory_ratio": least / mib["ours"][-1],
        "memory_goal": MEMORY_GOAL,
        "sizes": list(batches),
        "exponent": slopes["ours"],
        "exponent_goal": EXPONENT_GOAL,
        "peer_exponent": min(slopes[words] for words in peers),
        "correct": True,
        "difference": f"{listed}: {least / mib['ours'][-1]:.1f}x less than the best of them (goal "
        f"{MEMORY_GOAL:.0f}x); grows with the batch to the power {slopes['ours']:.2f} (goal {EXPONENT_GOAL})",
    }
