"""Folds by group, frozen; batches with the described keys; the real sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtl.datasets.phantoms.histology import histology_phantom
from mtl.errors import ParameterError, ProtocolError
from mtl.studies.histology.data import group_split, open_run_tiles
from mtl.studies.histology.parameters import HistologyParameters
from mtl.studies.histology.study import HistologyStudy

from .conftest import smoke


def test_every_fold_tests_a_group_that_nothing_else_has(tmp_path: Path) -> None:
    study = HistologyStudy(smoke(tmp_path, folds=0))
    assert len(study.folds) == 3
    tested = set()
    for fold in study.folds:
        parts = {name: study.part(fold, name) for name in ("train", "validation", "test")}
        groups = {name: {t.group for t in tiles} for name, tiles in parts.items()}
        assert groups["test"] == set(study.split.tested_groups[fold])
        assert groups["test"].isdisjoint(groups["train"] | groups["validation"])
        assert sum(len(tiles) for tiles in parts.values()) == 9 and all(parts.values())
        assert {t.id for t in parts["train"]}.isdisjoint(t.id for t in parts["validation"])
        tested |= {t.id for t in parts["test"]}
    assert tested == set(study.tiles)


def test_the_smallest_groups_are_pooled() -> None:
    tiles = histology_phantom(11, 64, n_groups=4, radius=6)
    split = group_split(tiles, HistologyParameters(pooled_groups=2, folds=0))
    sizes = [len(fold.test) for fold in split.folds]
    assert sorted(map(len, split.tested_groups)) == [1, 1, 2] and sum(sizes) == 11
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(ParameterError, match="pooled_groups=4: 4 groups of tiles leave 1 to test"):
        group_split(tiles, HistologyParameters(pooled_groups=4))
    with pytest.raises(ParameterError, match="folds=9: there are 4 test groups"):
        group_split(tiles, HistologyParameters(folds=9))


def test_a_run_keeps_its_split(tmp_path: Path) -> None:
    first = HistologyStudy(smoke(tmp_path)).split
    assert HistologyStudy(smoke(tmp_path)).split == first
    with pytest.raises(ProtocolError, match="was frozen with other tiles, groups or fractions"):
        _ = HistologyStudy(smoke(tmp_path, phantom_tiles=12)).split


def test_batches_have_the_described_keys_and_ramp_up(tmp_path: Path) -> None:
    study = HistologyStudy(smoke(tmp_path, warm_up_epochs=3))
    loader = study.loader(study.first)
    for epoch, ramp in ((1, 0.25), (2, 0.5), (4, 1.0), (9, 1.0)):
        batch = next(iter(loader.batches(epoch)))
        assert batch["ramp"] == ramp
    assert {"images", "masks", "weights", "hv_maps", "hidden", "id", "valid_units"} <= set(batch)
    assert batch["images"].shape == (2, 3, 48, 48) and batch["hv_maps"].shape == (2, 1, 48, 48)
    assert set(batch["valid_units"]) == set(study.tasks("all")) and len(study.tasks("all")) == 8
    assert (batch["masks"].flatten(1).sum(1) >= 20).all()


def test_arms_of_a_fold_and_seed_see_the_same_patches_and_start_alike(tmp_path: Path) -> None:
    study = HistologyStudy(smoke(tmp_path))
    one, other = study.first, study.trainings("segmentation_only", 0.3)[0]
    a, b = (next(iter(study.loader(training).batches(1))) for training in (one, other))
    assert a["id"] == b["id"] and (a["images"] == b["images"]).all() and (a["masks"] == b["masks"]).all()
    first, second = (study.untrained_model(training).state_dict() for training in (one, other))
    assert all((first[name] == second[name]).all() for name in first)


def test_colours_are_those_of_the_training_tiles_as_the_network_sees_them(tmp_path: Path) -> None:
    """Pixel by pixel; the light by hand: the brightest of the blocks of 8 pixels, channel by channel."""
    study = HistologyStudy(smoke(tmp_path))
    seen = []
    for tile in study.part(0, "train"):
        image = tile.image / 255
        blocks = image.reshape(len(image) // 8, 8, -1, 8, 3).mean((1, 3))
        seen.append((image / blocks.max((0, 1))).reshape(-1, 3))
    model = study.untrained_model(study.first)
    assert model.mean.flatten().tolist() == pytest.approx(np.concatenate(seen).mean(0), abs=1e-3)
    assert model.std.flatten().tolist() == pytest.approx(np.concatenate(seen).std(0), abs=1e-3)
    plain = HistologyStudy(smoke(tmp_path, normalisation="none"))
    pixels = np.concatenate([tile.image.reshape(-1, 3) for tile in plain.part(0, "train")]) / 255
    assert plain.untrained_model(plain.first).mean.flatten().tolist() == pytest.approx(
        pixels.mean(0), abs=1e-3
    )


def test_a_share_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    study = HistologyStudy(smoke(tmp_path, fractions="0.000001,1"))
    with pytest.raises(ParameterError, match="leaves none of the"):
        study.loader(study.first)


@pytest.mark.real_data
def test_the_real_sets_give_the_folds_of_the_issue(data_root: Path, tmp_path: Path) -> None:
    file = Path(__file__).resolve().parents[3] / "params/histology/real.yaml"
    changes = {"data_root": str(data_root), "output_root": str(tmp_path)}
    study = HistologyStudy(HistologyParameters.from_yaml(file, changes))
    assert study.split.tested_groups == (("s03",), ("s00", "s02"))
    assert [len(fold.test) for fold in study.split.folds] == [64, 26]
    assert len(study.outside_tiles) == 3 and len(study.tiles) == 90
    with pytest.raises(ParameterError, match="appearances: no tile of .* is 'blue'"):
        open_run_tiles(study.parameters.model_copy(update={"appearances": "blue"}))
