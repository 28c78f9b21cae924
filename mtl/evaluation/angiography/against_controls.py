"""Captions against their controls: paired by clip, over studies, after Holm; and the verdict on the video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from mtl.errors import ProtocolError
from mtl.evaluation.angiography.summary import UNIT, table_estimate
from mtl.evaluation.comparison import Difference, holm, paired_difference
from mtl.evaluation.statistics import WeightedStatistic

CAPTIONS = "captions"
COLUMNS = (
    "arm", "value", "low", "high", "n", "unit", "gain", "gain_low", "gain_high", "p_value", "p_holm",
    "minimal_detectable",
)  # fmt: skip


@dataclass(frozen=True)
class VideoVerdict:
    """Whether a captioner uses its video: what it gains on the shuffled control, in the metric's unit."""

    difference: Difference
    ignores_video: bool
    sentence: str


def compare_with_controls(
    arms: Mapping[str, pd.DataFrame],
    statistic: WeightedStatistic,
    *,
    captions: str = CAPTIONS,
    lower_is_better: bool = False,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """A row per arm: its figure, and by how much the captions are better than it.

    Args:
        arms: name to its per-clip table, of the same clips in the same order (``study``, ``true`` and what
            the statistic reads); one of them is ``captions``.
        statistic: ``(table, weights (R, n)) -> (R,)``, for example ``field_f1`` or ``bleu_4``.
        lower_is_better: the gain is the control's figure less that of the captions.

    Returns:
        ``COLUMNS``; ``gain`` and what follows it is undefined for the captions themselves. Holm over all
        controls.

    Raises:
        ProtocolError: no such arm, no control, or arms of different clips.
    """
    _require_same_clips(arms, captions)
    settings = {"n_resamples": n_resamples, "seed": seed}
    rows = []
    for arm, table in arms.items():
        row = {"arm": arm} | _figure(table_estimate(table, statistic, **settings).to_dict())
        if arm != captions:
            gain = _gain(arms[captions], table, statistic, lower_is_better, **settings)
            row |= {f"gain{key}": value for key, value in _interval(gain).items()}
            row |= {"p_value": gain.p_value, "minimal_detectable": gain.minimal_detectable}
        rows.append(row)
    found = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    controls = found["arm"] != captions
    found.loc[controls, "p_holm"] = holm(found.loc[controls, "p_value"].tolist())
    return found


def ignores_video(
    captions: pd.DataFrame,
    shuffled: pd.DataFrame,
    statistic: WeightedStatistic,
    *,
    lower_is_better: bool = False,
    n_resamples: int = 2000,
    seed: int = 0,
) -> VideoVerdict:
    """True unless the captions beat those of shuffled videos: the interval of the gain lies above 0.

    The burden of proof is the captioner's: where there is no interval, it ignores the video. Arguments as
    ``compare_with_controls``.
    """
    _require_same_clips({CAPTIONS: captions, "shuffled": shuffled}, CAPTIONS)
    gain = _gain(captions, shuffled, statistic, lower_is_better, n_resamples=n_resamples, seed=seed)
    ignores = gain.estimate.low is None or gain.estimate.low <= 0
    said = f"Gain of captions on those of shuffled videos: {gain.estimate}, over {gain.estimate.n} studies. "
    said += "They are not shown to be better: the captioner ignores the video." if ignores else (
        "They are better: the captioner uses the video."
    )  # fmt: skip
    return VideoVerdict(gain, ignores, said)


def _gain(
    captions: pd.DataFrame,
    control: pd.DataFrame,
    statistic: WeightedStatistic,
    lower_is_better: bool,
    *,
    n_resamples: int,
    seed: int,
) -> Difference:
    arms = (captions, control) if lower_is_better else (control, captions)
    first, second = (arm.reset_index(drop=True) for arm in arms)
    settings = {"n_resamples": n_resamples, "seed": seed, "unit": UNIT}
    return paired_difference(first, second, first[UNIT].to_numpy(), statistic=statistic, **settings)


def _require_same_clips(arms: Mapping[str, pd.DataFrame], captions: str) -> None:
    if captions not in arms or len(arms) < 2:
        raise ProtocolError(f"arms {list(arms)}: expected {captions!r} and at least one control")
    keys = [name for name in (UNIT, "true") if name in arms[captions]]
    expected = arms[captions][keys].to_numpy().tolist()
    for arm, table in arms.items():
        if not set(keys) <= set(table) or table[keys].to_numpy().tolist() != expected:
            raise ProtocolError(f"arm {arm!r} holds other clips than {captions!r}, or in another order")


def _figure(estimate: dict) -> dict:
    return {key: estimate[key] for key in ("value", "low", "high", "n", "unit")}


def _interval(gain: Difference) -> dict[str, float | None]:
    estimate = gain.estimate
    return {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
