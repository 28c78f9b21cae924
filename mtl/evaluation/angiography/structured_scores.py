r"""Findings of generated against true reports: is the right segment named, with the right percent?

All sums are over findings of all clips (micro-averaged). A **match** is a segment that both reports of a clip
name; with M matches, of which W within 10 points, U true findings that were missed, S false ones,

.. math:: F1_\mathrm{segment} = \frac{2M}{2M + U + S}, \qquad
          F1_\mathrm{field} = \frac{2W}{2W + 2(M - W) + U + S}:

a field is a segment with its percent, and a match outside 10 points is both missed and false. The error of
the percent is given twice: over matches only (``percent_mae``), which a captioner can make small by saying
little, and over M + U + S (``percent_mae_all``), where a finding that one of the two reports lacks counts
there as 0 %. A finding whose degree is not given takes part in F1 (two such match within 10 points, one such
and a number do not), but in no error of the percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtl.evaluation.angiography.report_fields import FindingReader, Segments, parse_view
from mtl.evaluation.angiography.summary import UNIT, mean_estimates, require_lengths, table_estimates
from mtl.evaluation.statistics import Estimate, bootstrap
from mtl.evaluation.weighted import ratio, roc_auc

Floats = NDArray[np.float64]
Percents = Mapping[str, float | None]
WITHIN = 10.0  # points of percent
SEVERE = 70.0  # percent
STRUCTURED_METRICS = (
    "segment_f1", "field_f1", "percent_mae", "percent_mae_all", "exact_findings", "view_accuracy",
    "severe_auroc",
)  # fmt: skip


def structured_scores(
    true_texts: Sequence[str], generated_texts: Sequence[str], studies: Sequence[str], segments: Segments
) -> pd.DataFrame:
    """One row per clip, with the counts behind every figure.

    Args:
        segments: vocabulary of ``FindingReader``.

    Returns:
        ``study``, ``true``, ``generated``; ``n_true``, ``n_generated``, ``n_matched``, ``n_within_10``;
        ``error_matched``, ``error_all`` (sums of absolute differences, points of percent) over
        ``n_error_matched`` and ``n_error_all`` findings;
        ``exact_findings`` (1 where the same segments are named, all within 10 points; so also where both
        name none); ``true_highest``, ``generated_highest`` percent (0 without a measured finding; NaN for a
        true report that leaves open whether it reaches 70); ``true_view``, ``generated_view``,
        ``view_accuracy`` (1 or 0, NaN where the true report names no view).

    Raises:
        DataError: lengths differ or no clip. ParameterError: an unusable vocabulary.
    """
    require_lengths(true_texts=true_texts, generated_texts=generated_texts, studies=studies)
    reader = FindingReader(segments)
    rows = [
        {UNIT: study, "true": true, "generated": generated}
        | _finding_counts(dict(reader(true)), dict(reader(generated)))
        | _views(true, generated)
        for true, generated, study in zip(true_texts, generated_texts, studies, strict=True)
    ]
    return pd.DataFrame(rows)


def matched_percents(
    true_texts: Sequence[str], generated_texts: Sequence[str], studies: Sequence[str], segments: Segments
) -> pd.DataFrame:
    """One row per finding of either report: ``study``, ``segment``, ``true``, ``generated`` (NaN: absent)."""
    require_lengths(true_texts=true_texts, generated_texts=generated_texts, studies=studies)
    reader, rows = FindingReader(segments), []
    for true, generated, study in zip(true_texts, generated_texts, studies, strict=True):
        said, written = dict(reader(true)), dict(reader(generated))
        rows += [
            {UNIT: study, "segment": name, "true": said.get(name), "generated": written.get(name)}
            for name in dict.fromkeys([*said, *written])
        ]
    return pd.DataFrame(rows, columns=[UNIT, "segment", "true", "generated"]).astype(
        {"true": float, "generated": float}
    )


def summarise_structured(
    table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """``STRUCTURED_METRICS`` with intervals over studies; undefined ones have no value and a reason.

    ``severe_auroc``: of a study's highest true percent being at least 70, scored by its highest generated
    percent over all its clips; studies are drawn within the two classes. A study with a clip whose true
    report leaves this open is left out.
    """
    settings = {"n_resamples": n_resamples, "seed": seed}
    found = table_estimates(table, STATISTICS, **settings)
    found |= mean_estimates(table, ("exact_findings", "view_accuracy"), **settings)
    return found | {"severe_auroc": severe_auroc(table, **settings)}


def severe_auroc(table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> Estimate:
    """AUROC for a stenosis of at least 70 % by study; see ``summarise_structured``."""
    columns = ["true_highest", "generated_highest"]
    highest = table.groupby(UNIT, sort=False)[columns].agg(lambda rows: rows.max(skipna=False))
    highest = highest.dropna(subset="true_highest").reset_index()
    severe = (highest["true_highest"] >= SEVERE).to_numpy()
    area = lambda t, w: roc_auc(t["true_highest"] >= SEVERE, t["generated_highest"], w)  # noqa: E731
    return bootstrap(highest, area, UNIT, n_resamples, seed, weighted=True, strata=severe, unit=UNIT)


def percent_errors(
    findings: pd.DataFrame, usual: float, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Mean absolute error of percent over findings that both reports name, with intervals over studies.

    Args:
        findings: of ``matched_percents``; usual: percent that a writer who sees no film would always write.

    Returns:
        ``written`` and ``usual``; empty where no finding is in both reports.
    """
    both = findings.dropna(subset=["true", "generated"]).reset_index(drop=True)
    if both.empty:
        return {}
    errors = {"written": (both["true"] - both["generated"]).abs(), "usual": (both["true"] - usual).abs()}
    return mean_estimates(both.assign(**errors), tuple(errors), n_resamples=n_resamples, seed=seed)


def segment_f1(table: pd.DataFrame, weights: Floats) -> Floats:
    """F1 of segments under row weights ``(R, n)``; NaN where neither side names one."""
    sums = _sums(table, weights)
    return ratio(2 * sums["n_matched"], sums["n_true"] + sums["n_generated"])


def field_f1(table: pd.DataFrame, weights: Floats) -> Floats:
    """F1 of fields: segments with a percent within 10 points."""
    sums = _sums(table, weights)
    return ratio(2 * sums["n_within_10"], sums["n_true"] + sums["n_generated"])


def percent_mae(table: pd.DataFrame, weights: Floats) -> Floats:
    """Mean absolute error of percent over matched segments; NaN without a match."""
    sums = _sums(table, weights)
    return ratio(sums["error_matched"], sums["n_error_matched"])


def percent_mae_all(table: pd.DataFrame, weights: Floats) -> Floats:
    """The same over all findings of either side; one that the other side lacks is 0 % there."""
    sums = _sums(table, weights)
    return ratio(sums["error_all"], sums["n_error_all"])


STATISTICS = {
    "segment_f1": segment_f1,
    "field_f1": field_f1,
    "percent_mae": percent_mae,
    "percent_mae_all": percent_mae_all,
}
COUNTS = (
    "n_true", "n_generated", "n_matched", "n_within_10", "error_matched", "error_all", "n_error_matched",
    "n_error_all",
)  # fmt: skip


def _sums(table: pd.DataFrame, weights: Floats) -> dict[str, Floats]:
    return {name: weights @ table[name].to_numpy(float) for name in COUNTS}


def _finding_counts(true: Percents, generated: Percents) -> dict[str, float]:
    matches = [(true[name], generated[name]) for name in true if name in generated]
    errors = [abs(said - written) for said, written in matches if None not in (said, written)]
    within = sum(error <= WITHIN for error in errors) + matches.count((None, None))
    lone = [
        percent for name, percent in (true | generated).items() if not (name in true and name in generated)
    ]
    absent = [percent for percent in lone if percent is not None]
    return {
        "n_true": len(true),
        "n_generated": len(generated),
        "n_matched": len(matches),
        "n_within_10": within,
        "error_matched": sum(errors),
        "n_error_matched": len(errors),
        "error_all": sum(errors) + sum(absent),
        "n_error_all": len(errors) + len(absent),
        "exact_findings": float(within == len(true) == len(generated)),
        "true_highest": _highest_if_known(true),
        "generated_highest": _highest(generated),
    }


def _highest(findings: Percents) -> float:
    return max((percent for percent in findings.values() if percent is not None), default=0.0)


def _highest_if_known(findings: Percents) -> float:
    """NaN where all known percents are below 70 and another one is not known."""
    highest = _highest(findings)
    return float("nan") if None in findings.values() and highest < SEVERE else highest


def _views(true: str, generated: str) -> dict[str, object]:
    said, written = parse_view(true), parse_view(generated)
    right = float(said == written) if said else float("nan")
    return {"true_view": said, "generated_view": written, "view_accuracy": right}
