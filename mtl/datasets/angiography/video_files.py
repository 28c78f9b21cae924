"""Recordings from files: AVI, MP4 and their like, DICOM multi-frame, PNG and JPEG stills."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mtl.datasets.angiography.footage import Footage, make_footage
from mtl.datasets.pictures import grey_of, open_picture
from mtl.errors import DataError

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
STILL_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
#: A container may announce a few frames more than it shows (edit lists); more than this share is a loss.
MISSING_SHARE = 0.05


def read_video(path: str | Path, n_frames: int, size: int) -> torch.Tensor:
    """Read a clip: float32 ``(3, T, size, size)`` in [0, 1], T = ``n_frames``.

    Frames are the middles of T equal stretches, repeated where the recording is shorter. The aspect ratio is
    kept: the longer side is scaled to ``size``, black bars fill the rest, around the centre. Raises
    `DataError` naming the file: missing, suffix unknown, cannot be decoded, cut short, no video, no frame.
    """
    return read_footage(path, n_frames, size).video


def read_footage(path: str | Path, n_frames: int, size: int) -> Footage:
    """Read a clip as `read_video` does, with the numbers of its frames and the shape that it had."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; a video, a DICOM file or a picture is expected")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)")
    return make_footage(_frames_of(path), n_frames, size, str(path))


def still_frame(path: Path) -> np.ndarray:
    """A PNG or JPEG as float32 ``(H, W, 3)`` in [0, 1]; transparency is laid over black.

    Pictures of 16 bits are divided by 65535. Raises `DataError` as `open_picture` does.
    """
    picture = open_picture(path)
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return np.repeat((grey_of(picture) / 65535).clip(0, 1)[..., None], 3, axis=2)
    rgba = picture.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return np.asarray(flat, np.float32) / 255


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """Decode a video frame by frame: float32 ``(H, W, 3)`` in [0, 1].

    Raises `DataError`: the file is damaged, holds no video stream, or stops before its announced end.
    """
    import av

    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise DataError(f"{path}: no video stream; found {_streams(container)}")
            yield from _decoded(container, path)
    except (av.FFmpegError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a complete video, but it cannot be decoded ({error})") from error


def _frames_of(path: Path) -> Iterator[np.ndarray]:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return video_frames(path)
    if suffix in DICOM_SUFFIXES or (suffix not in STILL_SUFFIXES and _has_dicom_mark(path)):
        from mtl.datasets.angiography.dicom_files import dicom_frames

        return dicom_frames(path)
    if suffix in STILL_SUFFIXES:
        return iter([still_frame(path)])
    known = ", ".join(sorted(VIDEO_SUFFIXES | DICOM_SUFFIXES | STILL_SUFFIXES))
    raise DataError(f"{path}: suffix {suffix!r} is not known; expected {known}, or a DICOM file")


def _decoded(container, path: Path) -> Iterator[np.ndarray]:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    shown = hidden = 0
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise DataError(f"{path}: damaged, or cut short, after frame {shown}")
        hidden += packet.is_discard
        for frame in packet.decode():
            shown += 1
            yield frame.to_ndarray(format="rgb24").astype(np.float32) / 255
    if shown + hidden < (1 - MISSING_SHARE) * stream.frames:
        raise DataError(f"{path}: cut short: {stream.frames} frames are announced, {shown} are there")


def _streams(container) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "no stream at all"


def _has_dicom_mark(path: Path) -> bool:
    """A DICOM file, whatever its name, has ``DICM`` after 128 bytes."""
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"
