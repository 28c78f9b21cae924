"""The clip player without a browser: frames, attention over them, reports, clips that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.errors import DataError, ParameterError
from mtl.inference.angiography.attention_maps import CaptionAttention
from mtl.interactive.angiography_player import ATTENTION, PICTURE, AngiographyPlayer

FRAMES, SIDE = 6, 16


class Seen:
    def __init__(self, report: str, step: int) -> None:
        self.video = np.tile(np.linspace(0.2, 0.4, FRAMES)[None, :, None, None], (3, 1, SIDE, SIDE))
        self.report = report
        maps = np.zeros((2, 3, 4, 4), np.float32)
        maps[0, step, 1, 1] = maps[1, step, 3, 3] = 1
        self.attention = CaptionAttention(["severe", "LAD"], maps, maps.mean(0), 0.2)


def look(clip: str) -> Seen:
    if clip == "bad":
        raise DataError("the file ends early")
    return Seen(f"report <of> {clip}", step=1)


@pytest.fixture
def player() -> AngiographyPlayer:
    clips = {"one": "a", "two": "b", "broken": "bad"}
    near = lambda clip: [(f"near {clip}", 0.5)] if clip == "a" else []  # noqa: E731
    return AngiographyPlayer(clips, look, lambda clip: f"true {clip}", near, "A phantom.")


def test_the_first_clip_is_shown_with_its_reports(player: AngiographyPlayer) -> None:
    assert player.canvas.picture.shape == (FRAMES, SIDE, SIDE) and player.canvas.label == "one"
    told = player.told.value
    assert "report &lt;of&gt; a" in told and "true a" in told and "near a" in told and "0.50" in told
    assert "A phantom." in player.children[-1].value and player.play.max == FRAMES - 1
    assert player.canvas.slice_index == (FRAMES - 1) // 2
    assert not player.canvas.takes_points, "nothing would answer"


def test_playing_turns_the_frames(player: AngiographyPlayer) -> None:
    player.play.value = 4
    assert player.canvas.slice_index == 4
    assert player.canvas.message == "", "frames that follow each other are not read out, nor an older one"
    player.view.value = ATTENTION
    assert player.canvas.slice_index == 4 and "Frame 0" not in player.canvas.message
    player.canvas.slice_index = 2
    assert player.play.value == 2 and player.canvas.message == f"Frame 2 of 0 to {FRAMES - 1}."
    player.play.value = 4
    player.choice.value = "two"
    assert player.canvas.slice_index == 4 and "No nearest reports" in player.told.value


def test_attention_is_laid_over_the_frames_of_its_step(player: AngiographyPlayer) -> None:
    grey = player.frames()
    player.view.value = ATTENTION
    laid = player.frames()
    assert laid.shape == (FRAMES, SIDE, SIDE, 3) and 0 <= laid.min() <= laid.max() <= 1
    changed = np.abs(laid - grey[..., None]).max(axis=(1, 2, 3))
    assert changed.argmax() in (2, 3), "the second of three steps"
    player.word.value = 1
    heat = np.abs(player.frames() - grey[..., None]).sum(-1)[2:4].mean(0)
    assert heat[-1, -1] == pytest.approx(heat.max()) and heat[0, 0] == 0
    assert player.canvas.label == "one, attention of 2: LAD"
    player.view.value = PICTURE
    assert player.canvas.label == "one" and np.array_equal(player.frames(), grey)


def test_a_clip_that_cannot_be_read_says_so_and_the_player_goes_on(player: AngiographyPlayer) -> None:
    player.choice.value = "broken"
    assert isinstance(player.last_error, DataError) and "broken: the file ends early" in player.told.value
    assert player.canvas.label == "broken, which cannot be shown" and player.play.max == 0
    assert not player.canvas.picture.voxels.any(), "nothing of the clip before is left"
    player.view.value = ATTENTION
    player.choice.value = "two"
    assert player.last_error is None and "report &lt;of&gt; b" in player.told.value


def test_a_report_gets_a_still(player: AngiographyPlayer) -> None:
    player.view.value = ATTENTION
    data, metadata = player._repr_mimebundle_()
    alt = metadata["image/png"]["alt"]
    assert data["image/png"] and "attention of the whole report" in alt
    assert f", frame {player.canvas.slice_index} of {FRAMES} frames" in alt
    assert "Written: report <of> a" in alt and "True: true a" in alt and "A phantom." in alt


def test_a_player_without_clips_is_refused() -> None:
    with pytest.raises(ParameterError, match="clips: one or more"):
        AngiographyPlayer({}, look, str, lambda _: [])


def test_a_still_says_why_a_clip_cannot_be_shown(player: AngiographyPlayer) -> None:
    player.choice.value = "broken"
    assert "the file ends early" in player.still().alt
