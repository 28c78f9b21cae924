"""Frozen splits: whole groups on one side, classes balanced, stored with a hash that is checked on loading.

Sources named in ``cross_validated`` are tested in k folds, every unit once; the other sources have one test
part, the same in every fold. In each fold, validation groups are taken from what is not tested.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtl.errors import ParameterError, ProtocolError
from mtl.files import read_json, sha256_of, write_json

CANDIDATES = 200
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Fold:
    """Ids of one fold, each part sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class FrozenSplit:
    """Folds, and how they were drawn; `make_split` builds it."""

    seed: int
    n_folds: int
    cross_validated: tuple[str, ...]
    test_fraction: float
    validation_fraction: float
    folds: tuple[Fold, ...]

    @property
    def test_hash(self) -> str:
        """SHA-256 over the folds' test ids: results may be compared only where it is the same."""
        return sha256_of(json.dumps([fold.test for fold in self.folds]))

    @property
    def hash(self) -> str:
        """SHA-256 over everything the split consists of."""
        return sha256_of(json.dumps(asdict(self), sort_keys=True))

    def save(self, path: str | Path) -> None:
        """Write the split with its hashes as JSON."""
        write_json(path, {**asdict(self), "hash": self.hash, "test_hash": self.test_hash})

    @classmethod
    def load(cls, path: str | Path, table: pd.DataFrame | None = None) -> FrozenSplit:
        """Read a split, verify its hash and, where ``table`` is given, that it fits (`check`).

        Raises `ProtocolError` for a file that is missing, no split, or changed since it was written.
        """
        stored = _stored(Path(path))
        try:
            folds = tuple(Fold(*(tuple(fold[part]) for part in PARTS)) for fold in stored["folds"])
            names = ("seed", "n_folds", "cross_validated", "test_fraction", "validation_fraction")
            seed, n_folds, sources, test, validation = (stored[name] for name in names)
            split = cls(seed, n_folds, tuple(sources), test, validation, folds)
            intact = split.hash == stored["hash"] and split.test_hash == stored["test_hash"]
        except (KeyError, TypeError) as error:
            raise ProtocolError(
                f"{path}: expected a split written by FrozenSplit.save ({error!r})"
            ) from error
        if not intact:
            raise ProtocolError(f"{path}: the hash does not match; the split was changed after it was frozen")
        if table is not None:
            split.check(table)
        return split

    def check(self, table: pd.DataFrame) -> None:
        """Hold the split against a dataset's table (columns ``id``, ``group``).

        Raises `ProtocolError` for ids that one of the two lacks, and for a group on two sides.
        """
        wanted, present = self._ids(), set(table["id"])
        for missing, text in ((wanted - present, "lacks"), (present - wanted, "has new")):
            if missing:
                raise ProtocolError(
                    f"the data {text} {len(missing)} of the split's {len(wanted)} ids, "
                    f"e.g. {min(missing)!r}; "
                    "make a new split, or restore the data it was frozen on"
                )
        check_disjoint(table, self)

    def _ids(self) -> set[str]:
        return {identity for fold in self.folds for part in PARTS for identity in getattr(fold, part)}


def make_split(
    table: pd.DataFrame,
    n_folds: int = 5,
    cross_validated: Sequence[str] = (),
    test_fraction: float = 0.2,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> FrozenSplit:
    """Split a table (columns ``id``, ``source``, ``group``, ``cls``) by group, stratified by class.

    ``n_folds=1``: one train/validation/test split for all sources. Fractions are of a source's units
    (validation: of the units not tested). The result depends on the seed and the rows, not on their order; a
    group that spans sources stays together, with its first source in alphabetical order, cross-validated ones
    first. Raises `ParameterError` for an unknown source, fractions out of range, or too few groups.
    """
    folded = tuple(sorted(cross_validated)) if n_folds > 1 else ()
    _check_request(table, n_folds, folded, test_fraction, validation_fraction)
    table = _with_home(table.sort_values("id", ignore_index=True), folded)
    homes = {name: part for name, part in table.groupby("home", sort=True)}
    tested = {
        name: _kfold(part, n_folds, seed) if name in folded else [_draw(part, test_fraction, seed)] * n_folds
        for name, part in homes.items()
    }
    folds = tuple(
        _fold(homes, {name: tested[name][number] for name in homes}, validation_fraction, seed + 1 + number)
        for number in range(n_folds)
    )
    split = FrozenSplit(seed, n_folds, folded, test_fraction, validation_fraction, folds)
    split.check(table)
    return split


def check_disjoint(table: pd.DataFrame, split: FrozenSplit) -> None:
    """Raise `ProtocolError` naming the first group (or id) that lies in two parts of a fold."""
    group_of = dict(zip(table["id"], table["group"], strict=True))
    for number, fold in enumerate(split.folds):
        seen: dict[str, str] = {}
        for part in PARTS:
            for identity in getattr(fold, part):
                before = seen.setdefault(group_of[identity], part)
                if before != part:
                    raise ProtocolError(
                        f"fold {number}: group {group_of[identity]!r} lies in {before} and in {part} "
                        f"(e.g. {identity!r}); a group must stay on one side"
                    )


def _fold(
    homes: Mapping[str, pd.DataFrame], tested: Mapping[str, set[str]], fraction: float, seed: int
) -> Fold:
    """One fold: per source, the validation groups come from what is not tested."""
    ids: dict[str, list[str]] = {part: [] for part in PARTS}
    for name, part in homes.items():
        rest = part[~part["group"].isin(tested[name])]
        validation = _draw(rest, fraction, seed)
        held_out = rest["group"].isin(validation)
        ids["test"] += list(part["id"][part["group"].isin(tested[name])])
        ids["validation"] += list(rest["id"][held_out])
        ids["train"] += list(rest["id"][~held_out])
    return Fold(*(tuple(sorted(ids[part])) for part in PARTS))


def _kfold(part: pd.DataFrame, n_folds: int, seed: int) -> list[set[str]]:
    """Test groups of each fold."""
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second; a frozen split does without

    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    return [set(part["group"].iloc[test]) for _, test in folds.split(part, part["cls"], part["group"])]


def _draw(part: pd.DataFrame, fraction: float, seed: int) -> set[str]:
    """Groups that make up ``fraction`` of the units, balanced as the whole is: the best of many draws."""
    from sklearn.model_selection import GroupShuffleSplit  # as above

    shuffles = GroupShuffleSplit(CANDIDATES, test_size=fraction, random_state=seed)
    positive = part["cls"].to_numpy()
    target = fraction * np.array([len(part) - positive.sum(), positive.sum()])

    def miss(drawn: np.ndarray) -> float:
        counts = np.array([len(drawn) - positive[drawn].sum(), positive[drawn].sum()])
        return float(np.abs(counts - target).sum())

    drawn = min((test for _, test in shuffles.split(part, groups=part["group"])), key=miss)
    return set(part["group"].iloc[drawn])


def _with_home(table: pd.DataFrame, folded: Sequence[str]) -> pd.DataFrame:
    """Add the source by which each group is split."""
    order = table[["group", "source"]].drop_duplicates().copy()
    order["later"] = ~order["source"].isin(folded)
    home = order.sort_values(["later", "source"]).groupby("group")["source"].first()
    return table.assign(home=table["group"].map(home))


def _check_request(
    table: pd.DataFrame, n_folds: int, folded: Sequence[str], test_fraction: float, validation_fraction: float
) -> None:
    if n_folds < 1:
        raise ParameterError(f"n_folds={n_folds} must be at least 1")
    for name, fraction in (("test_fraction", test_fraction), ("validation_fraction", validation_fraction)):
        if not 0 < fraction < 1:
            raise ParameterError(f"{name}={fraction} must lie between 0 and 1")
    if table["id"].duplicated().any():
        raise ParameterError(
            f"the id {table['id'][table['id'].duplicated()].iloc[0]!r} occurs twice in the table"
        )
    groups = table.groupby("source")["group"].nunique()
    unknown = sorted(set(folded) - set(groups.index))
    if unknown:
        raise ParameterError(f"cross_validated names {unknown[0]!r}; the table has {', '.join(groups.index)}")
    for name, count in groups.items():
        needed = max(n_folds, 3) if name in folded else 3
        if count < needed:
            raise ParameterError(f"source {name!r} has {count} groups; {needed} are needed for this split")


def _stored(path: Path) -> dict[str, Any]:
    try:
        stored = read_json(path)
    except FileNotFoundError as error:
        raise ProtocolError(f"{path}: no such file; expected a split written by FrozenSplit.save") from error
    except ValueError as error:
        raise ProtocolError(f"{path}: not JSON; expected a split written by FrozenSplit.save") from error
    if not isinstance(stored, dict):
        raise ProtocolError(f"{path}: expected a JSON object written by FrozenSplit.save")
    return stored
