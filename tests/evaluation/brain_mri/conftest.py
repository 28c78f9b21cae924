"""A small prediction table: Kaggle-like cases scored out of fold, LGG-like slices scored by every fold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

FOLDS = 3


def build_cases(seed: int = 0) -> pd.DataFrame:
    """36 kaggle cases in 30 groups (no masks); 12 lgg patients, 4 slices each, one of them without tumour."""
    rng = np.random.default_rng(seed)
    kaggle = [("kaggle", f"g{g}", f"g{g}", 0, int(g % 5 < 3), False) for g in [*range(30), *range(6)]]
    lgg = [("lgg", f"g{p}", f"g{p}", s, int(s > 0), True) for p in range(12) for s in range(4)]
    columns = ["source", "patient", "group", "slice", "cls", "has_mask"]
    cases = pd.DataFrame(kaggle + lgg, columns=columns)
    pixels = np.where(cases["cls"] == 1, rng.integers(20, 200, len(cases)), 0)
    return cases.assign(id=[f"{s}/{i}" for i, s in enumerate(cases["source"])], mask_pixels=pixels)


def predict(cases: pd.DataFrame, stage: str, skill: float, seed: int) -> pd.DataFrame:
    """Scores of one stage: kaggle case i in fold (its group) mod 3, lgg slices in every fold."""
    rng = np.random.default_rng(seed)
    groups = cases["group"].str[1:].astype(int)
    parts = []
    for fold in range(FOLDS):
        rows = cases[(cases["source"] == "lgg") | (groups % FOLDS == fold)].reset_index(drop=True)
        noise = rng.random(len(rows))
        filled = rows["has_mask"] & (rows["mask_pixels"] > 0)
        overlap = np.where(filled, np.clip(0.4 + 0.5 * skill * rng.random(len(rows)), 0, 1), noise > 0.3)
        dice = pd.Series(overlap, dtype=float).where(rows["has_mask"])
        parts.append(
            rows.assign(
                fold=fold,
                stage=stage,
                tumor_prob=np.clip(skill * 0.4 * rows["cls"] + 0.6 * noise, 0, 1),
                dice=dice,
                iou=dice / (2 - dice),
                hd95=pd.Series(1 + 5 * noise).where(filled),
                predicted_pixels=np.where(rows["has_mask"], 50, np.nan),
                test_hash="feed" * 16,
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def cases() -> pd.DataFrame:
    return build_cases()


@pytest.fixture(scope="session")
def predictions(cases: pd.DataFrame) -> pd.DataFrame:
    """Three stages; the later the better."""
    skills = {"warm-up": 0.2, "head": 0.6, "joint": 1.0}
    return pd.concat([predict(cases, s, k, i) for i, (s, k) in enumerate(skills.items())], ignore_index=True)
