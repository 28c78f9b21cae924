"""Assembly: parameters to model, data, objective and stages. Only this room knows all the others."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mtl.errors import ParameterError

if TYPE_CHECKING:
    from mtl.studies.parameters import StudyParameters

#: Study to the module of its parameters (light: no torch) and the name of their class.
_PARAMETERS = {"brain_mri": ("mtl.studies.brain_mri.parameters", "BrainMriParameters")}
#: Study to the module of its assembly and the name of its class.
_ASSEMBLIES = {"brain_mri": ("mtl.studies.brain_mri.study", "BrainMriStudy")}

STUDIES = tuple(_PARAMETERS)


def parameters_class(study: str) -> type[StudyParameters]:
    """The pydantic model of a study's parameters. Raises ``ParameterError`` for an unknown study."""
    return _look_up(_PARAMETERS, study)


def study_class(study: str) -> type:
    """The class that assembles a study (imports torch). Raises ``ParameterError``."""
    return _look_up(_ASSEMBLIES, study)


def _look_up(table: dict[str, tuple[str, str]], study: str) -> type:
    if study not in table:
        raise ParameterError(f"unknown study {study!r}: there is {', '.join(table)}")
    module, name = table[study]
    return getattr(importlib.import_module(module), name)
