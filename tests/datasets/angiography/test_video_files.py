"""Videos and stills: what is read is what was written; what cannot be read is said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mtl.datasets.angiography import Clip, read_video
from mtl.errors import DataError

from .conftest import ramp, write_movie


def test_a_lossless_video_comes_back(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "film.avi", ramp(8, (64, 64)))
    video = read_video(path, 8, 64)
    assert video.shape == (3, 8, 64, 64) and video.dtype.is_floating_point
    np.testing.assert_allclose(video[1].numpy(), ramp(8, (64, 64)) / 255, atol=1e-4)


def test_mp4_is_read_and_padded(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "film.MP4", ramp(8, (48, 64)), "mpeg4", "yuv420p")
    video = read_video(path, 4, 32)
    assert (video[:, :, :4] == 0).all() and (video[:, :, 28:] == 0).all()
    levels = video[0, :, 20:26, 20:30].mean((1, 2)) * 255
    np.testing.assert_allclose(levels, [20 + 25 * t for t in (1, 3, 5, 7)], atol=3), "lossy, and studio range"


def test_a_short_clip_is_repeated(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "film.avi", ramp(2, (16, 16)))
    levels = read_video(path, 4, 16)[0, :, 12, 12] * 255
    np.testing.assert_allclose(levels, [20, 20, 45, 45], atol=0.1)


def test_frames_in_memory_are_read_as_files_are(tmp_path: Path) -> None:
    frames = ramp(9, (24, 32))
    path = write_movie(tmp_path / "film.avi", frames)
    made = Clip("a", "a", "p", None, "text", (), frames)
    filed = Clip("a", "a", "p", None, "text", (), path)
    np.testing.assert_allclose(made.read(4, 20).frames, filed.read(4, 20).frames, atol=1e-4)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 51, (0.2, 0.2, 0.2)),
        ("RGB", (51, 102, 153), (0.2, 0.4, 0.6)),
        ("RGBA", (255, 255, 255, 51), (0.2, 0.2, 0.2)),
        ("I;16", 13107, (0.2, 0.2, 0.2)),
    ],
)
def test_stills_of_every_mode(tmp_path: Path, mode: str, value, expected: tuple) -> None:
    Image.new(mode, (8, 8), value).save(tmp_path / "still.png")
    video = read_video(tmp_path / "still.png", 3, 8)
    assert video.shape == (3, 3, 8, 8)
    np.testing.assert_allclose(video[:, 2, 4, 4], expected, atol=1e-4)


def test_a_jpeg_is_a_still_too(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 51).save(tmp_path / "still.jpg")
    np.testing.assert_allclose(read_video(tmp_path / "still.jpg", 1, 8), 0.2, atol=0.01)


def test_a_video_cut_short_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = write_movie(
        tmp_path / "film.avi", rng.integers(0, 255, (20, 64, 64)).astype(np.uint8)
    ).read_bytes()
    for share in (0.3, 0.8):
        (tmp_path / "cut.avi").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(
            DataError, match=r"cut\.avi: (damaged, or )?cut short|cut\.avi: expected a complete"
        ):
            read_video(tmp_path / "cut.avi", 8, 16)
    movie = write_movie(tmp_path / "film.mp4", ramp(20), "mpeg4", "yuv420p").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(movie[: len(movie) // 2])
    with pytest.raises(DataError, match=r"cut\.mp4: expected a complete video"):
        read_video(tmp_path / "cut.mp4", 8, 16)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(4000))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "film.wmv").write_bytes(b"x" * 200)
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n....")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    for name, message in (
        ("noise.avi", "expected a complete video"),
        ("empty.mp4", "the file is empty"),
        ("film.wmv", r"suffix '\.wmv' is not known; expected \.avi"),
        ("half.png", "expected a complete picture"),
        ("list.mp4", "expected a complete video"),
        ("gone.avi", "no such file"),
    ):
        with pytest.raises(DataError, match=rf"{name}: {message}"):
            read_video(tmp_path / name, 4, 16)


def test_sound_alone_and_no_frame_are_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 8000, Fraction(1, 8000), 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match=r"sound\.mkv: no video stream; found audio"):
        read_video(tmp_path / "sound.mkv", 4, 16)
    with av.open(str(tmp_path / "none.avi"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width = stream.height = 16
        container.start_encoding()
    with pytest.raises(DataError, match=r"none\.avi: a clip of zero length"):
        read_video(tmp_path / "none.avi", 4, 16)
