r"""From the probe's table to verdicts: which tasks conflict, where, and beyond sampling noise?

Over the :math:`n` probe batches of one step, the mean cosine of two tasks has the two-sided 95 % t-interval
:math:`\bar c \pm t_{.975,\,n-1} \, s / \sqrt n` (at least 3 batches; fewer: no verdict). Two tasks conflict
where its upper end is below 0. Sampling noise shrinks a cosine; it is undone, to first order, by

.. math:: \tilde c_{ab} = \bar c_{ab} / \sqrt{\bar c_{aa} \, \bar c_{bb}}

with the mean same-task cosines :math:`\bar c_{aa}` over pairs of batches (the noise floor). It is an
estimate: it may lie beyond 1, and takes the noise of two tasks on one batch to be independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from mtl.errors import ParameterError

CONFLICT, AGREE, UNCLEAR, NO_VERDICT = "conflict", "agree", "unclear", "no verdict"
_PAIR, _TASK = ["step", "block", "task_a", "task_b"], ["step", "block", "task"]
PAIR_COLUMNS = (
    "cosine", "lower95", "upper95", "n", "conflict_rate", "verdict",
    "magnitude_similarity", "corrected_cosine", "reason",
)  # fmt: skip
TASK_COLUMNS = ("norm", "update_share", "lower95", "upper95", "n", "noise_floor")


@dataclass(frozen=True)
class ProbeSummary:
    """Figures over the probe batches, one row per step, block and pair (or task).

    ``pairs``: step, block, task_a, task_b, cosine (mean), lower95, upper95, n (probe batches), verdict
    (conflict, agree, unclear, no verdict), conflict_rate (share of probe batches with cosine < 0),
    magnitude_similarity, corrected_cosine (NaN: ``reason`` says why).
    ``tasks``: step, block, task, norm, update_share with lower95, upper95 and n, noise_floor (mean
    same-task cosine).
    """

    pairs: pd.DataFrame
    tasks: pd.DataFrame

    def matrix(self, value: str = "cosine", block: str = "all", step: int | None = None) -> pd.DataFrame:
        """Symmetric task x task table of a column of ``pairs`` (default: the last step), for a heat map.

        The diagonal is 1 for cosines and similarities, else NaN. Unknown names: ``ParameterError``.
        """
        chosen, tasks = self._select(self.pairs, block, step), self._select(self.tasks, block, step)
        if value not in PAIR_COLUMNS:
            raise ParameterError(f"value: {value!r} is not one of {', '.join(PAIR_COLUMNS)}")
        names = list(tasks["task"])
        diagonal = 1.0 if value in {"cosine", "corrected_cosine", "magnitude_similarity"} else np.nan
        matrix = pd.DataFrame(np.nan, index=names, columns=names, dtype=object if value in _TEXT else float)
        for name in names:
            matrix.loc[name, name] = diagonal
        for row in chosen.itertuples():
            matrix.loc[row.task_a, row.task_b] = matrix.loc[row.task_b, row.task_a] = getattr(row, value)
        return matrix

    def conflicts(self, block: str = "all", step: int | None = None) -> list[tuple[str, str]]:
        """The pairs of tasks in conflict (default: in the whole shared part, at the last step)."""
        chosen = self._select(self.pairs, block, step)
        found = chosen[chosen["verdict"] == CONFLICT]
        return list(zip(found["task_a"], found["task_b"], strict=True))

    def _select(self, table: pd.DataFrame, block: str, step: int | None) -> pd.DataFrame:
        steps = self.tasks["step"]
        if step is None and len(steps):
            step = int(steps.max())
        here = self.tasks[(steps == step) & (self.tasks["block"] == block)]
        if here.empty:
            raise ParameterError(f"block {block!r} was not measured at step {step}; blocks: {self._blocks()}")
        return table[(table["step"] == step) & (table["block"] == block)]

    def _blocks(self) -> str:
        return ", ".join(self.tasks["block"].unique()) or "none"


_TEXT = {"verdict", "reason"}


def summarise(table: pd.DataFrame) -> ProbeSummary:
    """Summarise a table of ``GradientProbe.measure`` (of one step or several, concatenated)."""
    # Which of two tasks comes first may differ between batches: sort, so that a pair is one pair.
    swapped = (table["task_b"] != "") & (table["task_a"] > table["task_b"])
    table = table.copy()
    table.loc[swapped, ["task_a", "task_b"]] = table.loc[swapped, ["task_b", "task_a"]].to_numpy()
    tasks = _summarise_tasks(table)
    return ProbeSummary(pairs=_summarise_pairs(table, tasks), tasks=tasks)


def shares_if_weighted(
    table: pd.DataFrame, factors: Mapping[str, float], block: str = "all"
) -> dict[str, float]:
    r"""Update share of every task at the last step, had the weights of some been other ones.

    With :math:`G_{kl} = \langle g_k, g_l \rangle` of a probe batch, made from its norms and cosines,

    .. math:: u_k = c_k \sum_l c_l G_{kl} \,\Big/\, \sum_{kl} c_k c_l G_{kl}

    averaged over the probe batches; a task without a gradient in a batch counts as 0 there.

    Args:
        table: as `summarise` takes it.
        factors: task to :math:`c_k`, the weight that it had had over the one that it has; others: 1.

    Raises:
        ParameterError: a task or block that was not measured.
    """
    table = table[(table["step"] == table["step"].max()) & (table["block"] == block)]
    norms = _of_kind(table, "norm").pivot_table(index="task_a", columns="probe", values="value").fillna(0.0)
    if unknown := [task for task in factors if task not in norms.index]:
        raise ParameterError(
            f"factors: {unknown[0]!r} was not measured; block {block!r} has {list(norms.index)}"
        )
    shares = []
    for probe, sizes in norms.items():
        cosines = pd.DataFrame(np.eye(len(sizes)), sizes.index, sizes.index)
        for row in _of_kind(table[table["probe"] == probe], "cosine").itertuples():
            cosines.loc[row.task_a, row.task_b] = cosines.loc[row.task_b, row.task_a] = row.value
        weighted = sizes * pd.Series(factors).reindex(sizes.index).fillna(1.0)
        gramian = cosines.mul(weighted, axis=0).mul(weighted, axis=1)
        shares.append(gramian.sum(axis=1) / gramian.to_numpy().sum())
    return pd.concat(shares, axis=1).mean(axis=1).to_dict()


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and the ends of its two-sided 95 % t-interval (NaN with fewer than 3 values)."""
    mean, n = float(np.mean(values)), len(values)
    if n < 3:
        return mean, float("nan"), float("nan")
    half = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def verdict(low: float, high: float) -> str:
    """What the interval of a cosine says."""
    if np.isnan(low):
        return NO_VERDICT
    if high < 0:
        return CONFLICT
    return AGREE if low > 0 else UNCLEAR


def _of_kind(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    return table[table["kind"] == kind]


def _summarise_tasks(table: pd.DataFrame) -> pd.DataFrame:
    table = table.rename(columns={"task_a": "task"})
    norm = _of_kind(table, "norm").groupby(_TASK, sort=False)["value"].mean()
    floor = _of_kind(table, "same_task_cosine").groupby(_TASK, sort=False)["value"].mean()
    shares = {
        key: (*interval(group.to_numpy()), len(group))
        for key, group in _of_kind(table, "update_share").groupby(_TASK, sort=False)["value"]
    }
    rows = [
        (*key, size, *shares.get(key, (np.nan, np.nan, np.nan, 0)), floor.get(key, np.nan))
        for key, size in norm.items()
    ]
    return pd.DataFrame(rows, columns=[*_TASK, *TASK_COLUMNS])


def _summarise_pairs(table: pd.DataFrame, tasks: pd.DataFrame) -> pd.DataFrame:
    floor = {(row.step, row.block, row.task): row.noise_floor for row in tasks.itertuples()}
    similarity = _of_kind(table, "magnitude_similarity").groupby(_PAIR, sort=False)["value"].mean()
    rows = []
    for key, group in _of_kind(table, "cosine").groupby(_PAIR, sort=False)["value"]:
        step, block, a, b = key
        cosine, low, high = interval(group.to_numpy())
        rate, judged = float((group < 0).mean()), verdict(low, high)
        corrected = correct_for_noise(cosine, floor[step, block, a], floor[step, block, b])
        rows.append((*key, cosine, low, high, len(group), rate, judged, similarity[key], *corrected))
    return pd.DataFrame(rows, columns=[*_PAIR, *PAIR_COLUMNS])


def correct_for_noise(cosine: float, floor_a: float, floor_b: float) -> tuple[float, str]:
    """The corrected cosine, or NaN and the reason why there is none."""
    if np.isnan(floor_a) or np.isnan(floor_b):
        return float("nan"), "a task is present in fewer than 2 probe batches"
    if floor_a <= 0 or floor_b <= 0:
        return float("nan"), "a same-task cosine is not above 0: the gradient is all noise"
    return cosine / float(np.sqrt(floor_a * floor_b)), ""
