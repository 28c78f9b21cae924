"""Parameters of the notebooks in ``notebooks/demos``: a page to click on for each study.

A demo stands on a run of its study: the one of the same parameter file, in the same folder of outputs. What
that run has trained is used; what it has not is trained first.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from mtl.errors import ParameterError
from mtl.files import read_json
from mtl.studies import parameters_class
from mtl.studies.parameters import StudyParameters, project_path, read_yaml


class DemosParameters(StudyParameters):
    """What these notebooks are told; see the field descriptions. Defaults are those of the quick run."""

    study: ClassVar[str] = "demos"
    in_sequence: ClassVar[bool] = False

    params: str = Field(
        "quick", pattern=r"^[\w.-]+$", description="parameter file of the studies, params/STUDY/<this>.yaml"
    )
    study_run: str = Field("", description="folder of the study's run; empty: the run of that file")
    data_root: str = Field("", description="folder of the real data sets, where that file wants them")
    # 01: em
    em_planes: int = Field(32, ge=1, description="planes of the piece that is proofread")
    em_side: int = Field(128, ge=16, description="pixels along a side of that piece")
    em_objects: int = Field(5, ge=1, description="objects that the simulated proofreader puts right")
    em_clicks: int = Field(5, ge=1, description="its clicks per object, at most")
    # 02: histology
    histology_actions: int = Field(8, ge=1, description="actions of the simulated annotator")
    # 04: angiography
    angiography_clips: int = Field(8, ge=1, description="test clips to choose from")

    def of_study(self, study: str) -> StudyParameters:
        """The parameters of the study's run that a demo stands on; its provenance stays as it is.

        Raises:
            ParameterError: there is no such file or run, or a value is wrong.
        """
        if self.study_run:
            path = project_path(self.study_run) / "provenance.json"
            if not path.is_file():
                raise ParameterError(f"study_run: {path} is missing; the folder of a run is expected")
            values = read_json(path)["parameters"] | {"output_root": str(path.parents[2])}
        else:
            path = project_path(Path("params") / study / f"{self.params}.yaml")
            values = read_yaml(path) | {"output_root": self.output_root}
        given = {"device": self.device} | ({"data_root": self.data_root} if self.data_root else {})
        return parameters_class(study).from_values(values | given, str(path)).for_a_look()
