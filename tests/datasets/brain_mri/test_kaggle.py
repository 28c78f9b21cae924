"""The Kaggle folder: pairing, unknown masks, groups, clear errors; the README's facts on the real files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.datasets.brain_mri.kaggle import KaggleTumor
from mtl.datasets.brain_mri.slices import Slice
from mtl.datasets.pictures import open_picture, picture_files
from mtl.errors import DataError, ParameterError


def by_name(source: KaggleTumor) -> dict[str, Slice]:
    return {item.id.removeprefix(f"{source.name}/"): item for item in source.slices}


def test_labels_masks_and_ids(kaggle_folder: Path) -> None:
    source = KaggleTumor(kaggle_folder)
    items = by_name(source)
    assert {name: item.cls for name, item in items.items()} == {
        "no/1 no.JPG": 0, "no/No2.jpeg": 0, "yes/Y1.jpg": 1, "yes/Y92.jpg": 1, "yes/Y92.png": 1,
    }  # fmt: skip
    assert not items["yes/Y92.jpg"].has_mask, "a missing mask of a yes picture is unknown"
    assert items["no/No2.jpeg"].has_mask, "a no picture has an empty mask"
    assert not any(item.strong for item in source.slices)


def test_twins_of_one_stem_are_paired_by_extension(kaggle_folder: Path) -> None:
    source = KaggleTumor(kaggle_folder)
    items = by_name(source)
    assert source.read(items["yes/Y92.jpg"])[1] is None
    assert source.read(items["yes/Y92.png"])[1].sum() == 400
    assert abs(int(source.read(items["yes/Y1.jpg"])[1].sum()) - 144) <= 4, "JPEG rims, cut at 127"
    assert source.read(items["no/1 no.JPG"])[1].sum() == 0


def test_the_folder_itself_will_do_as_root(kaggle_folder: Path) -> None:
    inner = KaggleTumor(kaggle_folder / "brain_tumor_dataset")
    assert inner.slices == KaggleTumor(kaggle_folder).slices


def test_groups_csv_decides_groups_and_masks(kaggle_folder: Path) -> None:
    rows = [
        "file,label,near_duplicate_group,mask",
        "brain_tumor_dataset/yes/Y1.jpg,yes,g1,",
        "brain_tumor_dataset/yes/Y92.jpg,yes,g2,masks/Y92.png",
        "brain_tumor_dataset/yes/Y92.png,yes,g2,",
        "brain_tumor_dataset/no/1 no.JPG,no,g3,",
        "brain_tumor_dataset/no/No2.jpeg,no,g4,",
    ]
    (kaggle_folder / "groups.csv").write_text("\n".join(rows) + "\n")
    items = by_name(KaggleTumor(kaggle_folder))
    assert items["yes/Y92.jpg"].group == items["yes/Y92.png"].group == "kaggle/g2"
    assert [name for name, item in items.items() if item.cls and item.has_mask] == ["yes/Y92.jpg"]
    (kaggle_folder / "groups.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(DataError, match=r"does not list no/No2\.jpeg"):
        KaggleTumor(kaggle_folder)
    rows[1] = "brain_tumor_dataset/yes/Y1.jpg,yes,g1,masks/gone.jpg"
    (kaggle_folder / "groups.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"gone\.jpg.*lists it"):
        KaggleTumor(kaggle_folder)


def test_without_groups_csv_copies_are_found(kaggle_folder: Path) -> None:
    yes = kaggle_folder / "brain_tumor_dataset" / "yes"
    copy = Image.open(yes / "Y92.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((120, 135))
    copy.save(yes / "Y200.png")
    items = by_name(KaggleTumor(kaggle_folder))
    assert items["yes/Y200.png"].group == items["yes/Y92.png"].group
    assert len({item.group for item in items.values()}) == 5
    assert all(item.patient == item.group for item in items.values())


def test_extended_groups_hold_both_groupings(kaggle_folder: Path) -> None:
    yes = kaggle_folder / "brain_tumor_dataset" / "yes"
    (yes / "Y300.png").write_bytes((yes / "Y92.png").read_bytes())
    names = [f"yes/{path.name}" for path in picture_files(yes)] + ["no/1 no.JPG", "no/No2.jpeg"]
    group = {name: f"g{number}" for number, name in enumerate(names)} | {
        "yes/Y1.jpg": "a",
        "yes/Y92.png": "a",
    }
    lines = [f"brain_tumor_dataset/{name},{name.split('/')[0]},{group[name]}," for name in names]
    text = "\n".join(["file,label,near_duplicate_group,mask", *lines])
    (kaggle_folder / "groups.csv").write_text(text)
    given, extended = (
        by_name(KaggleTumor(kaggle_folder)),
        by_name(KaggleTumor(kaggle_folder, extend_groups=True)),
    )
    assert given["yes/Y300.png"].group != given["yes/Y92.png"].group
    assert len({extended[name].group for name in ("yes/Y300.png", "yes/Y92.png", "yes/Y1.jpg")}) == 1
    assert len({item.group for item in extended.values()}) == 4


@pytest.mark.parametrize(("shape", "kept"), [((180, 160), True), ((91, 80), True), ((90, 84), False)])
def test_a_mask_of_another_size(
    kaggle_folder: Path, make_spot: Callable[..., np.ndarray], shape: tuple[int, int], kept: bool
) -> None:
    mask = kaggle_folder / "masks" / "Y92.png"
    Image.fromarray(make_spot(shape, size=24)).save(mask)
    source = KaggleTumor(kaggle_folder)
    item = by_name(source)["yes/Y92.png"]
    assert item.has_mask is kept
    assert [finding.where for finding in source.problems] == [str(mask)]
    image, read = source.read(item)
    if kept:
        assert read.shape == image.shape == (90, 80) and read.any()
        KaggleTumor(kaggle_folder, mask_mismatch="error")
    else:
        assert read is None and "unknown" in source.problems[0].message
        with pytest.raises(DataError, match=r"Y92\.png has 84x90 pixels.*Y92\.png 80x90"):
            KaggleTumor(kaggle_folder, mask_mismatch="error")


def test_a_mask_without_a_picture_is_reported(
    kaggle_folder: Path, make_spot: Callable[..., np.ndarray]
) -> None:
    Image.fromarray(make_spot()).save(kaggle_folder / "masks" / "Y7.jpg")
    (finding,) = KaggleTumor(kaggle_folder).problems
    assert finding.where.endswith("Y7.jpg") and "not used" in finding.message


def test_missing_and_empty_folders_are_named(kaggle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        KaggleTumor(tmp_path / "nowhere")
    no = kaggle_folder / "brain_tumor_dataset" / "no"
    for path in picture_files(no):
        path.unlink()
    (no / "Thumbs.db").write_bytes(b"")
    with pytest.raises(DataError, match="no: holds no picture"):
        KaggleTumor(kaggle_folder)
    (no / "Thumbs.db").unlink()
    no.rmdir()
    with pytest.raises(DataError, match=r"no: no such folder.*yes/ and no/"):
        KaggleTumor(kaggle_folder)


def test_a_truncated_picture_is_named_when_read(kaggle_folder: Path) -> None:
    (kaggle_folder / "groups.csv").write_text(
        "file,label,near_duplicate_group,mask\n"
        + "".join(f"yes/{name},yes,g,\n" for name in ("Y1.jpg", "Y92.jpg", "Y92.png"))
        + "no/1 no.JPG,no,h,\nno/No2.jpeg,no,h,\n"
    )
    path = kaggle_folder / "brain_tumor_dataset" / "yes" / "Y1.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    source = KaggleTumor(kaggle_folder)
    with pytest.raises(DataError, match=r"Y1\.jpg: expected a complete picture"):
        source.read(by_name(source)["yes/Y1.jpg"])


def test_an_unknown_policy_is_refused(kaggle_folder: Path) -> None:
    with pytest.raises(ParameterError, match="mask_mismatch"):
        KaggleTumor(kaggle_folder, mask_mismatch="guess")


@pytest.fixture(scope="module")
def real(data_root: Path) -> KaggleTumor:
    return KaggleTumor(data_root / "brain_mri_253")


@pytest.mark.real_data
def test_real_counts_are_the_readmes(real: KaggleTumor) -> None:
    assert len(real.slices) == 185
    assert [sum(item.cls == label for item in real.slices) for label in (1, 0)] == [113, 72]
    assert len({item.group for item in real.slices}) == 133
    assert len(picture_files(real.extras / "masks")) == 95
    groups = defaultdict(set)
    for item in real.slices:
        groups[item.group].add(item.cls)
    assert all(len(labels) == 1 for labels in groups.values())


@pytest.mark.real_data
def test_real_formats_and_modes(real: KaggleTumor) -> None:
    """The README's six disguised PNGs are of the whole 253; three of them are in this part, all RGBA."""
    disguised = {}
    for item in real.slices:
        picture, path = open_picture(real.path_of(item)), real.path_of(item)
        if picture.format == "PNG" and path.suffix.lower() in (".jpg", ".jpeg"):
            disguised[path.name] = picture.mode
    assert disguised == {"No15.jpg": "RGBA", "No17.jpg": "RGBA", "no.jpg": "RGBA"}


@pytest.mark.real_data
def test_real_masks(real: KaggleTumor) -> None:
    items = by_name(real)
    assert sum(item.has_mask for item in real.slices if item.cls) == 94, "95 less Y163"
    assert not items["yes/Y163.JPG"].has_mask
    (finding,) = real.problems
    assert "Y163.jpg" in finding.where and "271x307" in finding.message and "270x316" in finding.message
    with pytest.raises(DataError, match=r"Y163\.jpg.*271x307"):
        KaggleTumor(real.extras, mask_mismatch="error")
    image, mask = real.read(items["yes/Y92.png"])
    assert mask.shape == image.shape == (300, 240) and 0.02 < mask.mean() < 0.3
    for item in real.slices:
        if item.cls and item.has_mask:
            image, mask = real.read(item)
            assert mask.shape == image.shape and mask.sum() >= 10, item.id


@pytest.mark.real_data
def test_real_copies_have_masks_that_nearly_agree(real: KaggleTumor) -> None:
    items = by_name(real)

    def dice(first: str, second: str) -> float:
        one, other = (real.read(items[f"yes/{name}.jpg"])[1] > 0 for name in (first, second))
        return 2 * (one & other).sum() / (one.sum() + other.sum())

    assert dice("Y31", "Y62") == pytest.approx(0.66, abs=0.01)
    files = defaultdict(list)
    for name, item in items.items():
        if item.cls and item.has_mask:
            files[hashlib.sha256(real.path_of(item).read_bytes()).hexdigest()].append(Path(name).stem)
    pairs = [(names[0], other) for names in files.values() for other in names[1:] if names[0] != "Y31"]
    scores = sorted(dice(*pair) for pair in pairs)
    assert scores[-3:] == [1.0, 1.0, 1.0], "three copies carry the very same mask"
    assert len(scores) == 12 and scores[0] > 0.9 and scores[-4] < 0.98, "the others were drawn twice"
