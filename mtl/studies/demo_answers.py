"""The sentences at the top of the demos' reports: templates whose figures are read from ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def proofreading_answer(section: Mapping[str, Any]) -> str:
    """Of demo 01, from its section ``em_proofreading``."""
    of = "em_proofreading"
    return (
        f"{{{of}.clicks}} clicks on the {{{of}.objects}} worst objects, of which {{{of}.accepted}} became "
        f"better and were accepted, take the adapted Rand error of this piece from {{{of}.error.before:.3f}} "
        f"to {{{of}.error.after:.3f}}. From a click to its mask it takes {{{of}.median_ms:.0f}} ms in the "
        f"kernel (median of {{{of}.n_timed}}, {{{of}.machine:text}})."
    )


def annotation_answer(section: Mapping[str, Any]) -> str:
    """Of demo 02, from its section ``histology_annotation``."""
    of = "histology_annotation"
    waits = [
        f"{{{of}.rows.{n}.actions}} x {row['action']}, {{{of}.rows.{n}.ms:.0f}} ms each"
        for n, row in enumerate(section["rows"])
    ]
    return (
        f"After {{{of}.actions}} actions and a training of {{{of}.steps}} steps the mean PQ over "
        f"{{{of}.images}} test tiles goes from {{{of}.pq.before:.3f}} to {{{of}.pq.after:.3f}}. Until an "
        f"action is on the disk and shown, in the kernel of {{{of}.machine:text}}: {'; '.join(waits)}."
    )


def panel_answer(section: Mapping[str, Any]) -> str:
    """Of demo 03, from its section ``brain_mri_panel``."""
    of = "brain_mri_panel"
    return (
        f"Of the {{{of}.slices}} slices of the list {{{of}.right}} are rightly named, {{{of}.found}} of "
        f"{{{of}.tumours}} tumours among them, at the threshold {{{of}.threshold:.2f}}. How good the "
        "network is cannot be said from so few: see what was measured."
    )


def player_answer(section: Mapping[str, Any]) -> str:
    """Of demo 04, from its section ``angiography_player``."""
    of = "angiography_player"
    return (
        f"Of {{{of}.clips}} clips the network writes {{{of}.distinct}} different reports, {{{of}.right}} of "
        f"them word for word the true one. {{{of}.note:text}}"
    )
