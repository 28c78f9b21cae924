"""Frozen splits: groups, classes, determinism, and a file that nobody can edit unnoticed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.datasets.splits import PARTS, FrozenSplit, check_disjoint, make_split
from mtl.errors import ParameterError, ProtocolError


def table(seed: int = 0, groups: int = 40) -> pd.DataFrame:
    """Two sources; groups of one to five units, classes mixed within a group of ``lgg`` only."""
    rng = np.random.default_rng(seed)
    rows = []
    for source in ("kaggle", "lgg"):
        for group in range(groups):
            positive = rng.random() < 0.6
            for unit in range(rng.integers(1, 6)):
                cls = positive if source == "kaggle" else rng.random() < 0.6
                rows.append((f"{source}/{group}/{unit}", source, f"{source}/g{group}", int(cls)))
    return pd.DataFrame(rows, columns=["id", "source", "group", "cls"])


def rows_of(data: pd.DataFrame, ids: tuple[str, ...]) -> pd.DataFrame:
    return data.set_index("id").loc[list(ids)]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), n_folds=st.integers(1, 5))
def test_every_fold_is_a_partition_into_whole_groups(seed: int, n_folds: int) -> None:
    data = table(seed % 7)
    split = make_split(data, n_folds, ["kaggle"], seed=seed)
    for fold in split.folds:
        parts = [getattr(fold, part) for part in PARTS]
        assert sorted(sum(parts, ())) == sorted(data["id"])
        groups = [set(rows_of(data, part)["group"]) for part in parts]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_cross_validated_units_are_tested_once_and_the_others_in_one_part() -> None:
    data = table()
    split = make_split(data, 5, ["kaggle"])
    tested = [identity for fold in split.folds for identity in fold.test]
    kaggle = sorted(identity for identity in tested if identity.startswith("kaggle"))
    assert kaggle == sorted(data["id"][data["source"] == "kaggle"])
    fixed = [tuple(identity for identity in fold.test if identity.startswith("lgg")) for fold in split.folds]
    assert len(set(fixed)) == 1 and fixed[0]


def test_fractions_and_classes_are_met_in_every_source() -> None:
    data = table(groups=80)
    split = make_split(data, 1, test_fraction=0.25, validation_fraction=0.2)
    (fold,) = split.folds
    for source in ("kaggle", "lgg"):
        rows = data[data["source"] == source]
        shares = {"test": 0.25, "validation": 0.75 * 0.2, "train": 0.75 * 0.8}
        for part, share in shares.items():
            held = rows_of(rows, tuple(i for i in getattr(fold, part) if i.startswith(source)))
            assert len(held) / len(rows) == pytest.approx(share, abs=0.04)
            assert held["cls"].mean() == pytest.approx(rows["cls"].mean(), abs=0.08)


def test_folds_are_stratified() -> None:
    data = table(groups=80).query("source == 'kaggle'")
    for fold in make_split(data, 5, ["kaggle"]).folds:
        assert rows_of(data, fold.test)["cls"].mean() == pytest.approx(data["cls"].mean(), abs=0.1)
        assert len(fold.test) == pytest.approx(len(data) / 5, rel=0.25)


def test_row_order_is_nothing_and_the_seed_is_everything() -> None:
    data = table()
    split = make_split(data, 3, ["kaggle"], seed=1)
    shuffled = data.sample(frac=1, random_state=3)
    assert make_split(shuffled, 3, ["kaggle"], seed=1) == split
    assert make_split(shuffled, 3, ["kaggle"], seed=1).hash == split.hash
    other = make_split(data, 3, ["kaggle"], seed=2)
    assert other.test_hash != split.test_hash and other.hash != split.hash


def test_the_test_hash_follows_test_ids_only() -> None:
    split = make_split(table(), 2, ["kaggle"])
    first = split.folds[0]
    swapped = dataclasses.replace(first, train=first.validation, validation=first.train)
    again = dataclasses.replace(split, folds=(swapped, *split.folds[1:]))
    assert again.test_hash == split.test_hash and again.hash != split.hash


def test_a_group_over_two_sources_stays_together() -> None:
    data = table()
    data.loc[data["group"].isin(["kaggle/g3", "lgg/g3"]), "group"] = "shared"
    split = make_split(data, 4, ["kaggle"])
    shared = set(data["id"][data["group"] == "shared"])
    tests = [shared & set(fold.test) for fold in split.folds]
    assert sorted(map(len, tests)) == [0, 0, 0, len(shared)]


def test_there_and_back(tmp_path: Path) -> None:
    data = table()
    split = make_split(data, 3, ["kaggle"], seed=5)
    split.save(tmp_path / "split.json")
    assert FrozenSplit.load(tmp_path / "split.json", data) == split
    stored = json.loads((tmp_path / "split.json").read_text())
    assert stored["test_hash"] == split.test_hash and stored["seed"] == 5


@pytest.mark.parametrize("part", PARTS)
def test_an_edited_file_is_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "split.json"
    make_split(table(), 2, ["kaggle"]).save(path)
    stored = json.loads(path.read_text())
    stored["folds"][1][part].pop()
    path.write_text(json.dumps(stored))
    with pytest.raises(ProtocolError, match="changed after it was frozen"):
        FrozenSplit.load(path)


def test_an_edited_hash_or_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    make_split(table(), 2, ["kaggle"]).save(path)
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"test_hash": "0" * 64}))
    with pytest.raises(ProtocolError, match="changed"):
        FrozenSplit.load(path)
    for text in ("[1, 2]", '{"seed": 1}', "half {"):
        path.write_text(text)
        with pytest.raises(ProtocolError, match=r"split\.json.*FrozenSplit\.save"):
            FrozenSplit.load(path)
    with pytest.raises(ProtocolError, match="no such file"):
        FrozenSplit.load(tmp_path / "gone.json")


def test_other_data_are_refused(tmp_path: Path) -> None:
    data = table()
    path = tmp_path / "split.json"
    make_split(data, 2, ["kaggle"]).save(path)
    with pytest.raises(ProtocolError, match="lacks 1 of"):
        FrozenSplit.load(path, data.iloc[1:])
    more = pd.concat([data, data.iloc[:1].assign(id="kaggle/new")])
    with pytest.raises(ProtocolError, match=r"has new 1 of.*kaggle/new"):
        FrozenSplit.load(path, more)


def test_a_leaking_group_is_named() -> None:
    data = table()
    split = make_split(data, 2, ["kaggle"])
    check_disjoint(data, split)
    fold = split.folds[0]
    held = data.set_index("id").loc[fold.test[0], "group"]
    leaky = data.copy()
    leaky.loc[leaky["id"] == fold.train[0], "group"] = held
    with pytest.raises(ProtocolError, match=rf"fold 0: group '{held}' lies in train and in test"):
        check_disjoint(leaky, split)
    with pytest.raises(ProtocolError, match=held):
        split.check(leaky)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_folds": 0}, "n_folds=0"),
        ({"test_fraction": 0.0}, "test_fraction"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"cross_validated": ["moon"]}, "'moon'.*kaggle, lgg"),
        ({"n_folds": 50, "cross_validated": ["lgg"]}, "'lgg' has 40 groups; 50"),
    ],
)
def test_impossible_requests_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make_split(table(), **options)
    twice = pd.concat([table(), table().iloc[:1]])
    with pytest.raises(ParameterError, match="occurs twice"):
        make_split(twice)
