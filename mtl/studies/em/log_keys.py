"""The scalars of a training run, under the names of the study's description.

Task ``automatic/semantic`` becomes ``train/automatic/loss_sem``, its term ``automatic/semantic/ce`` becomes
``train/automatic/loss_sem/ce``; ``train/<mode>/loss`` is the weighted sum over heads, and ``train/loss`` the
mean over the modes.
"""

from __future__ import annotations

from collections.abc import Mapping

SHORT = {"semantic": "sem", "instance": "ins", "geometry": "geom", "target": "target"}


def log_keys(means: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Epoch means to logged scalars.

    Args:
        means: of tasks ``<mode>/<head>`` and their terms ``<mode>/<head>/<term>``.
        weights: head to the weight of its loss.
    """
    scalars: dict[str, float] = {}
    totals: dict[str, float] = {}
    for name, value in means.items():
        mode, head, *term = name.split("/")
        scalars["/".join(["train", mode, f"loss_{SHORT[head]}", *term])] = value
        if not term:
            totals[mode] = totals.get(mode, 0.0) + weights[head] * value
    scalars |= {f"train/{mode}/loss": total for mode, total in totals.items()}
    if totals:
        scalars["train/loss"] = sum(totals.values()) / len(totals)
    return scalars
