"""Patterns that make a good-looking number of the em study worthless, as alarms beside its tables.

They add to ``mtl.evaluation.protocol.alarms`` what only segmentations and clicks have. None is a test: an
alarm says that a number must not be read alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from mtl.evaluation.protocol import MIN_UNITS, Alarm
from mtl.evaluation.statistics import Estimate

#: Recall of true pairs from which a segmentation never cuts, and precision below which it joins most.
NEVER_CUT, MOSTLY_JOINED = 0.99, 0.5
MOST_FAIL = 0.5
TINY_SHARE = 0.1
#: Codes as a reader understands them, in tables and answers.
WORDS = {
    "mostly_merged": "mostly joins objects",
    "worse_than_baseline": "worse than the intensity watershed",
    "not_better_than_baseline": "not shown to be better than the intensity watershed",
    "validation_apart": "test part unlike the validation part",
    "undefined": "measures without a value",
    "clicks_harm": "clicks make it worse",
    "clicks_do_not_help": "clicks not shown to help",
    "tiny_masks": "masks that end at the click",
    "mostly_failed": "most objects never become good",
    "few_objects": "few objects",
    "few_blocks": "few blocks",
}


def segmentation_alarms(
    scores: Mapping[str, Estimate],
    validation_error: float | None = None,
    minus_baseline: Estimate | None = None,
) -> list[Alarm]:
    """Alarms of one segmentation of the test part, in a fixed order.

    Args:
        scores: of ``evaluate_instances``.
        validation_error: adapted Rand error on the part that chose the settings.
        minus_baseline: the adapted Rand error minus that of the best method without a network, paired.

    Codes: mostly_merged, worse_than_baseline (its interval lies above 0) or not_better_than_baseline (it
    includes 0), validation_apart, undefined (of what tables show: not ``sq``).
    """
    found = [
        _mostly_merged(scores),
        _against_baseline(minus_baseline),
        _validation_apart(scores["adapted_rand"], validation_error),
        _undefined(scores),
    ]
    return [alarm for alarm in found if alarm]


def mostly_merged_alarms(scores: Mapping[str, Estimate]) -> list[Alarm]:
    """Of a segmentation that was not chosen, only whether it mostly joins objects. Code: mostly_merged."""
    alarm = _mostly_merged(scores)
    return [alarm] if alarm else []


def click_alarms(figures: Mapping[str, Estimate], clicks: int) -> list[Alarm]:
    """Alarms of one arm's click curve.

    Args:
        figures: of ``summarise_clicks``; clicks: after which the gain is read.

    Codes: clicks_harm (after so many clicks, or after the first one) or clicks_do_not_help, mostly_failed.
    """
    gain, failed = figures[f"gain@{clicks}"], figures["failed@85"]
    found = [
        _harm(figures, clicks) or _clicks_do_not_help(gain, clicks),
        _mostly_failed(failed),
    ]
    return [alarm for alarm in found if alarm]


def tiny_mask_alarms(voxels: Sequence[int], reach: int) -> list[Alarm]:
    """Alarm of an arm many of whose masks hold no more than what a click reaches. Code: tiny_masks.

    Args:
        voxels: of each object's mask after its first click; reach: voxels whose outputs one click changes.
    """
    share = sum(size <= reach for size in voxels) / max(len(voxels), 1)
    if share <= TINY_SHARE:
        return []
    return [
        Alarm("tiny_masks", f"after the first click {share:.0%} of the masks hold at most {reach} voxels")
    ]


def object_alarms(n: int, least: int = MIN_UNITS) -> list[Alarm]:
    """Alarm of a part with ``n`` objects that count, or were clicked. Code: few_objects."""
    if n >= least:
        return []
    return [Alarm("few_objects", f"only {n} objects, fewer than {least}: measures per object are rough")]


def block_alarms(scores: Mapping[str, Estimate], least: int = MIN_UNITS) -> list[Alarm]:
    """Alarm of scores of ``evaluate_instances`` whose intervals are over few blocks. Code: few_blocks."""
    n = scores["adapted_rand"].n
    if n >= least:
        return []
    return [Alarm("few_blocks", f"only {n} blocks, fewer than {least}: intervals are rough")]


def alarm_table(found: Mapping[str, list[Alarm]]) -> pd.DataFrame:
    """One row per alarm: what rang (the key), the alarm in ``WORDS``, why; empty where all is well."""
    rows = [(name, WORDS[alarm.code], alarm.message) for name, rung in found.items() for alarm in rung]
    return pd.DataFrame(rows, columns=["what", "alarm", "why"])


def _mostly_merged(scores: Mapping[str, Estimate]) -> Alarm | None:
    recall, precision = (scores[f"rand_{name}"].value for name in ("recall", "precision"))
    if recall is None or precision is None or recall < NEVER_CUT or precision >= MOSTLY_JOINED:
        return None
    return Alarm(
        "mostly_merged",
        f"of the pairs of voxels that it joins only {precision:.0%} belong together, and it parts "
        "hardly any: it mostly joins objects, as one object for everything would",
    )


def _against_baseline(difference: Estimate | None) -> Alarm | None:
    if difference is None or difference.value is None or _ends(difference)[1] < 0:
        return None
    said = f"adapted Rand error minus that of the intensity watershed: {difference.value:+.3f}"
    if _ends(difference)[0] > 0:
        return Alarm("worse_than_baseline", f"{said}, and the interval lies above zero")
    return Alarm("not_better_than_baseline", f"{said}, and the interval includes zero")


def _ends(estimate: Estimate) -> tuple[float, float]:
    """The interval; without one, anything is possible."""
    low, high = estimate.low, estimate.high
    return (-math.inf, math.inf) if low is None or high is None else (low, high)


def _validation_apart(test: Estimate, validation: float | None) -> Alarm | None:
    if validation is None or test.low is None or test.high is None or test.low <= validation <= test.high:
        return None
    side = "worse" if test.value > validation else "better"
    return Alarm(
        "validation_apart",
        f"{side} on the test part ({test.value:.3f}) than where its settings were chosen ({validation:.3f}), "
        "beyond the interval: the parts differ, or the settings fit the validation part by chance",
    )


def _undefined(scores: Mapping[str, Estimate]) -> Alarm | None:
    missing = {name: e.reason for name, e in scores.items() if e.value is None and name != "sq"}
    if not missing:
        return None
    return Alarm("undefined", "no value for " + ", ".join(f"{name} ({why})" for name, why in missing.items()))


def _harm(figures: Mapping[str, Estimate], clicks: int) -> Alarm | None:
    worse = [k for k in dict.fromkeys((clicks, 1)) if _ends(figures[f"gain@{k}"])[1] < 0]
    if not worse:
        return None
    said = [f"{figures[f'gain@{k}'].value:+.3f} after {k} click{'s' * (k > 1)}" for k in worse]
    return Alarm("clicks_harm", f"Dice changes by {' and '.join(said)}; the interval lies below zero")


def _clicks_do_not_help(gain: Estimate, clicks: int) -> Alarm | None:
    if gain.value is None or (gain.low if gain.low is not None else gain.value) > 0:
        return None
    often = "click" if clicks == 1 else f"{clicks} clicks"
    if gain.value <= 0:
        return Alarm("clicks_do_not_help", f"after {often} Dice is no higher than before ({gain.value:+.3f})")
    return Alarm(
        "clicks_do_not_help", f"the gain of {gain.value:.3f} after {often} may be none: see its interval"
    )


def _mostly_failed(failed: Estimate) -> Alarm | None:
    if failed.value is None or failed.value <= MOST_FAIL:
        return None
    return Alarm(
        "mostly_failed",
        f"{failed.value:.0%} of the objects never reach a Dice of 0.85: NoC@85 is mostly the largest number",
    )
