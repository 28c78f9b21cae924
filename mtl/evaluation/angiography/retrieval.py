"""Retrieval both ways: a report by a video, a video by a report; one row per query.

Identical reports (up to white space) are one candidate and one query. What counts as relevant:

* ``report``: a clip and a report belong together where the clip's own report is equal to it.
* ``study``: also where it is the report of another clip (view) of the same study.

A clip is a candidate of its own, however many share a report; the first relevant one counts. Every measure is
exact under ties (``ranking``), and stands beside its value for a similarity that knows nothing, because that
depends on how many candidates are relevant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError, ParameterError
from mtl.evaluation.angiography.ranking import NDCG_AT, chance, check_ks, first_relevant, ndcg
from mtl.evaluation.angiography.summary import UNIT, mean_estimates, require_lengths, table_estimate
from mtl.evaluation.statistics import Estimate
from mtl.evaluation.weighted import weighted_median

KS = (1, 5, 10, 50)
TO_REPORT, TO_VIDEO = "video to report", "report to video"
DIRECTIONS = (TO_REPORT, TO_VIDEO)
#: float32 cosines are exact to about 1e-7; what differs by less than this counts as tied.
DECIMALS = 6

Relevance = Literal["report", "study"]


def cosine_similarity(videos: ArrayLike, reports: ArrayLike) -> NDArray[np.float64]:
    """Cosines ``(N, M)`` of embeddings ``(N, D)`` and ``(M, D)``, in float64, rounded to ``DECIMALS``.

    Raises DataError where the widths differ or an embedding is zero or not finite.
    """
    sides = [np.asarray(side, float) for side in (videos, reports)]
    if any(side.ndim != 2 for side in sides) or sides[0].shape[1] != sides[1].shape[1]:
        shapes = " and ".join(str(side.shape) for side in sides)
        raise DataError(f"embeddings {shapes}: expected (N, D) and (M, D) of one width")
    lengths = [np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
    if bad := sum(int((~(np.isfinite(length) & (length > 0))).sum()) for length in lengths):
        raise DataError(f"{bad} embeddings are zero or not finite: a cosine needs a direction")
    video, report = (side / length for side, length in zip(sides, lengths, strict=True))
    return (video @ report.T).round(DECIMALS)


def retrieve(
    similarity: ArrayLike,
    reports: Sequence[str],
    studies: Sequence[str],
    *,
    ks: Sequence[int] = KS,
    relevance: Relevance = "report",
) -> pd.DataFrame:
    """One row per query, both ways.

    Args:
        similarity: ``(N, N)``: row i is clip i, column j the report of clip j; of identical reports the first
            column counts.
        reports, studies: of the N clips.
        ks: of Recall@K; a K above the number of candidates is omitted (NaN where the other way has it).
        relevance: ``report`` or ``study``, see the module's text.

    Returns:
        ``direction``, ``query`` (number of the clip, or of the first clip with the report), ``study``,
        ``rank`` of the first relevant, ``reciprocal_rank``, ``ndcg_5``, ``recall_1`` ..., each with
        ``chance_...``; ``n_candidates``, ``n_relevant``. A report that several studies share is a query of
        the first of them.

    Raises:
        DataError: lengths differ, or a similarity is not finite.
        ParameterError: unknown relevance, or a K below 1.
    """
    n = require_lengths(similarity=np.asarray(similarity), reports=reports, studies=studies)
    scores = np.asarray(similarity, float)
    if scores.shape != (n, n):
        raise DataError(f"similarity {scores.shape}: expected ({n}, {n}), every clip against every report")
    distinct, relevant = _relevance(reports, studies, relevance)
    scores, unit = scores[:, distinct], np.asarray(studies)
    ways = (
        _queries(TO_REPORT, scores, relevant, np.arange(n), unit, ks),
        _queries(TO_VIDEO, scores.T, relevant.T, distinct, unit[distinct], ks),
    )
    return pd.concat(ways, ignore_index=True)


def summarise_retrieval(
    table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Direction to metric to estimate over studies: ``recall_K``, ``mrr``, ``ndcg_5``, ``median_rank``.

    table: rows of ``retrieve``. The median is that of the queries' expected ranks.
    """
    found = {}
    for direction, rows in table.groupby("direction", sort=False):
        named = rows.rename(columns={"reciprocal_rank": "mrr"}).reset_index(drop=True)
        metrics = [name for name in named if name.startswith("recall_")] + ["mrr", f"ndcg_{NDCG_AT}"]
        means = mean_estimates(named, metrics, n_resamples=n_resamples, seed=seed)
        median = table_estimate(named, _median_rank, n_resamples=n_resamples, seed=seed)
        found[str(direction)] = {**means, "median_rank": median}
    return found


def chance_levels(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Direction to metric to its value where the similarity knows nothing; names as in the summary."""
    found = {}
    for direction, rows in table.groupby("direction", sort=False):
        columns = [name for name in rows if name.startswith("chance_") and rows[name].notna().any()]
        means = {name.removeprefix("chance_"): float(rows[name].mean()) for name in columns}
        means["mrr"] = means.pop("reciprocal_rank")
        means["median_rank"] = float(np.median(rows["chance_rank"]))
        del means["rank"]
        found[str(direction)] = means
    return found


def recall_curve(table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Recall over K, both ways: ``direction``, ``k``, ``value``, ``low``, ``high``, ``chance``.

    table: rows of ``retrieve`` with as many ``ks`` as the curve shall have points.
    """
    summary, known = summarise_retrieval(table, n_resamples=n_resamples, seed=seed), chance_levels(table)
    rows = [
        {"direction": direction, "k": int(name.removeprefix("recall_"))}
        | {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        | {"chance": known[direction][name]}
        for direction, metrics in summary.items()
        for name, estimate in metrics.items()
        if name.startswith("recall_")
    ]
    return pd.DataFrame(rows)


def _relevance(
    reports: Sequence[str], studies: Sequence[str], relevance: Relevance
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """First clip of each distinct report (R,), and which clip each of them is relevant for: (N, R)."""
    if relevance not in ("report", "study"):
        raise ParameterError(f"relevance = {relevance!r}: expected 'report' or 'study'")
    codes, names = pd.factorize(np.array([" ".join(text.split()) for text in reports], dtype=object))
    distinct = np.array([np.flatnonzero(codes == code)[0] for code in range(len(names))])
    own = codes[:, None] == np.arange(len(names))
    if relevance == "report":
        return distinct, own
    _, study = np.unique(np.asarray(studies), return_inverse=True)
    said = np.zeros((study.max() + 1, len(names)), bool)  # which reports a study has
    said[study, codes] = True
    return distinct, said[study]


def _queries(
    direction: str,
    scores: NDArray[np.float64],
    relevant: NDArray[np.bool_],
    query: NDArray[np.intp],
    studies: NDArray,
    ks: Sequence[int],
) -> pd.DataFrame:
    first, blind = first_relevant(scores, relevant), chance(relevant)
    columns = {"direction": direction, "query": query, UNIT: studies}
    for prefix, places in (("", first), ("chance_", blind)):
        columns |= {f"{prefix}rank": places.rank, f"{prefix}reciprocal_rank": places.reciprocal_rank()}
        kept = [k for k in check_ks(ks) if k <= scores.shape[1]]
        columns |= {f"{prefix}recall_{k}": places.recall(k) for k in kept}
    columns[f"ndcg_{NDCG_AT}"] = ndcg(scores, relevant)
    columns[f"chance_ndcg_{NDCG_AT}"] = ndcg(np.zeros_like(scores), relevant)
    counts = {"n_candidates": scores.shape[1], "n_relevant": relevant.sum(axis=1)}
    return pd.DataFrame(columns | counts)


def _median_rank(table: pd.DataFrame, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return weighted_median(table["rank"].to_numpy(), weights)
