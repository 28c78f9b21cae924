"""Small recordings, made by the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from tokenizers import Tokenizer

from mtl.datasets.angiography import SEGMENTS, Clip, Stenosis, write_report
from mtl.datasets.angiography.tokenizer import train_tokenizer


def ramp(n_frames: int = 8, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Grey frames uint8 ``(T, H, W)``: frame t has the level 20 + 25 t, and a bright upper left quarter."""
    frames = np.empty((n_frames, *shape), np.uint8)
    frames[:] = (20 + 25 * np.arange(n_frames))[:, None, None]
    frames[:, : shape[0] // 2, : shape[1] // 2] += 10
    return frames


def write_movie(path: Path, frames: np.ndarray, codec: str = "ffv1", pixels: str = "gray") -> Path:
    """Write frames; ffv1 in gray loses nothing."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pixels))
            )
        container.mux(stream.encode())
    return path


def a_clip(
    name: str = "c0", stenoses: Sequence[Stenosis] = (), patient: str = "p0", study: str | None = None
) -> Clip:
    """A clip of eight frames in memory, left view, with a true report."""
    findings = [(found.segment, found.percent) for found in stenoses]
    return Clip(
        name, study or name, patient, "left", write_report("left", findings, 0), tuple(stenoses), ramp(), 15.0
    )


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Trained on a report of every segment, percent and wording."""
    return train_tokenizer(
        [
            write_report(view, [(name, percent)], wording)
            for view, names in SEGMENTS.items()
            for name in names
            for percent in range(5, 105, 5)
            for wording in range(6)
        ]
        + [write_report(view, [], wording) for view in SEGMENTS for wording in range(6)],
        600,
    )
