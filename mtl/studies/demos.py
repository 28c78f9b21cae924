"""Parameters of the notebooks in ``notebooks/demos``: a page to click on for each study.

A demo stands on a run of its study: the one of the same parameter file, in the same folder of outputs. What
that run has trained is used; what it has not is trained first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from mtl.studies import parameters_class
from mtl.studies.parameters import StudyParameters, project_path, read_yaml


class DemosParameters(StudyParameters):
    """What these notebooks are told; see the field descriptions. Defaults are those of the quick run."""

    study: ClassVar[str] = "demos"
    in_sequence: ClassVar[bool] = False

    params: str = Field(
        "quick", pattern=r"^[\w.-]+$", description="parameter file of the studies, params/STUDY/<this>.yaml"
    )
    data_root: str = Field("", description="folder of the real data sets, where that file wants them")
    # 01: em
    em_planes: int = Field(32, ge=1, description="planes of the piece that is proofread")
    em_side: int = Field(128, ge=16, description="pixels along a side of that piece")
    em_objects: int = Field(5, ge=1, description="objects that the simulated proofreader puts right")
    em_clicks: int = Field(5, ge=1, description="its clicks per object, at most")
    # 02: histology
    histology_actions: int = Field(8, ge=1, description="actions of the simulated annotator")

    def of_study(self, study: str) -> StudyParameters:
        """The parameters of a study's run that a demo stands on. Raises ``ParameterError``."""
        path = project_path(Path("params") / study / f"{self.params}.yaml")
        given = {"output_root": self.output_root, "device": self.device}
        if self.data_root:
            given["data_root"] = self.data_root
        return parameters_class(study).from_values(read_yaml(path) | given, str(path))


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
