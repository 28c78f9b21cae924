"""Side-by-side timings: the rules of a row, on functions whose cost and result are known."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from mtl.errors import ParameterError
from mtl.timing import Case, fitted_exponent, gflop, machine_limits, measure, scaling_exponent


def case(gate=lambda: "equal", calls: list[str] | None = None) -> Case:
    calls = [] if calls is None else calls
    return Case(
        "X1",
        "sleep",
        "a longer sleep",
        ours=lambda: (calls.append("ours"), time.sleep(0.002)),
        theirs=lambda: (calls.append("theirs"), time.sleep(0.02)),
        gate=gate,
        goal=2,
    )


def test_sides_are_interleaved_and_the_ratio_is_peer_over_ours():
    calls: list[str] = []
    (row,) = measure([case(calls=calls)], rounds=7, warm_up=1)
    assert calls == ["theirs", "ours"] * 2 + ["theirs", "ours", "ours"] * 7  # counted, warm, timed
    assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"]) and row["ratio"] > 1
    assert row["correct"] and row["difference"] == "equal" and row["control"] > 0
    assert row["ours_gflop"] == row["peer_gflop"] == 0


def test_a_failed_gate_gives_no_number_and_is_not_timed():
    def differ() -> str:
        raise AssertionError("masks differ by 3 pixels")

    calls: list[str] = []
    (row,) = measure([case(differ, calls)])
    assert calls == [] and row["correct"] is False and row["difference"] == "masks differ by 3 pixels"
    assert row["peer_s"] is row["ours_s"] is row["ratio"] is row["control"] is None


def test_a_peer_that_does_a_share_of_the_work_has_its_time_scaled_up():
    whole, part = case(), replace(case(), peer_share=0.25)
    rows = measure([whole, part], rounds=7, warm_up=1)
    assert rows[1]["peer_s"] > 2 * rows[0]["peer_s"]  # 4 times but for noise: it sleeps 20 ms in both
    assert rows[1]["ratio"] == pytest.approx(rows[1]["peer_s"] / rows[1]["ours_s"])


def test_too_few_rounds_are_refused():
    with pytest.raises(ParameterError, match="at least 7"):
        measure([case()], rounds=3)


def test_machine_limits_are_positive():
    assert all(value > 0 for value in machine_limits().values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_operations_of_a_convolution_forward_and_backward(dtype):
    layer = torch.nn.Conv2d(3, 5, kernel_size=3, padding=1, dtype=dtype)
    image = torch.zeros(2, 3, 16, 16, dtype=dtype, requires_grad=True)
    forward = 2 * (2 * 5 * 16 * 16) * (3 * 3 * 3)  # a product and a sum per output and tap
    assert gflop(torch.inference_mode()(lambda: layer(image.detach()))) == pytest.approx(forward / 1e9)
    assert gflop(lambda: layer(image).sum().backward()) == pytest.approx(3 * forward / 1e9)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.25])
def test_exponent_of_synthetic_times(exponent):
    sizes = [1e3, 8e3, 64e3, 512e3]
    assert fitted_exponent(sizes, [2e-9 * size**exponent for size in sizes]) == pytest.approx(exponent)
    noisy = [2e-9 * size**exponent * factor for size, factor in zip(sizes, (1.1, 0.9, 1.1, 0.9), strict=True)]
    assert fitted_exponent(sizes, noisy) == pytest.approx(exponent, abs=0.1)


@pytest.mark.parametrize("sizes, seconds", [([1, 2], [1, 2]), ([3, 3, 3], [1, 2, 3]), ([1, 2, 3], [0, 1, 2])])
def test_exponent_needs_three_different_sizes_and_positive_times(sizes, seconds):
    with pytest.raises(ParameterError, match="three or more"):
        fitted_exponent(sizes, seconds)


def test_functions_of_growing_work_are_called_in_turn():
    calls: list[int] = []
    exponent = scaling_exponent([1, 2, 4], [lambda n=n: calls.append(n) for n in (1, 2, 4)], rounds=7)
    assert calls == [1, 2, 4] * 8 and isinstance(exponent, float)
    with pytest.raises(ParameterError, match="3 of them for 1 functions"):
        scaling_exponent([1, 2, 4], [lambda: None])
