"""A sweep file, expanded into arms and points and checked before anything runs.

::

    study: brain_mri
    base: quick                         # params/<study>/<base>.yaml
    set: {joint_epochs: 6}              # for every arm
    arms: {plain: {}, heavy: {lambda_cls: 3}}      # or  grid: {lambda_cls: [0.3, 1, 3]}
    baseline: plain                     # with a grid it may be left out: the point that changes nothing
    seeds: [0, 1, 2, 3, 4]
    metrics: [roc_auc, dice_nonempty]
    margins: {roc_auc: 0.05, dice_nonempty: 0.02}  # fixed beforehand

A seed is of the training only: data and split are those of the base's seed in every point.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtl.errors import ParameterError
from mtl.reporting.study_jobs import parameter_file
from mtl.reporting.sweep_results import METRIC_NAMES
from mtl.studies import parameters_class
from mtl.studies.parameters import StudyParameters, project_path, project_root, read_yaml

ARM_NAME = re.compile(r"[A-Za-z0-9_][\w.+-]*")
SET_BY_THE_SWEEP = ("run", "output_root", "seed")


class SweepFile(BaseModel):
    """What a sweep file may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    base: str
    fixed: dict[str, Any] = Field(default_factory=dict, alias="set")
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    baseline: str = ""
    seeds: list[int] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    margins: dict[str, float]


@dataclass(frozen=True)
class Point:
    """One training: an arm with one seed."""

    arm: str
    seed: int
    parameters: StudyParameters

    @property
    def name(self) -> str:
        return self.parameters.run


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, expanded and valid; ``points`` go through all arms seed by seed."""

    name: str
    file: Path
    study: str
    base: str
    folder: Path
    baseline: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    margins: dict[str, float]
    arms: dict[str, dict[str, Any]]
    points: tuple[Point, ...]

    def to_dict(self) -> dict[str, Any]:
        """What ``sweep.json`` holds: the plan, and what differs between arms."""
        return {
            "name": self.name,
            "study": self.study,
            "base": self.base,
            "baseline": self.baseline,
            "seeds": list(self.seeds),
            "metrics": list(self.metrics),
            "margins": self.margins,
            "arms": self.arms,
            "differing": differing_parameters(self),
            "points": [
                {"arm": p.arm, "seed": p.seed, "folder": f"points/{self.study}/{p.name}"} for p in self.points
            ],
        }


def sweep_file(name: str) -> Path:
    """``name`` itself if it is a YAML file, else ``params/sweeps/<name>.yaml``. Raises ``ParameterError``."""
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    folder = project_root() / "params" / "sweeps"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise ParameterError(f"{path}: no such sweep; params/sweeps/ has {known}")
    return path


def read_sweep_plan(name: str, overrides: Mapping[str, Any]) -> SweepPlan:
    """Expand a sweep file; ``overrides`` join its ``set``.

    Raises:
        ParameterError: names the file and the key, arm or parameter that is wrong, before anything runs.
    """
    path = sweep_file(name)
    read = _validated(path, read_yaml(path))
    cls = parameters_class(read.study)
    base = read_yaml(parameter_file(read.study, read.base)) | read.fixed | dict(overrides)
    arms = read.arms or _grid_arms(path, cls, base, read.grid)
    _check_arms(path, cls, read, arms)
    folder = project_path(base.get("output_root", "outputs")) / "sweeps" / path.stem
    points = tuple(
        Point(arm, seed, _point_parameters(path, cls, base, arms[arm], f"{arm}-seed{seed}", seed, folder))
        for seed, arm in itertools.product(read.seeds, arms)
    )
    _check_distinct(path, points, arms)
    baseline = read.baseline or _unchanged(path, cls, base, arms)
    if baseline not in arms:
        raise ParameterError(f"{path}: baseline {baseline!r} is no arm; the arms are {', '.join(arms)}")
    return SweepPlan(
        path.stem, path, read.study, read.base, folder, baseline, tuple(read.seeds), tuple(read.metrics),
        dict(read.margins), arms, points,
    )  # fmt: skip


def differing_parameters(plan: SweepPlan) -> dict[str, dict[str, Any]]:
    """Arm -> the parameters whose values are not the same in all arms."""
    values = {p.arm: p.parameters.model_dump(exclude=set(SET_BY_THE_SWEEP)) for p in reversed(plan.points)}
    first = values[plan.baseline]
    names = [name for name in first if any(other[name] != first[name] for other in values.values())]
    return {arm: {name: values[arm][name] for name in names} for arm in plan.arms}


def _validated(path: Path, values: Mapping[str, Any]) -> SweepFile:
    try:
        read = SweepFile(**values)
    except ValidationError as error:
        lines = [f"  {_explain(problem)}" for problem in error.errors()]
        raise ParameterError(f"{path}:\n" + "\n".join(lines)) from None
    if bool(read.arms) == bool(read.grid):
        raise ParameterError(f"{path}: either 'arms' or 'grid' is expected")
    if len(set(read.seeds)) < len(read.seeds):
        raise ParameterError(f"{path}: 'seeds' names a seed twice")
    if unknown := [name for name in read.metrics if name not in METRIC_NAMES]:
        raise ParameterError(f"{path}: 'metrics': unknown {unknown}; there is {', '.join(METRIC_NAMES)}")
    if missing := [name for name in read.metrics if not read.margins.get(name, 0) > 0]:
        raise ParameterError(f"{path}: 'margins' needs a number above 0 for {', '.join(missing)}")
    return read


def _explain(problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in SweepFile.model_fields.items()]
        close = difflib.get_close_matches(key, known, n=1)
        return f"unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else f"; known: {known}")
    return f"key {key!r}: {problem['msg']}"


def _grid_arms(
    path: Path, cls: type[StudyParameters], base: Mapping[str, Any], grid: Mapping[str, list[Any]]
) -> dict[str, dict[str, Any]]:
    """Every combination, named after its values as the study reads them: ``lambda_cls-0.3``."""
    if empty := [name for name, values in grid.items() if not values]:
        raise ParameterError(f"{path}: 'grid': {empty[0]!r} has no values")
    arms = {}
    for chosen in itertools.product(*grid.values()):
        values = dict(zip(grid, chosen, strict=True))
        read = cls.from_values({**base, **values, "run": "grid"}, f"{path}, grid point {values}")
        words = [f"{name}-{_word(getattr(read, name))}" for name in grid]
        arms["--".join(words)] = values
    return arms


def _word(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value).lower()
    return re.sub(r"[^\w.+-]+", "_", text) or "none"


def _check_arms(
    path: Path, cls: type[StudyParameters], read: SweepFile, arms: Mapping[str, Mapping[str, Any]]
) -> None:
    if len(arms) < 2:
        raise ParameterError(f"{path}: a sweep needs two arms or more, it has {len(arms)}")
    for arm, values in arms.items():
        if not ARM_NAME.fullmatch(arm):
            raise ParameterError(f"{path}: arm {arm!r}: letters, digits and . _ + - are expected")
        if frozen := [name for name in values if name in getattr(cls, "test_set", ())]:
            raise ParameterError(
                f"{path}: arm {arm!r} changes {frozen[0]!r}, and with it what is tested: all arms of a sweep "
                "are compared on the same test cases (put it under 'set')"
            )
    for where, values in {"set": read.fixed, **arms}.items():
        if taken := [
            name for name in values if name in SET_BY_THE_SWEEP and (where, name) != ("set", "seed")
        ]:
            raise ParameterError(f"{path}: {where!r} sets {taken[0]!r}, which the sweep itself sets")


def _point_parameters(
    path: Path, cls: type[StudyParameters], base: Mapping[str, Any], arm: Mapping[str, Any],
    run: str, seed: int, folder: Path,
) -> StudyParameters:  # fmt: skip
    own = {"run": run, "seed": seed, "output_root": str(folder / "points")}
    kept = cls.from_values({**base, "run": run}, str(path)).seed
    frozen = {
        name: kept for name in ("data_seed", "split_seed") if name in cls.model_fields and name not in base
    }
    return cls.from_values({**base, **frozen, **arm, **own}, f"{path}, point {run}")


def _check_distinct(path: Path, points: tuple[Point, ...], arms: Mapping[str, Any]) -> None:
    seen: dict[str, str] = {}
    for point in points[: len(arms)]:
        values = point.parameters.model_dump_json(exclude=set(SET_BY_THE_SWEEP))
        if values in seen:
            raise ParameterError(f"{path}: arms {seen[values]!r} and {point.arm!r} are the same")
        seen[values] = point.arm


def _unchanged(
    path: Path, cls: type[StudyParameters], base: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]
) -> str:
    plain = cls.from_values({**base, "run": "base"}, str(path))
    for arm, values in arms.items():
        if cls.from_values({**base, **values, "run": "base"}, str(path)) == plain:
            return arm
    raise ParameterError(f"{path}: no arm keeps the base's values: name one as 'baseline'")
