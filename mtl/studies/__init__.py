"""Assembly: parameters to model, data, objective and stages. Only this room knows all the others."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mtl.errors import ParameterError

if TYPE_CHECKING:
    from mtl.studies.parameters import StudyParameters

#: Study to the module of its parameters (light: no torch) and the name of their class.
_PARAMETERS = {
    "angiography": ("mtl.studies.angiography.parameters", "AngiographyParameters"),
    "brain_mri": ("mtl.studies.brain_mri.parameters", "BrainMriParameters"),
    "demos": ("mtl.studies.demos", "DemosParameters"),  # a page to click on for each study
    "em": ("mtl.studies.em.parameters", "EMParameters"),
    "histology": ("mtl.studies.histology.parameters", "HistologyParameters"),
    "methods": ("mtl.studies.methods", "MethodsParameters"),  # notebooks that cross studies, and tutorials
}
#: Study to the module of its assembly and the name of its class.
_ASSEMBLIES = {
    "angiography": ("mtl.studies.angiography.study", "AngiographyStudy"),
    "brain_mri": ("mtl.studies.brain_mri.study", "BrainMriStudy"),
    "em": ("mtl.studies.em.study", "EMStudy"),
    "histology": ("mtl.studies.histology.study", "HistologyStudy"),
}
#: Study to what a point of a sweep does: parameters to a record of what was trained.
_POINTS = {"brain_mri": ("mtl.studies.brain_mri.sweep_point", "train_point")}
#: Study to what tells minutes and memory of a run beforehand.
_FORECASTS = {
    "angiography": ("mtl.studies.angiography.forecast", "forecast"),
    "brain_mri": ("mtl.studies.brain_mri.forecast", "forecast"),
    "em": ("mtl.studies.em.forecast", "forecast"),
    "histology": ("mtl.studies.histology.forecast", "forecast"),
}

#: What ``mtl run`` runs, and what of it can be forecast.
STUDIES = tuple(_PARAMETERS)
FORECAST = tuple(_FORECASTS)


def parameters_class(study: str) -> type[StudyParameters]:
    """The pydantic model of a study's parameters. Raises ``ParameterError`` for an unknown study."""
    return _look_up(_PARAMETERS, study)


def study_class(study: str) -> type:
    """The class that assembles a study (imports torch). Raises ``ParameterError``."""
    return _look_up(_ASSEMBLIES, study)


def point_function(study: str) -> Callable[[StudyParameters], dict[str, Any]]:
    """``train_point`` of a study (imports torch). Raises ``ParameterError``."""
    return _look_up(_POINTS, study)


def forecast_function(study: str) -> Callable[[Any], dict[str, Any]]:
    """``forecast`` of a study (imports torch). Raises ``ParameterError``."""
    return _look_up(_FORECASTS, study)


def _look_up(table: dict[str, tuple[str, str]], study: str) -> Any:
    if study not in table:
        raise ParameterError(f"unknown study {study!r}: there is {', '.join(table)}")
    module, name = table[study]
    return getattr(importlib.import_module(module), name)
