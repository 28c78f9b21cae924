"""Click arms compared with the first of them: paired by object, corrected for how often was asked (Holm)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from mtl.evaluation.comparison import Difference, holm
from mtl.evaluation.em.click_curves import compare_clicks

ALPHA = 0.05
LESS_IS_BETTER = ("noc", "failed")
BETTER, WORSE, OPEN, NO_VERDICT = "better", "worse", "no difference shown", "no verdict"
COLUMNS = (
    "figure", "first", "second", "value", "low", "high", "n", "unit", "p_value", "p_holm",
    "minimal_detectable", "verdict",
)  # fmt: skip


def compare_click_arms(
    runs: Mapping[str, pd.DataFrame],
    figures: Sequence[str],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    min_objects: int = 10,
) -> pd.DataFrame:
    """Every later arm minus the first, in every figure: one family of tests, Holm over all its rows.

    Args:
        runs: arm to its click table (``click_table``), of the same objects.
        figures: names of ``click_figures``; of ``noc`` and ``failed`` less is better.
        min_objects: below so many there is no verdict.

    Returns:
        One row per figure and later arm, with ``COLUMNS``; empty where there is one arm. ``verdict`` is
        about these trained networks: ``better`` or ``worse`` where ``p_holm`` is below 0.05 and the interval
        leaves out 0, else ``no difference shown``; ``no verdict`` without a p-value or with too few objects.

    Raises:
        ProtocolError: the arms hold other objects or other numbers of clicks.
    """
    first, *others = runs
    settings = {"n_resamples": n_resamples, "seed": seed}
    pairs = {arm: compare_clicks(runs[first], runs[arm], **settings) for arm in others}
    rows = [_row(name, first, arm, pairs[arm][name]) for name in figures for arm in others]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("p_holm", "verdict")])
    table["p_holm"] = holm(table["p_value"].tolist())
    verdicts = [_verdict(row, min_objects) for row in table.itertuples()]
    return table.assign(verdict=pd.Series(verdicts, dtype=object))[list(COLUMNS)]


def _row(figure: str, first: str, second: str, difference: Difference) -> dict[str, object]:
    estimate = {key: getattr(difference.estimate, key) for key in ("value", "low", "high", "n", "unit")}
    tested = {"p_value": difference.p_value, "minimal_detectable": difference.minimal_detectable}
    return {"figure": figure, "first": first, "second": second} | estimate | tested


def _verdict(row: object, min_objects: int) -> str:
    value, low, high, p = (getattr(row, name) for name in ("value", "low", "high", "p_holm"))
    if pd.isna(p) or pd.isna(low) or row.n < min_objects:  # type: ignore[attr-defined]
        return NO_VERDICT
    if p >= ALPHA or low <= 0 <= high:
        return OPEN
    less_is_better = row.figure.startswith(LESS_IS_BETTER)  # type: ignore[attr-defined]
    return BETTER if (value < 0) == less_is_better else WORSE
