"""Trivial baselines, as prediction tables of the same shape as the network's: what a score is worth nothing
below.

``majority``      every case gets the training prevalence
``all_positive``  every case is called a tumour
``source_only``   every case gets its source's training prevalence: the shortcut, naked
``histogram``     logistic regression on the histogram of the prepared image: intensities without shape
``mean_mask``     the mean training mask, thresholded, for every case: position without image

``folds`` is everywhere a sequence of (training rows, test rows) with the columns id, source, patient, group,
slice, cls, has_mask; ``test_hash`` is the frozen split's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError, ProtocolError
from mtl.evaluation.segmentation import case_scores

Folds = Sequence[tuple[pd.DataFrame, pd.DataFrame]]
COLUMNS = ["id", "source", "patient", "group", "slice", "cls", "has_mask"]
MASK_FIGURES = ["dice", "iou", "hd95", "mask_pixels", "predicted_pixels"]
REGULARISATION = np.logspace(-4, 2, 7)
INNER_FOLDS = 5


def label_baselines(folds: Folds, test_hash: str) -> pd.DataFrame:
    """Predictions of ``majority``, ``all_positive`` and ``source_only`` on the folds' test rows.

    Prevalences are averaged over the folds' training parts. With a value per fold, a fold whose test part has
    many positives would get a low score (they are missing from its training part), and pooling folds would
    push these baselines below an AUC of 0.5 by arithmetic alone.
    """
    overall = float(np.mean([train["cls"].mean() for train, _ in folds]))
    per_fold = [train.groupby("source")["cls"].mean() for train, _ in folds]
    by_source = pd.concat(per_fold).groupby(level=0).mean()
    parts = []
    for fold, (_, test) in enumerate(folds):
        known = test["source"].map(by_source).fillna(overall)  # a source never trained on: nothing is known
        scores = {"majority": overall, "all_positive": 1.0, "source_only": known}
        parts += [_predictions(test, fold, stage, test_hash, score) for stage, score in scores.items()]
    return pd.concat(parts, ignore_index=True)


def histogram_features(
    images: ArrayLike, n_bins: int = 32, value_range: tuple[float, float] = (-5.0, 5.0)
) -> NDArray[np.float64]:
    """Share of pixels per intensity bin: images (n,H,W) or (n,1,H,W), prepared as for the network -> (n,
    n_bins).

    Values outside ``value_range`` fall into the outer bins. Raises DataError for other shapes or NaN.
    """
    images = np.asarray(images, dtype=float)
    if images.ndim not in (3, 4) or not np.isfinite(images).all():
        raise DataError(f"images {images.shape}: expected finite (n,H,W) or (n,1,H,W)")
    flat = np.clip(images.reshape(len(images), -1), *value_range)
    counts = [np.histogram(row, n_bins, value_range)[0] / row.size for row in flat]
    return np.array(counts).reshape(-1, n_bins)


def fit_histogram_baseline(
    train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike, groups: ArrayLike | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Probability of class 1 (n_test,) by standardised logistic regression.

    train_x (n,F), train_y (n,) 0/1, test_x (n_test,F). Regularisation by log-loss in an inner
    cross-validation of the training rows, disjoint in ``groups`` (n,) where given. Raises ProtocolError
    where a class has fewer than 2 groups.
    """
    train_x, train_y = np.asarray(train_x, dtype=float), np.asarray(train_y)
    groups = np.arange(len(train_y)) if groups is None else np.asarray(groups)
    smallest = min((len(np.unique(groups[train_y == label])) for label in (0, 1)), default=0)
    if smallest < 2:
        raise ProtocolError("the histogram baseline needs at least 2 training groups of each class")
    # imported here: they take a second, and only this baseline needs them
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
        {"logisticregression__C": REGULARISATION},
        scoring="neg_log_loss",
        cv=StratifiedGroupKFold(min(INNER_FOLDS, smallest), shuffle=True, random_state=seed),
    )
    return search.fit(train_x, train_y, groups=groups).predict_proba(np.asarray(test_x, dtype=float))[:, 1]


def histogram_predictions(
    folds: Folds, features: Mapping[str, ArrayLike], test_hash: str, seed: int = 0
) -> pd.DataFrame:
    """Predictions of ``histogram``, refitted on every fold's training rows; features: id -> (F,)."""
    parts = []
    for fold, (train, test) in enumerate(folds):
        train_x, test_x = (np.array([features[name] for name in rows["id"]]) for rows in (train, test))
        groups = train["source"].astype(str) + "/" + train["group"].astype(str)
        scores = fit_histogram_baseline(train_x, train["cls"], test_x, groups, seed)
        parts.append(_predictions(test, fold, "histogram", test_hash, scores))
    return pd.concat(parts, ignore_index=True)


def fit_mean_mask(masks: ArrayLike, n_thresholds: int = 19) -> NDArray[np.bool_]:
    """The mean of training masks (n,H,W), thresholded where it gives the training cases the highest mean
    Dice.

    Empty masks are ignored. Returns (H,W) bool. Raises DataError where no mask is filled.
    """
    masks = np.asarray(masks) > 0
    filled = masks[masks.any(axis=tuple(range(1, masks.ndim)))] if masks.ndim == 3 else masks[:0]
    if len(filled) == 0:
        raise DataError(f"masks {masks.shape}: expected (n,H,W) with at least one filled mask")
    mean = filled.mean(axis=0)
    cuts = mean.max() * np.linspace(0.05, 0.95, n_thresholds)
    candidates = mean.ravel() >= cuts[:, None]
    flat = filled.reshape(len(filled), -1).astype(np.float32)
    overlap = flat @ candidates.T.astype(np.float32)
    scores = (2 * overlap / (flat.sum(axis=1)[:, None] + candidates.sum(axis=1))).mean(axis=0)
    return mean >= cuts[scores.argmax()]


def mean_mask_predictions(folds: Folds, masks: Mapping[str, ArrayLike], test_hash: str) -> pd.DataFrame:
    """Predictions of ``mean_mask`` on test rows with a known mask; masks: id -> (H,W), all of one size.

    ``tumor_prob`` is NaN: this baseline does not classify, so give its rows to ``segmentation_table`` only.
    """
    parts = []
    for fold, (train, test) in enumerate(folds):
        known, test = (rows[rows["has_mask"].astype(bool)] for rows in (train, test))
        guess = fit_mean_mask([np.asarray(masks[name]) for name in known["id"]])
        figures = [case_scores(guess, np.asarray(masks[name]) > 0) for name in test["id"]]
        rows = _predictions(test, fold, "mean_mask", test_hash, np.nan)
        parts.append(rows.assign(**{name: [case[name] for case in figures] for name in MASK_FIGURES}))
    return pd.concat(parts, ignore_index=True)


def _predictions(
    test: pd.DataFrame, fold: int, stage: str, test_hash: str, scores: float | ArrayLike
) -> pd.DataFrame:
    # 0.5 is these baselines' own operating point: their probabilities are prevalences.
    rows = test[COLUMNS].reset_index(drop=True)
    scores = np.broadcast_to(np.asarray(scores, dtype=float), len(rows))
    missing = dict.fromkeys(MASK_FIGURES, np.nan)
    return rows.assign(
        fold=fold, stage=stage, tumor_prob=scores, threshold=0.5, **missing, test_hash=test_hash
    )
