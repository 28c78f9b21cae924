"""Parameters of the notebooks in ``notebooks/methods``, which read results of studies and train nothing."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from mtl.studies.parameters import StudyParameters


class MethodsParameters(StudyParameters):
    """What notebooks that cross studies are told; see the field descriptions."""

    study: ClassVar[str] = "methods"

    sweep_directory: str = Field(
        "outputs/sweeps/smoke", description="folder of a sweep (mtl sweep writes it)"
    )
    n_bootstrap: int = Field(1000, ge=100, description="bootstrap resamples of every interval")
