"""How much memory a call takes: bytes of tensors, counted by the allocator, the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak_bytes(step: Callable[[], Any]) -> int:
    """Most bytes of tensors that live at once during a call, beside those that lived before (CPU)."""
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        kept = step()
    del kept
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
