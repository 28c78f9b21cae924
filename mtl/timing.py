"""Side-by-side timings: a ratio is only worth something if both sides ran in the same minute.

Rules (they are what makes the figures comparable between machines and months): cases interleaved in one
process, the median of at least seven rounds after warm-up, an exactness gate before any clock starts (a side
that fails it gets no number), an A/A control (the same function timed as if it were two), and the machine's
own limits measured in the same run. Nothing here is ever asserted in a test.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mtl.errors import ParameterError

MIN_ROUNDS = 7


@dataclass(frozen=True)
class Case:
    """One comparison: what we do, what the peer does for the same result, and how we know it is the same.

    Args:
        id: row of the performance goals, e.g. ``B1``.
        workload, peer: what is timed, in words.
        ours, theirs: without arguments; each returns its outputs.
        gate: called once before any timing; returns how far our outputs are from the reference, in words that
            a row can carry, or raises ``AssertionError`` saying what differs.
        goal: smallest ratio peer / ours that is hoped for; 0 for none.
        peer_share: share of the workload that ``theirs`` does, where all of it would take minutes and costs
            the same piece by piece (some turns of a loop); its time is divided by it. ``peer`` must say so.
    """

    id: str
    workload: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    gate: Callable[[], str]
    goal: float = 0.0
    peer_share: float = 1.0


def measure(
    cases: Sequence[Case],
    rounds: int = MIN_ROUNDS,
    warm_up: int = 2,
    on_round: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Time all cases round by round, in turn; one row per case.

    Returns:
        ``{id, workload, peer, peer_s, ours_s, peer_gflop, ours_gflop, ratio, goal, correct, difference,
        control}``. ``control`` is the ratio of our side with itself: outside 0.9 to 1.1 the machine was too
        noisy for the row to be believed. ``*_gflop`` are the operations of one call: with the times and
        `machine_limits` they tell how much faster a side could still become. Where the gate failed
        ``correct`` is false, ``difference`` says how, and there are no times.

    Raises:
        ParameterError: fewer than seven rounds.
    """
    if rounds < MIN_ROUNDS:
        raise ParameterError(
            f"rounds = {rounds}: at least {MIN_ROUNDS} are needed for a median to be worth it"
        )
    gates = [_gate(case) for case in cases]
    passed = [case for case, (correct, _) in zip(cases, gates, strict=True) if correct]
    work = {id(case): {"peer_gflop": gflop(case.theirs), "ours_gflop": gflop(case.ours)} for case in passed}
    for case in passed:
        for _ in range(warm_up):
            case.theirs(), case.ours()
    seconds: dict[int, list[tuple[float, float, float]]] = {id(case): [] for case in passed}
    for done in range(rounds):
        for case in passed:
            seconds[id(case)].append((timed(case.theirs), timed(case.ours), timed(case.ours)))
        on_round(done + 1, rounds)
    return [
        _row(case, correct, difference, seconds.get(id(case), [])) | work.get(id(case), {})
        for case, (correct, difference) in zip(cases, gates, strict=True)
    ]


def timed(function: Callable[[], Any]) -> float:
    """Seconds of one call; a GPU is waited for before and after."""
    _synchronise()
    start = time.perf_counter()
    function()
    _synchronise()
    return time.perf_counter() - start


def gflop(function: Callable[[], Any]) -> float:
    """Operations (10^9; a product and a sum are two) in the products and convolutions of one call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e9


def scaling_exponent(
    sizes: Sequence[float], functions: Sequence[Callable[[], Any]], rounds: int = MIN_ROUNDS
) -> float:
    """Slope of log time over log size: 1 where twice the work takes twice the time.

    The functions are called in turn, round by round after a warm-up; the median of each is fitted.

    Raises:
        ParameterError: fewer than three sizes, or not one function per size.
    """
    if len(sizes) != len(functions):
        raise ParameterError(f"sizes: {len(sizes)} of them for {len(functions)} functions")
    for function in functions:
        function()
    seconds = [[timed(function) for function in functions] for _ in range(rounds)]
    return fitted_exponent(sizes, [statistics.median(column) for column in zip(*seconds, strict=True)])


def fitted_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Least-squares slope of log seconds over log size.

    Raises:
        ParameterError: fewer than three sizes, sizes that are all equal, or numbers that are not positive.
    """
    if len(sizes) < 3 or len(set(sizes)) < 2 or min(*sizes, *seconds) <= 0:
        raise ParameterError(f"sizes = {list(sizes)}: three or more, positive and different, are needed")
    logs = [math.log(size) for size in sizes]
    return statistics.linear_regression(logs, [math.log(second) for second in seconds]).slope


def exponent_row(name: str, what: str, exponent: float) -> dict[str, Any]:
    """A row of a benchmark that says how the time of ``name`` grows with ``what``."""
    return {
        "id": name,
        "workload": f"how time grows with {what}",
        "peer": "itself",
        **dict.fromkeys(("peer_s", "ours_s", "ratio", "goal", "control")),
        "exponent": exponent,
        "correct": True,
        "difference": f"exponent {exponent:.2f}",
    }


def machine_limits() -> dict[str, float]:
    """What this machine can do now: GB/s of a large copy (both ways counted), GFLOP/s of a matrix product."""
    large = torch.zeros(64 * 2**20 // 4)
    target = torch.empty_like(large)
    copy = statistics.median(timed(lambda: target.copy_(large)) for _ in range(MIN_ROUNDS))
    return {
        "copy_gb_per_s": round(2 * large.numel() * 4 / copy / 1e9, 1),
        "product_gflop_per_s": _product_rate(torch.float32),
        "bfloat16_product_gflop_per_s": _product_rate(torch.bfloat16),
        "threads": torch.get_num_threads(),
    }


def _product_rate(dtype: torch.dtype, side: int = 2048) -> float:
    left, right = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    seconds = statistics.median(timed(lambda: left @ right) for _ in range(MIN_ROUNDS))
    return round(2 * side**3 / seconds / 1e9, 1)


def _gate(case: Case) -> tuple[bool, str]:
    try:
        return True, case.gate()
    except AssertionError as error:
        return False, str(error).strip().splitlines()[0]


def _row(case: Case, correct: bool, difference: str, seconds: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": case.id, "workload": case.workload, "peer": case.peer}
    row |= dict.fromkeys(("peer_s", "ours_s", "peer_gflop", "ours_gflop", "ratio"))
    row |= {"goal": case.goal or None}
    row |= {"correct": correct, "difference": difference, "control": None}
    if seconds:
        peer, ours, again = (statistics.median(column) for column in zip(*seconds, strict=True))
        peer /= case.peer_share
        row |= {"peer_s": peer, "ours_s": ours, "ratio": peer / ours, "control": again / ours}
    return row


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
