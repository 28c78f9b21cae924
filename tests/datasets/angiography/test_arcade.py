"""ARCADE: the traps of its README, on made-up folders and on the real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.datasets.angiography import read_arcade, split_clips
from mtl.datasets.angiography.arcade import NOT_ASSESSED
from mtl.datasets.angiography.arcade_labels import CLASSES, NAMES, read_outlines, segment_of
from mtl.errors import DataError

SIDE = 64


def square(kind: int, y0: float, x0: float, y1: float, x1: float) -> str:
    """A line of a YOLO file."""
    return f"{kind} {x0} {y0} {x1} {y0} {x1} {y1} {x0} {y1}\n"


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE)).astype(np.uint8)


def add_stenosis(root: Path, part: str, images: dict[str, np.ndarray], boxes: dict[str, list]) -> None:
    """Images of the stenosis task; their ids have nothing to do with their names."""
    folder = root / "arcade" / "stenosis" / part
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for name, image in images.items():
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
    ids = {name: 900 - row for row, name in enumerate(images)}
    stored = {
        "categories": [{"id": 25, "name": "14b"}, {"id": 26, "name": "stenosis"}],
        "images": [{"id": ids[n], "file_name": f"{n}.png", "height": SIDE, "width": SIDE} for n in images],
        "annotations": [
            {"image_id": ids[name], "category_id": 26, "bbox": box} for name in boxes for box in boxes[name]
        ],
    }
    (folder / "annotations" / f"{part}.json").write_text(json.dumps(stored))


def add_syntax(root: Path, part: str, images: dict[str, np.ndarray], labels: dict[str, str]) -> None:
    folder = root / "arcade" / "syntax" / part
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for name, image in images.items():
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
        (folder / "labels" / f"{name}.txt").write_text(labels[name])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Picture 1 in both tasks (7.png and 3.png, once as RGB); 7.png of syntax is another picture."""
    rgb = np.repeat(grey(1)[..., None], 3, axis=2)
    add_stenosis(
        tmp_path, "test", {"7": grey(1), "8": grey(2), "9": grey(5)},
        {"7": [[32, 8, 16, 16]], "8": [[0, 0, 8, 8]]},
    )  # fmt: skip
    two = square(6, 0.0, 0.0, 0.2, 1.0) + square(5, 0.2, 0.4, 0.6, 1.0)
    labels = {"3": two, "7": square(1, 0.1, 0.1, 0.5, 0.5)}
    add_syntax(tmp_path, "test", {"3": rgb, "7": grey(3)}, labels)
    return tmp_path


def test_a_picture_in_both_tasks_is_one_clip_with_both_labels(folder: Path) -> None:
    clips = {clip.id: clip for clip in read_arcade(folder)}
    names = ("stenosis/test/7", "stenosis/test/8", "stenosis/test/9", "syntax/test/7")
    assert list(clips) == [f"arcade/{name}" for name in names]
    both = clips["arcade/stenosis/test/7"]
    assert both.view == "left" and both.stenoses_known
    # Class 5 is COCO category 6, SYNTAX segment 6 = pLAD; it covers more of the box than class 6, mLAD.
    assert [found.segment for found in both.stenoses] == ["pLAD"]
    assert both.stenoses[0].box == (8 / 64, 32 / 64, 24 / 64, 48 / 64), "y first, corners, relative"
    assert both.stenoses[0].percent is None and "%" not in both.report
    assert "pLAD, mLAD" in both.report


def test_missing_is_not_absent(folder: Path) -> None:
    clips = {clip.id: clip for clip in read_arcade(folder)}
    unlabelled = clips["arcade/syntax/test/7"]
    assert not unlabelled.stenoses_known and unlabelled.stenoses == () and unlabelled.view == "right"
    assert NOT_ASSESSED in unlabelled.report and "no significant" not in unlabelled.report.lower()
    nowhere = clips["arcade/stenosis/test/8"]
    assert nowhere.view is None and nowhere.findings == ((None, None),)
    free = clips["arcade/stenosis/test/9"]
    assert free.stenoses_known and "no significant stenosis" in free.report.lower()


def test_clips_are_stills_and_nobody_knows_the_patients(folder: Path) -> None:
    clips = read_arcade(folder / "arcade")
    assert all(not clip.patient_known for clip in clips) and len({clip.patient for clip in clips}) == 4
    assert clips[0].read(5, 32).video.shape == (3, 5, 32, 32)


def test_a_box_outside_all_segments_has_no_location(folder: Path) -> None:
    outlines = read_outlines(folder / "arcade/syntax/test/labels/7.txt")
    assert segment_of((0.6, 0.6, 0.9, 0.9), outlines) is None
    assert segment_of((0.4, 0.4, 0.9, 0.9), outlines) == "mRCA"


def test_names_of_all_classes() -> None:
    assert len(CLASSES) == 26 and set(NAMES) == set(CLASSES[:-1])
    assert [NAMES[CLASSES[k]] for k in (0, 4, 5, 19, 22, 23, 24)] == [
        "pRCA",
        "LM",
        "pLAD",
        "PLB",
        "PLB",
        "OM2",
        "LPL",
    ]


def test_pairs_are_held_against_the_pixels(folder: Path) -> None:
    head = "stenosis_image,syntax_image\n"
    pair = "arcade/stenosis/test/images/7.png,arcade/syntax/test/images/{}.png\n"
    (folder / "pairs.csv").write_text(head + pair.format(3))
    assert len(read_arcade(folder)) == 4
    (folder / "pairs.csv").write_text(head + pair.format(7))
    with pytest.raises(DataError, match="stenosis/test/7 and arcade/syntax/test/7 are not one picture"):
        read_arcade(folder)
    (folder / "pairs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"pairs\.csv: columns stenosis_image"):
        read_arcade(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("25 0.1 0.1 0.2 0.1 0.2 0.2", "class 25; 0 to 24"),
        ("x 0.1 0.1 0.2 0.1 0.2 0.2", "class x1 y1"),
        ("3 0.1 0.1 0.2 0.1 0.2", "at least three points"),
        ("3 0.1 0.1 0.2 0.1 1.2 0.2", "coordinates in 0..1"),
    ],
)
def test_damaged_polygons_are_refused(folder: Path, line: str, message: str) -> None:
    (folder / "arcade/syntax/test/labels/7.txt").write_text(f"{square(1, 0, 0, 1, 1)}{line}\n")
    with pytest.raises(DataError, match=rf"7\.txt: line 2: .*{message}"):
        read_arcade(folder)


def test_labels_and_pictures_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    task = folder / "arcade/stenosis/test"
    labels = task / "annotations/test.json"
    whole = json.loads(labels.read_text())
    (task / "images/8.png").rename(task / "images/10.png")
    with pytest.raises(DataError, match=r"test\.json: labels 8\.png, which the images folder lacks"):
        read_arcade(folder)
    fewer = [entry for entry in whole["images"] if entry["file_name"] != "8.png"]
    labels.write_text(json.dumps(whole | {"images": fewer, "annotations": []}))
    with pytest.raises(DataError, match=r"has no label for 10\.png"):
        read_arcade(folder)
    for broken, message in (
        (whole | {"categories": []}, "a category 'stenosis'"),
        (whole | {"annotations": [{"category_id": 26, "image_id": 1, "bbox": [0, 0, 1, 1]}]}, "COCO"),
        (whole | {"annotations": [{"category_id": 26, "image_id": 900, "bbox": [70, 0, 9, 9]}]}, "outside"),
        ([], "COCO"),
    ):
        labels.write_text(json.dumps(broken))
        with pytest.raises(DataError, match=message):
            read_arcade(folder)
    with pytest.raises(DataError, match="expected ARCADE's folders"):
        read_arcade(tmp_path / "nothing")
    (tmp_path / "bare" / "syntax").mkdir(parents=True)
    with pytest.raises(DataError, match="no picture in"):
        read_arcade(tmp_path / "bare")


@pytest.mark.real_data
def test_the_real_pictures(data_root: Path) -> None:
    root = data_root / "arcade_angiography"
    clips = {clip.id: clip for clip in read_arcade(root)}
    files = list((root / "arcade").glob("*/*/images/*.png"))
    assert len(files) == 27 and len(clips) == 27 - 8, "8 pairs count once"
    assert {Image.open(path).mode for path in files} == {"L", "RGB"}
    both = [clip for clip in clips.values() if clip.stenoses_known and clip.view]
    assert len(both) == 8 and sum(clip.view == "left" for clip in both) == 4, "balanced, says the README"
    assert all(found.segment for clip in both for found in clip.stenoses)
    assert sum(len(clip.stenoses) for clip in clips.values()) == 22
    for clip in clips.values():
        assert "%" not in clip.report and "no significant" not in clip.report.lower()
        assert clip.stenoses_known == ("arcade/stenosis" in clip.id)
        assert (NOT_ASSESSED in clip.report) == (not clip.stenoses_known)
        assert clip.read(2, 64).frames.std() > 0.02
    # 5.png of the stenosis task shows what 17.png of the segment task shows (LAD and LM: classes 4 to 7).
    assert "Outlined: LM, pLAD, mLAD, dLAD." in clips["arcade/stenosis/test/5"].report
    split = split_clips(list(clips.values()), 0.25, 0.25)
    assert sum(map(len, (split.folds[0].train, split.folds[0].validation, split.folds[0].test))) == 19
