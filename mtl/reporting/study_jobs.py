"""A study and a parameter file to the notebook jobs that a batch runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl.errors import DataError, ParameterError
from mtl.files import sha256_of
from mtl.reporting.fingerprint import notebook_fingerprint, package_fingerprint
from mtl.reporting.status import NotebookJob
from mtl.studies import parameters_class
from mtl.studies.parameters import StudyParameters, project_path, project_root, read_yaml

PRODUCTION = "production"  # parameters of mtl predict, not of a run
_EXPECTED = re.compile(r"^# Expected seconds: (.*)$", re.MULTILINE)


def parameter_file(study: str, name: str) -> Path:
    """``params/<study>/<name>.yaml``, or ``name`` itself if it is a YAML file. Raises ``ParameterError``."""
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    folder = project_root() / "params" / study
    path = folder / f"{name}.yaml"
    if not path.is_file():
        runs = sorted(file.stem for file in folder.glob("*.yaml") if file.stem != PRODUCTION)
        known = ", ".join(runs) or "none"
        raise ParameterError(f"{path}: no such parameter file; params/{study}/ has {known}")
    return path


def load_parameters(study: str, name: str, overrides: Mapping[str, Any]) -> StudyParameters:
    """Validated parameters of a file, with overrides. Raises ``ParameterError``."""
    cls = parameters_class(study)  # first, so that an unknown study is said to be one
    file = parameter_file(study, name)
    return cls.from_yaml(file, {"run": _run_name(file, overrides), **overrides})


def _run_name(file: Path, overrides: Mapping[str, Any]) -> str:
    """As the overrides or the file say, else the file's own name: no run lands in another's folder."""
    return str(overrides.get("run", read_yaml(file).get("run", file.stem)))


def notebook_jobs(study: str, name: str, overrides: Mapping[str, Any]) -> list[NotebookJob]:
    """One job per notebook that the study runs; each needs the one before it, where they are in sequence.

    Everything is validated before anything runs: parameters, the data folder, the notebooks.

    Raises:
        ParameterError: a parameter is unknown or out of range, or there is no such file.
        DataError: the data root is missing.
    """
    parameters = load_parameters(study, name, overrides)
    if getattr(parameters, "skip_stages", ""):
        raise ParameterError(
            "parameter 'skip_stages': the notebooks compare all stages and cannot leave one out; "
            "use mtl sweep (see params/sweeps/skipping_stages.yaml)"
        )
    file = parameter_file(study, name)
    values = read_yaml(file) | dict(overrides) | {"run": parameters.run}
    data, code = data_fingerprint(parameters), package_fingerprint()
    expected = expected_seconds(file)
    jobs: list[NotebookJob] = []
    for notebook in study_notebooks(study):
        before = jobs[-1:] if parameters.in_sequence else []
        upstream = [job.fingerprint for job in before]
        job = NotebookJob(
            study=study,
            name=notebook.stem,
            notebook=notebook,
            parameters=values,
            run_directory=parameters.run_directory,
            needs=tuple(job.name for job in before),
            fingerprint=notebook_fingerprint(notebook, values, code, [*upstream, data]),
            expected_seconds=expected.get(notebook.stem),
        )
        jobs.append(job)
    return jobs


def study_notebooks(study: str) -> list[Path]:
    """``notebooks/<study>/NN_*.ipynb`` in order, without those that another command runs."""
    folder = project_root() / "notebooks" / study
    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise ParameterError(f"{folder}: no notebooks; run mtl from within the project")
    elsewhere = parameters_class(study).run_elsewhere
    return [notebook for notebook in notebooks if notebook.stem not in elsewhere]


def data_fingerprint(parameters: StudyParameters) -> str:
    """Hash of a given split file, and of names, sizes and times of the files of data root and weights.

    Raises:
        DataError: ``data_root`` is not a folder, or ``pretrained`` is not there.
    """
    given = getattr(parameters, "split_file", "")
    split = project_path(given).read_text() if given and project_path(given).is_file() else ""
    root, weights = getattr(parameters, "data_root", ""), getattr(parameters, "pretrained", "")
    if root and not project_path(root).is_dir():
        found = project_path(root)
        raise DataError(f"parameter 'data_root': {found} is not a folder; expected the data sets' folder")
    if weights and not project_path(weights).exists():
        found = project_path(weights)
        raise DataError(f"parameter 'pretrained': there is no {found}; expected a model folder or a file")
    return sha256_of(split, *(line for place in (root, weights) if place for line in _file_lines(place)))


def _file_lines(place: str) -> list[str]:
    """Name, size and time of a file, or of all files of a folder."""
    path = project_path(place)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    return [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]


def expected_seconds(file: Path) -> dict[str, float]:
    """The header line ``# Expected seconds: 01_name 20, 02_name 60`` of a parameter file."""
    found = _EXPECTED.search(file.read_text(encoding="utf-8"))
    entries = [entry.split() for entry in found[1].split(",")] if found else []
    return {entry[0]: float(entry[1]) for entry in entries if len(entry) == 2}
