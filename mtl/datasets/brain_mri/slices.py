"""What every source of brain MRI slices offers: a list of `Slice` records and a reader of their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

MIN_TUMOR_PIXELS = 10


@dataclass(frozen=True)
class Slice:
    """One slice as its source knows it, without its pixels.

    ``id`` is unique over sources (``<source>/<relative name>``); ``group`` is what a split keeps together
    (a patient, or a near-duplicate group); ``cls`` is 1 for tumour; ``has_mask`` is false where the mask is
    unknown (an empty mask is known); ``strong`` tells that the *source* gives masks for all its slices.
    """

    id: str
    source: str
    patient: str
    group: str
    slice: int
    cls: int
    has_mask: bool
    strong: bool


@dataclass(frozen=True)
class Finding:
    """Something noticed about a data folder.

    ``severity`` is ``"error"`` (training would stop), ``"warning"`` (something was left out or looks wrong)
    or ``"note"``; ``where`` names the file or folder.
    """

    severity: Literal["error", "warning", "note"]
    where: str
    message: str


class Source(Protocol):
    """Anything with a name, a list of slices and a reader; ``problems`` says what was left out and why."""

    name: str
    slices: list[Slice]
    problems: list[Finding]

    def read(self, item: Slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the native image, float32 ``(H, W)``, and its mask, uint8 ``(H, W)`` of 0/1, or ``None``."""
        ...


def is_positive(mask: np.ndarray, min_tumor_pixels: int = MIN_TUMOR_PIXELS) -> int:
    """The one label rule: 1 if the native mask has at least ``min_tumor_pixels`` pixels, else 0."""
    return int(np.count_nonzero(mask) >= min_tumor_pixels)
