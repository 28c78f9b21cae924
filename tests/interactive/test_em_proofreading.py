"""The proofreading desk without a browser: points and buttons change labels, which are on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mtl.errors import DataError, ParameterError
from mtl.inference.em.click_session import ClickSession
from mtl.inference.em.proofreading import Proofreading
from mtl.interactive.em_proofreading import OPEN_COLOUR, ProofreadingDesk
from mtl.models.em import EMModel

SHAPE = (3, 20, 30)


class PerfectSession:
    """Answers with the true object under the last positive click, and nothing without one."""

    shape = SHAPE

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth

    def answer(self, points, labels) -> np.ndarray:
        positive = [point for point, label in zip(points, labels, strict=True) if label]
        return self.truth == self.truth[positive[-1]] if positive else np.zeros(SHAPE, bool)

    def clear(self) -> None:
        pass


def truth() -> np.ndarray:
    """Three objects side by side: 1, 2 and 3."""
    labels = np.zeros(SHAPE, int)
    for number in range(3):
        labels[:, 2:18, 10 * number + 1 : 10 * number + 9] = number + 1
    return labels


@pytest.fixture
def desk(tmp_path: Path) -> ProofreadingDesk:
    """The segmentation has objects 1 and 2 as one (7), and object 3 in two parts (8, 9)."""
    found = np.select([truth() == 3, truth() > 0], [8, 7], 0)
    found[:, 10:18, 20:][found[:, 10:18, 20:] == 8] = 9
    image = np.random.default_rng(0).random(SHAPE)
    return ProofreadingDesk(image, PerfectSession(truth()), Proofreading(tmp_path, found, (8.0, 4.0, 4.0)))


def test_a_click_shows_the_object_and_accept_takes_it_into_the_labels(desk: ProofreadingDesk) -> None:
    desk.canvas.points = [(1, 10, 5, 1)]
    assert np.array_equal(desk.canvas.mask, truth() == 1) and len(desk.seconds) == 1
    desk.press("Accept")
    assert desk.canvas.message == "Object 10 accepted: 384 voxels." and desk.canvas.last_error is None
    assert np.array_equal(desk.work.labels == 10, truth() == 1)
    assert desk.canvas.points == () and desk.canvas.mask is None
    assert np.array_equal(desk.canvas.instances, desk.work.labels)
    colours = desk.canvas.instance_colours
    assert colours[7] == colours[8] == OPEN_COLOUR != colours[10]
    assert desk.work.history[0].note["clicks"] == [[1, 10, 5, 1]]


def test_a_click_on_an_accepted_object_makes_a_better_version_of_it(desk: ProofreadingDesk) -> None:
    desk.work.accept(truth() == 1)
    desk.work.accept((truth() == 2) & (np.arange(20) < 10)[:, None])
    desk.canvas.points = [(1, 5, 15, 1)]
    desk.press("Accept")
    assert desk.canvas.message == "Object 11 replaced: 384 voxels."
    assert np.array_equal(desk.work.labels == 11, truth() == 2)


def test_split_merge_remove_and_undo_by_points(desk: ProofreadingDesk) -> None:
    desk.canvas.points = [(1, 10, 2, 1), (1, 10, 17, 0)]
    desk.press("Split")
    assert "Object 7 split: its other part is object 10" in desk.canvas.message
    assert np.array_equal(desk.work.labels == 7, truth() == 1)
    desk.canvas.points = [(1, 4, 25, 1), (1, 15, 25, 1)]
    desk.press("Merge")
    assert desk.canvas.message == "Objects 8, 9 are now object 8."
    assert np.array_equal(desk.work.labels == 8, truth() == 3)
    desk.canvas.points = [(0, 4, 25, 1)]
    desk.press("Remove")
    assert not (desk.work.labels == 8).any()
    desk.press("Undo action")
    assert desk.canvas.message == "Undone: remove of object 8." and (desk.work.labels == 8).any()
    for _ in range(3):
        desk.press("Undo action")
    assert desk.canvas.message == "There is no action to undo."


def test_what_cannot_be_done_says_why_and_keeps_points(desk: ProofreadingDesk) -> None:
    for points, button, why in (
        ([], "Accept", "a positive point is expected"),
        ([(0, 0, 0, 1)], "Merge", "two or more are expected"),
        ([(0, 10, 5, 1)], "Split", "a negative one in the other"),
        ([], "Remove", "a point on the object to remove"),
        ([(0, 0, 0, 1)], "Remove", "object 0 does not exist"),
    ):
        desk.canvas.points = points
        desk.press(button)
        assert f"{button} failed: " in desk.canvas.message and why in desk.canvas.message
        assert isinstance(desk.canvas.last_error, ParameterError)
        assert [tuple(p) for p in desk.canvas.points] == points
    assert desk.work.history == ()


def test_reopening_goes_on_and_says_so(desk: ProofreadingDesk, tmp_path: Path) -> None:
    desk.canvas.points = [(1, 10, 5, 1)]
    desk.press("Accept")
    again = ProofreadingDesk(
        np.zeros(SHAPE), PerfectSession(truth()), Proofreading(tmp_path, np.zeros(SHAPE, int))
    )
    assert (again.canvas.instances == 10).sum() == 384 and again.replay.value == 1
    assert "1 actions are there" in again.canvas.message


def test_the_slider_replays_history_and_clicks_go_on_from_the_present(desk: ProofreadingDesk) -> None:
    for x in (5, 15):
        desk.canvas.points = [(1, 10, x, 1)]
        desk.press("Accept")
    assert desk.replay.max == desk.replay.value == 2
    desk.replay.value = 1
    assert not (desk.canvas.instances == 11).any() and (desk.canvas.instances == 10).any()
    assert "after 1 of 2 actions" in desk.canvas.message
    desk.replay.value = 0
    assert set(desk.canvas.instance_colours.values()) == {OPEN_COLOUR}
    desk.canvas.points = [(1, 10, 25, 1)]
    desk.press("Accept")
    assert desk.replay.max == desk.replay.value == 3
    assert np.array_equal(desk.canvas.instances, desk.work.labels)
    desk.press("Undo action")
    assert desk.replay.max == desk.replay.value == 2


def test_a_mask_of_earlier_points_is_not_accepted(desk: ProofreadingDesk, monkeypatch) -> None:
    desk.canvas.points = [(1, 10, 5, 1)]
    monkeypatch.setattr(desk.session, "answer", lambda *_: 1 / 0)
    desk.canvas.points = [(1, 10, 5, 1), (1, 10, 15, 1)]
    desk.press("Accept")
    assert "the last click was not answered" in desk.canvas.message and desk.work.history == ()


def test_files_are_saved_beside_the_work(desk: ProofreadingDesk, tmp_path: Path) -> None:
    desk.canvas.points = [(1, 10, 5, 1)]
    desk.press("Accept")
    desk.press("Save files")
    accepted = json.loads((tmp_path / "accepted.json").read_text())
    assert accepted == {"accepted": sorted(desk.work.accepted), "corner": None}
    assert desk.canvas.last_error is None and "labels.tif" in desk.canvas.message
    assert np.array_equal(tifffile.imread(tmp_path / "labels.tif"), desk.work.labels)
    assert (tmp_path / "labels.zarr" / "0").is_dir()


def test_a_report_gets_a_still(desk: ProofreadingDesk) -> None:
    desk.canvas.points = [(1, 10, 5, 1)]
    data, metadata = desk._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data and data["image/png"]
    assert "1 positive and 0 negative points" in metadata["image/png"]["alt"]


def test_a_real_session_answers_in_two_and_three_dimensions(tmp_path: Path) -> None:
    for dims in (2, 3):
        model = EMModel(spatial_dims=dims, features=4, blocks_down=(1, 1), blocks_up=(1,), injection="late")
        shape = SHAPE[-dims:]
        image = np.random.default_rng(0).random(shape).astype(np.float32)
        work = Proofreading(tmp_path / str(dims), np.ones(shape, int), (4.0,) * dims)
        desk = ProofreadingDesk(image, ClickSession(model, image), work)
        desk.canvas.points = [(0, 10, 15, 1), (0, 3, 3, 0)]
        assert desk.canvas.last_error is None and desk.canvas.mask.shape == shape
        assert np.array_equal(desk.canvas.mask, desk.session.mask)


def test_shapes_must_agree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image \(2, 2\), session \(3, 20, 30\)"):
        ProofreadingDesk(
            np.zeros((2, 2)), PerfectSession(truth()), Proofreading(tmp_path, np.zeros(SHAPE, int))
        )
