"""The annotation desk without a browser: clicks and buttons become actions, on the disk, of a real study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mtl.errors import MissingArtefactError, ParameterError
from mtl.inference.histology.annotation_session import AnnotationSession
from mtl.interactive.histology_annotation import OUTLINED_COLOUR, PROPOSED_COLOUR, AnnotationDesk
from mtl.studies.histology.annotation_by_hand import AnnotationByHand, file_names
from mtl.studies.histology.parameters import HistologyParameters
from mtl.studies.histology.study import HistologyStudy

ROOT = Path(__file__).resolve().parents[2]
SIDE = 40


class Tile:
    def __init__(self, group: str) -> None:
        self.group, self.image = group, np.full((SIDE, SIDE, 3), 200, np.uint8)


def square(top: int, left: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + 8, left : left + 8] = True
    return mask


class Scripted:
    """Proposes two squares on every tile; after a training a third one."""

    def __init__(self, folder: Path) -> None:
        self.tiles = {"a": Tile("slide 1"), "b": Tile("slide 2")}
        self.session = AnnotationSession(folder, dict.fromkeys(self.tiles, (SIDE, SIDE)))
        self.trainings, self.folder = 0, folder

    def proposals(self, tile: str) -> tuple[np.ndarray, np.ndarray]:
        settled = (self.session.instances(tile) > 0) | self.session.rejected(tile)
        squares = [square(2, 2), square(2, 20), *([square(20, 20)] if self.trainings else [])]
        free = [s for s in squares if not (s & settled).any()]
        return sum((k * s for k, s in enumerate(free, 1)), np.zeros((SIDE, SIDE), int)), np.ones(len(free))

    def nucleus_around(self, tile: str, place: tuple[int, int]) -> np.ndarray:
        if place[0] > 35:
            raise ParameterError("draw its outline instead")
        return square(place[0] - 4, place[1] - 4)

    def act(self, action: str, tile: str, mask: np.ndarray) -> None:
        getattr(self.session, action)(tile, mask, round=self.trainings + 1)

    def train(self, on_step=None) -> int:
        if not self.session.counts()["outlined"]:
            raise ParameterError("no nucleus is outlined yet")
        for done in range(3):
            on_step(done + 1, 3)
        self.trainings += 1
        return self.session.counts()["outlined"]

    def save(self, folder=None) -> list[Path]:
        return [self.folder / "a.tif"] if self.session.counts()["outlined"] else []


@pytest.fixture
def desk(tmp_path: Path) -> AnnotationDesk:
    return AnnotationDesk(Scripted(tmp_path))


def click(desk: AnnotationDesk, y: int, x: int, positive: int = 1) -> str:
    desk.canvas.points = [(0, y, x, positive)]
    return desk.canvas.message


def test_clicks_accept_reject_and_add(desk: AnnotationDesk) -> None:
    assert click(desk, 5, 5) == "Accepted: 64 pixels. Here 1 outlined, 1 proposed."
    assert click(desk, 5, 25, 0) == "Rejected: 64 pixels. Here 1 outlined, 0 proposed."
    assert click(desk, 30, 10) == "Added: 64 pixels. Here 2 outlined, 0 proposed."
    assert desk.canvas.points == () and desk.canvas.last_error is None
    assert [e.action for e in desk.session.entries] == ["accept", "reject", "add"]
    assert np.array_equal(desk.canvas.instances == 2, square(26, 6))


def test_colours_tell_outlined_from_proposed(desk: AnnotationDesk) -> None:
    assert set(desk.canvas.instance_colours.values()) == {PROPOSED_COLOUR}
    click(desk, 5, 5)
    colours = desk.canvas.instance_colours
    assert colours[1] == OUTLINED_COLOUR and colours[2] == PROPOSED_COLOUR
    assert np.array_equal(desk.canvas.instances == 2, square(2, 20))


def test_an_outline_adds_a_nucleus(desk: AnnotationDesk) -> None:
    desk.canvas.draw_outline([(20, 20), (20, 30), (30, 30), (30, 20)])
    assert desk.canvas.message.startswith("Added: ") and desk.canvas.outline is None
    added = desk.session.instances("a") == 1
    assert added[25, 25] and 80 <= added.sum() <= 121


def test_what_cannot_be_done_says_why_and_leaves_no_point(desk: AnnotationDesk) -> None:
    for y, x, positive, why in (
        (38, 5, 1, "draw its outline"),
        (30, 10, 0, "nothing to reject"),
    ):
        assert why in click(desk, y, x, positive) and isinstance(desk.canvas.last_error, ParameterError)
        assert desk.canvas.points == ()
    for button, why in (("Train", "no nucleus is outlined"), ("Save files", "nothing to save")):
        desk.press(button)
        assert why in desk.canvas.message
    assert desk.progress.layout.visibility == "hidden" and desk.session.entries == []


def test_training_proposes_anew_and_shows_how_far_it_is(desk: AnnotationDesk) -> None:
    click(desk, 5, 5)
    seen = []
    desk.progress.observe(
        lambda change: seen.append((change["new"], desk.progress.layout.visibility)), "value"
    )
    desk.press("Train")
    assert desk.canvas.message == "Trained 3 steps on 1 outlined nuclei. Here 1 outlined, 2 proposed."
    assert seen == [(1, "visible"), (2, "visible"), (3, "visible")]
    assert desk.progress.layout.visibility == "hidden"


def test_tiles_turn_and_undo_goes_to_the_tile_of_the_action(desk: AnnotationDesk) -> None:
    desk.press("Accept all")
    assert "Accepted: 2 proposals" in desk.canvas.message
    desk.press("Next tile")
    assert desk.tile == "b" and "Tile 2 of 2" in desk.canvas.message and "slide 2" in desk.canvas.label
    desk.press("Undo action")
    assert desk.tile == "a" and desk.canvas.message == "Undone: accept. Here 1 outlined, 1 proposed."
    desk.press("Previous tile")
    assert desk.tile == "b"
    for _ in range(2):
        desk.press("Undo action")
    assert desk.canvas.message == "There is no action to undo."


def test_reopening_goes_on_and_says_so(desk: AnnotationDesk, tmp_path: Path) -> None:
    click(desk, 5, 5)
    again = AnnotationDesk(Scripted(tmp_path))
    assert "1 actions are there" in again.canvas.message
    assert np.array_equal(again.canvas.instances == 1, square(2, 2))


def test_a_report_gets_a_still(desk: AnnotationDesk) -> None:
    data, metadata = desk._repr_mimebundle_()
    assert data["image/png"] and "2 instances" in metadata["image/png"]["alt"]


# ---------------------------------------------------------------------- with a real study


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> HistologyStudy:
    values = {"output_root": str(tmp_path_factory.mktemp("outputs"))}
    found = HistologyStudy(HistologyParameters.from_yaml(ROOT / "params/histology/smoke.yaml", values))
    with pytest.raises(MissingArtefactError, match="03_training"):
        AnnotationByHand(found)
    found.train_one(found.first)
    return found


def test_a_person_annotates_trains_and_goes_on_after_a_kill(study: HistologyStudy) -> None:
    hand = AnnotationByHand(study, "person")
    desk = AnnotationDesk(hand)
    tile = hand.tiles[desk.tile]
    for number in tile.nucleus_ids[:2]:
        y, x = (int(c) for c in np.argwhere(tile.instances == number).mean(0))
        outline = [(y - 4, x - 4), (y - 4, x + 4), (y + 4, x + 4), (y + 4, x - 4)]
        desk.canvas.draw_outline([(max(0, a), max(0, b)) for a, b in outline])
        assert desk.canvas.last_error is None
    before = hand.maps(desk.tile).probability
    desk.press("Train")
    assert desk.canvas.last_error is None and hand.trainings == 1
    assert desk.progress.max == study.parameters.loop_steps
    assert not np.array_equal(hand.maps(desk.tile).probability, before)
    desk.press("Undo action")
    again = AnnotationByHand(study, "person")
    assert again.trainings == 1 and len(again.session.entries) == 1
    assert np.array_equal(again.maps(desk.tile).probability, hand.maps(desk.tile).probability)
    again.train()
    assert again.trainings == 2, "a second training, though less is outlined than at the first"


def test_files_of_a_person_s_work(study: HistologyStudy, tmp_path: Path) -> None:
    hand = AnnotationByHand(study, "saved")
    tile = next(iter(hand.tiles.values()))
    hand.act("add", tile.id, tile.instances == tile.nucleus_ids[0])
    picture, tiff, geojson = hand.save(tmp_path)
    assert np.array_equal(np.asarray(Image.open(picture)), tile.image)
    assert np.array_equal(tifffile.imread(tiff) > 0, tile.instances == tile.nucleus_ids[0])
    assert len(json.loads(geojson.read_text())["features"]) == 1
    hand.session.undo()
    assert hand.save(tmp_path) == [] and list(tmp_path.iterdir()) == []


def test_no_two_tiles_share_a_file() -> None:
    names = file_names(["a/b", "a_b", "a_b_1", "A/B", "c.d"])
    assert names["a/b"] == "a_b" and names["c.d"] == "c.d"
    assert len({name.casefold() for name in names.values()}) == len(names)
