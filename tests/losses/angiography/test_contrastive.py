"""Both contrastive losses against loops over pairs, in blocks of any size, and across two ranks."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mtl.errors import ParameterError
from mtl.losses.angiography import contrastive_blocks, sigmoid_contrastive, softmax_contrastive

SCRIPT = Path(__file__).with_name("two_ranks.py")


def pairs(
    seed: int, batch: int, reports: int | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    v, u = (F.normalize(torch.randn(batch, 4, generator=generator).double(), dim=1) for _ in range(2))
    ids = None if reports is None else torch.randint(reports, (batch,), generator=generator)
    t, b = torch.randn(2, generator=generator).double()
    return v, u, t, b, ids


def alike(ids: Tensor | None, i: int, j: int) -> bool:
    return i == j if ids is None else bool(ids[i] == ids[j])


def slow_sigmoid(v: Tensor, u: Tensor, t: Tensor, b: Tensor, ids: Tensor | None) -> float:
    loss = 0.0
    for i in range(len(v)):
        for j in range(len(v)):
            z = math.exp(t) * float(v[i] @ u[j]) + float(b)
            loss -= math.log(1 / (1 + math.exp(-z if alike(ids, i, j) else z)))
    return loss / len(v)


def slow_softmax(v: Tensor, u: Tensor, t: Tensor, ids: Tensor | None) -> float:
    batch, loss = len(v), 0.0
    e = [[math.exp(math.exp(t) * float(v[i] @ u[j])) for j in range(batch)] for i in range(batch)]
    for i in range(batch):
        same = [j for j in range(batch) if alike(ids, i, j)]
        for j in same:
            loss -= math.log(e[i][j] / sum(e[i])) / len(same)
            loss -= math.log(e[j][i] / sum(row[i] for row in e)) / len(same)
    return loss / (2 * batch)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.sampled_from([None, 1, 3, 50]),
    st.sampled_from([1, 20, 10**6]),
)
def test_losses_equal_the_loop_in_blocks_of_any_size(seed, batch, reports, block) -> None:
    v, u, t, b, ids = pairs(seed, batch, reports)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive_blocks, "PAIRS_ON_CPU", block)
        sigmoid, softmax = sigmoid_contrastive(v, u, t, b, ids), softmax_contrastive(v, u, t, ids)
    assert float(sigmoid) == pytest.approx(slow_sigmoid(v, u, t, b, ids), rel=1e-10)
    assert float(softmax) == pytest.approx(slow_softmax(v, u, t, ids), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("reports", [None, 3])
@pytest.mark.parametrize("block", [10, 10**6])
def test_gradients_equal_finite_differences(monkeypatch, reports, block) -> None:
    monkeypatch.setattr(contrastive_blocks, "PAIRS_ON_CPU", block)
    v, u, t, b, ids = pairs(1, 5, reports)
    given = [x.requires_grad_() for x in (v, u, t, b)]
    assert torch.autograd.gradcheck(lambda v, u, t, b: sigmoid_contrastive(v, u, t, b, ids), given)
    assert torch.autograd.gradcheck(lambda v, u, t: softmax_contrastive(v, u, t, ids), given[:3])


@pytest.mark.parametrize("name", ["video", "text", "temperature", "bias"])
def test_gradients_are_the_same_where_only_one_is_wanted(name: str) -> None:
    v, u, t, b, ids = pairs(2, 6, 4)
    given = dict(zip(("video", "text", "temperature", "bias"), (v, u, t, b), strict=True))
    given[name].requires_grad_()
    for loss in (sigmoid_contrastive, softmax_contrastive):
        if loss is softmax_contrastive and name == "bias":
            continue
        arguments = list(given.values())[: 4 if loss is sigmoid_contrastive else 3]
        (one,) = torch.autograd.grad(3 * loss(*arguments, ids), given[name])
        everything = [x.detach().clone().requires_grad_() for x in arguments]
        every = torch.autograd.grad(loss(*everything, ids), everything)
        torch.testing.assert_close(one, 3 * every[list(given).index(name)])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 4]))
def test_the_order_of_pairs_does_not_matter(seed: int, reports: int | None) -> None:
    v, u, t, b, ids = pairs(seed, 7, reports)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    other = None if ids is None else ids[order]
    torch.testing.assert_close(
        sigmoid_contrastive(v[order], u[order], t, b, other), sigmoid_contrastive(v, u, t, b, ids)
    )
    torch.testing.assert_close(
        softmax_contrastive(v[order], u[order], t, other), softmax_contrastive(v, u, t, ids)
    )


def test_only_equality_of_ids_counts_and_all_different_is_none() -> None:
    v, u, t, b, ids = pairs(3, 6, 3)
    renamed = 10**12 - 7 * ids
    assert torch.equal(sigmoid_contrastive(v, u, t, b, ids), sigmoid_contrastive(v, u, t, b, renamed))
    torch.testing.assert_close(softmax_contrastive(v, u, t, torch.arange(6)), softmax_contrastive(v, u, t))


def test_an_identical_report_is_drawn_near_and_pushed_away_where_it_is_not_known() -> None:
    v, (_, u, t, b, _) = torch.eye(4).double(), pairs(4, 4)
    losses = {"sigmoid": lambda x, ids: sigmoid_contrastive(v, x, t, b, ids),
              "softmax": lambda x, ids: softmax_contrastive(v, x, t, ids)}  # fmt: skip
    for name, loss in losses.items():
        x = u.clone().requires_grad_()
        # Videos are the axes: a step moves report 1 along axis 0 towards or away from video 0.
        known, unknown = (
            -torch.autograd.grad(loss(x, ids), x)[0][1, 0] for ids in (torch.tensor([0, 0, 1, 2]), None)
        )
        assert known > 0 > unknown, name


def test_high_temperatures_stay_finite_and_half_precision_is_raised() -> None:
    v, u, _, b, _ = (x if x is None else x.float() for x in pairs(5, 32))
    for t in (torch.tensor(math.log(1e4)), torch.tensor(-20.0)):
        x = v.clone().requires_grad_()
        loss = sigmoid_contrastive(x, u, t, b) + softmax_contrastive(x, u, t)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(x.grad).all()
    t = torch.tensor(2.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sigmoid_contrastive(v, u, t, b)
    assert torch.equal(inside, sigmoid_contrastive(v, u, t, b))
    half = softmax_contrastive(v.bfloat16(), u.bfloat16(), t)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, softmax_contrastive(v.bfloat16().float(), u.bfloat16().float(), t))


class LargestTensor(TorchDispatchMode):
    """Notes the numbers in the largest tensor that an operation gives."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel())
        return found


@pytest.mark.parametrize("reports", [None, 50])
def test_no_tensor_of_all_pairs_is_ever_made(monkeypatch, reports: int | None) -> None:
    monkeypatch.setattr(contrastive_blocks, "PAIRS_ON_CPU", 2**12)
    v, u, t, b, ids = pairs(6, 300, reports)
    given = [x.requires_grad_() for x in (v, u, t, b)]
    with LargestTensor() as seen:
        (sigmoid_contrastive(*given, ids) + softmax_contrastive(*given[:3], ids)).backward()
    assert 2**11 < seen.largest <= 2**12  # of 90,000 pairs


@pytest.mark.parametrize(
    ("v", "u", "ids", "message"),
    [
        ((3, 4), (2, 4), None, r"video \(3, 4\) and text \(2, 4\)"),
        ((3, 4, 1), (3, 4, 1), None, r"\(B, D\)"),
        ((0, 4), (0, 4), None, "B from 1 on"),
        ((3, 4), (3, 4), 2, r"report_ids has shape \(2,\); \(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(v, u, ids, message) -> None:
    one = torch.tensor(1.0)
    ids = None if ids is None else torch.arange(ids)
    with pytest.raises(ParameterError, match=message):
        sigmoid_contrastive(torch.zeros(v), torch.zeros(u), one, one, ids)
    with pytest.raises(ParameterError, match=message):
        softmax_contrastive(torch.zeros(v), torch.zeros(u), one, ids)


def run(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_ranks_equal_one_process_with_the_joint_batch(tmp_path) -> None:
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    run([sys.executable, str(SCRIPT), str(one)])
    launch = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
    ]
    run([sys.executable, *launch, str(SCRIPT), str(two)])
    alone, ranks = (torch.load(path, weights_only=True) for path in (one, two))
    assert alone.keys() == ranks.keys() and len(alone) == 4
    for case, expected in alone.items():
        assert expected.keys() == ranks[case].keys()
        for name, value in expected.items():
            assert name == "softmax bias" or value.abs().max() > 0
            torch.testing.assert_close(ranks[case][name], value, rtol=1e-10, atol=1e-12, msg=f"{case} {name}")


@pytest.mark.parametrize("reports", [None, 3])
def test_a_graph_that_is_kept_gives_the_same_gradients_again(reports: int | None) -> None:
    v, u, t, b, ids = pairs(7, 6, reports)
    given = [x.requires_grad_() for x in (v, u, t, b)]
    for loss, leaves in ((sigmoid_contrastive, given), (softmax_contrastive, given[:3])):
        value = 3 * loss(*leaves, ids)
        once = torch.autograd.grad(value, leaves, retain_graph=True)
        copies = [gradient.clone() for gradient in once]
        for gradient in once:
            gradient.zero_()  # what was given away belongs to whoever has it
        for found, expected in zip(torch.autograd.grad(value, leaves), copies, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
