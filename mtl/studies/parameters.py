"""Validated parameters: one flat pydantic model per study.

The same model reads a YAML file (``mtl run``) and the cells of a notebook (JupyterLab, raw papermill).
papermill replaces nested values whole, passes ``-p flag true`` as a string and only warns on unknown
names; so parameters are flat, strings are converted, and unknown names are refused here.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from mtl.errors import ParameterError
from mtl.studies import parameters_class

#: Ways of combining tasks; a list of names, so that reading parameters imports no torch.
BalancerName = Literal[
    "fixed",
    "schedule",
    "random",
    "uncertainty",
    "dwa",
    "pcgrad",
    "mgda",
    "cagrad",
    "imtl_g",
    "nash_mtl",
    "aligned_mtl",
    "upgrad",
]


def project_root() -> Path:
    """The nearest folder, from here upwards, that holds ``pyproject.toml``; else the current one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").is_file()), here)


def project_path(path: str | Path) -> Path:
    """``path`` itself if absolute, else taken from the project's folder."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else project_root() / path


def inside_project(path: str | Path) -> str:
    """``path`` from the project's folder on (``project_path`` takes it back); itself if it lies elsewhere."""
    path = Path(path)
    return path.relative_to(project_root()).as_posix() if path.is_relative_to(project_root()) else str(path)


class Parameters(BaseModel):
    """Validated values of a flat file: unknown names are refused, and every field has a description."""

    #: ``fractions: 0.1`` is a list of one name.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
    )
    study: ClassVar[str]

    @classmethod
    def from_values(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validate ``values``.

        Raises:
            ParameterError: one line per wrong parameter, with what is expected; ``where`` is named.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            lines = [f"  {_explain(cls, problem)}" for problem in error.errors()]
            raise ParameterError(f"{where}, study {cls.study!r}:\n" + "\n".join(lines)) from None

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read a flat YAML file; ``overrides`` replace its values. Raises ``ParameterError``."""
        return cls.from_values(read_yaml(path) | dict(overrides or {}), str(path))


class StudyParameters(Parameters):
    """What every study has; subclasses add their own fields, each with a description."""

    #: Notebooks of the study's folder that another command runs, not ``mtl run``.
    run_elsewhere: ClassVar[tuple[str, ...]] = ()
    #: Whether each notebook needs the one before it.
    in_sequence: ClassVar[bool] = True

    run: str = Field("quick", pattern=r"^[\w.-]+$", description="name of the run directory")
    output_root: str = Field("outputs", description="folder of all runs; relative to the project")
    seed: int = Field(0, ge=0, description="of everything random")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the network runs")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "bf16-mixed", description="arithmetic of the training step"
    )
    deterministic: bool = Field(False, description="the same bits on every run, on a GPU too; slower there")

    #: Set by who only looks at a run: where it comes from stays recorded as it is.
    _looked_at: bool = PrivateAttr(False)

    @property
    def looked_at(self) -> bool:
        """Whether the run is only looked at; see :meth:`for_a_look`."""
        return self._looked_at

    def for_a_look(self) -> Self:
        """The same parameters of somebody who shows the run, and whose doing is no part of its record."""
        copy = self.model_copy()
        copy._looked_at = True
        return copy

    @property
    def run_directory(self) -> Path:
        """``<output_root>/<study>/<run>``, absolute."""
        return project_path(self.output_root) / self.study / self.run


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping of a YAML file. Raises ``ParameterError`` naming the file."""
    path = Path(path)
    if not path.is_file():
        raise ParameterError(f"{path}: no such parameter file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ParameterError(f"{path}: a flat mapping 'name: value' is expected")
    return values


def parse_overrides(pairs: Sequence[str] | None) -> dict[str, Any]:
    """``["name=value", ...]`` to a dict; values are read as YAML (numbers, true/false, text).

    Raises:
        ParameterError: a pair is not ``name=value``, or its value is not YAML.
    """
    values: dict[str, Any] = {}
    for pair in pairs or []:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ParameterError(f"-p {pair!r}: name=value is expected")
        try:
            values[name] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise ParameterError(
                f"-p {pair!r}: {text!r} cannot be read as a number, true/false or text"
            ) from error
    return values


def _explain(cls: type[Parameters], problem: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"]) or "parameters"
    if problem["type"] == "extra_forbidden":
        import difflib

        close = difflib.get_close_matches(name, cls.model_fields, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(cls.model_fields))}"
        return f"unknown parameter {name!r}{hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"parameter {name!r}: {message} (got {problem['input']!r})" if problem["loc"] else message


def read_parameters(study: str, namespace: Mapping[str, Any]) -> StudyParameters:
    """Validate a notebook's parameters; to be called right after the ``parameters`` cell.

    Every name that the parameters cell or papermill's injected cell assigns must be a parameter of the
    study; the study's other parameters keep their defaults. (Both cells begin with ``# Parameters``:
    papermill writes that line itself.)

    Args:
        study: e.g. ``brain_mri``.
        namespace: the notebook's ``globals()``.

    Raises:
        ParameterError: names each parameter that is unknown or out of range.
    """
    if not _parameter_cells(namespace.get("In", [])):
        raise ParameterError("no parameters cell was run: it must begin with the line '# Parameters'")
    names = {name for cell in _parameter_cells(namespace.get("In", [])) for name in _assigned_names(cell)}
    values = {name: namespace[name] for name in sorted(names) if name in namespace}
    return parameters_class(study).from_values(values, "notebook parameters")


def _parameter_cells(executed: list[str]) -> list[str]:
    """The latest unbroken run of parameter cells: papermill's follows the notebook's own.

    Earlier ones do not count: a name that somebody has since put right must not be held against them.
    """
    is_parameters = [cell.lstrip().startswith("# Parameters") for cell in executed]
    end = len(executed) - is_parameters[::-1].index(True) if any(is_parameters) else 0
    start = end
    while start > 0 and is_parameters[start - 1]:
        start -= 1
    return executed[start:end]


def _assigned_names(source: str) -> list[str]:
    names = []
    for statement in ast.parse(source).body:
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        )
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names
