"""A clip: the frames of one angiogram, its report, and the stenoses in it as far as they are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtl.datasets.angiography.footage import Box, Footage, make_footage, unit_frames
from mtl.datasets.angiography.video_files import read_footage
from mtl.errors import DataError

#: Segments by view, each list from the ostium outwards.
SEGMENTS: dict[str, tuple[str, ...]] = {
    "left": ("LM", "pLAD", "mLAD", "dLAD", "D1", "D2", "pLCx", "mLCx", "OM1", "OM2"),
    "right": ("pRCA", "mRCA", "dRCA", "PDA", "PLB"),
}
#: Segments that only real data name: intermediate branch, left posterolateral, left posterior descending.
RARE_SEGMENTS: dict[str, tuple[str, ...]] = {"left": ("RI", "LPL", "LPDA"), "right": ()}
UNKNOWN_PATIENT = "unknown:"


@dataclass(frozen=True)
class Stenosis:
    """A narrowing of a vessel.

    Args:
        segment: name of the segment; None: not known.
        percent: reduction of the diameter; None: not known.
        frame: number of the frame where it is best seen.
        box: y0, x0, y1, x1 relative to the image, 0..1.
    """

    segment: str | None
    percent: int | None
    frame: int
    box: Box

    def __post_init__(self) -> None:
        y0, x0, y1, x1 = self.box
        if not (0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1):
            raise DataError(f"box {self.box}: 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1 are expected")
        if self.percent is not None and not 0 < self.percent <= 100:
            raise DataError(f"percent={self.percent} of a stenosis: 1 to 100 is expected")


@dataclass(frozen=True, eq=False)
class Clip:
    """One recording and what is said about it.

    Args:
        id: unique name.
        study: examination; its clips share the report.
        patient: splits keep a patient on one side; it begins with ``unknown:`` where the source names none.
        view: ``"left"`` or ``"right"`` coronary artery; None: not known.
        report: text, never empty.
        stenoses: those that are known, with frames and boxes of the recording.
        source: a file, or the frames: uint8 ``(T, H, W)``.
        fps: frames per second; None: not known.
        stenoses_known: False where nobody looked for stenoses: then none listed does not mean none there.

    Raises `DataError` for an empty report, an unknown view, or frames of another kind.
    """

    id: str
    study: str
    patient: str
    view: str | None
    report: str
    stenoses: tuple[Stenosis, ...]
    source: Path | np.ndarray
    fps: float | None = None
    stenoses_known: bool = True

    def __post_init__(self) -> None:
        if not self.report.strip():
            raise DataError(f"clip {self.id!r}: the report is empty")
        if self.view not in (*SEGMENTS, None):
            raise DataError(f"clip {self.id!r}: view {self.view!r}; 'left', 'right' or None is expected")
        frames = self.source
        if isinstance(frames, np.ndarray) and (frames.ndim != 3 or frames.dtype != np.uint8):
            raise DataError(
                f"clip {self.id!r}: frames {frames.dtype} {frames.shape}; uint8 (T, H, W) expected"
            )

    @property
    def patient_known(self) -> bool:
        """Whether the source says who the patient is."""
        return not self.patient.startswith(UNKNOWN_PATIENT)

    @property
    def findings(self) -> tuple[tuple[str | None, int | None], ...]:
        """Segment and percent of each stenosis."""
        return tuple((stenosis.segment, stenosis.percent) for stenosis in self.stenoses)

    def read(self, n_frames: int, size: int) -> Footage:
        """Frames, sampled evenly and padded to a square; raises `DataError` as `read_footage` does."""
        if isinstance(self.source, np.ndarray):
            return make_footage(unit_frames(self.source), n_frames, size, f"clip {self.id!r}")
        return read_footage(self.source, n_frames, size)
