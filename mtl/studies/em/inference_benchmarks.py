"""Benchmarks of what a trained network is put to: clicks (E4) and volumes larger than memory (E7)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mtl.studies.em.click_benchmarks import click_cases, click_rows
from mtl.studies.em.window_benchmarks import memory_row, window_cases
from mtl.timing import Case

IDS = ("E4", "E7")


def inference_cases(ids: Collection[str] = IDS) -> list[Case]:
    """E4 and E7 side by side; see the two modules for the workloads."""
    return [
        *(click_cases() if "E4" in ids else ()),
        *(window_cases() if "E7" in ids else ()),
    ]


def scaling_rows(ids: Collection[str] = IDS) -> list[dict[str, Any]]:
    """How a click grows with clicks and volume, and the window's memory with depth: rows with exponents."""
    return [
        *(click_rows() if "E4" in ids else ()),
        *([memory_row()] if "E7" in ids else ()),
    ]
