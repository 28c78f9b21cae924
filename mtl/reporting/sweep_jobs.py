"""The jobs of a sweep: its points side by side, then one comparison report.

::

    outputs/sweeps/<sweep>/
      run.json  sweep.json  provenance.json  metrics.json  comparison.json  comparison.parquet
      points/<study>/<arm>-seed<n>/   a run directory each, with point.json when finished
      notebooks/01_sweep.ipynb  reports/01_sweep.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mtl.files import read_json, sha256_of, write_json
from mtl.reporting.batch import BatchResult, OnUpdate, run_notebooks
from mtl.reporting.fingerprint import notebook_fingerprint, package_fingerprint
from mtl.reporting.status import NotebookJob, notebook_status
from mtl.reporting.study_jobs import data_fingerprint
from mtl.reporting.sweep_plan import SweepPlan
from mtl.studies.parameters import project_root

REQUEST, RESULT, FAILURE = "point.request.json", "point.json", "point.failure.json"
REPORT = "01_sweep"


@dataclass(frozen=True)
class PointJob(NotebookJob):
    """One training of a sweep; ``run_directory`` is the sweep's, ``folder`` the point's own."""

    noun: ClassVar[str] = "point"
    resumes: ClassVar[bool] = True

    @property
    def folder(self) -> Path:
        return self.run_directory / "points" / self.study / self.name

    @property
    def request(self) -> Path:
        return self.folder / REQUEST

    @property
    def executed(self) -> Path:
        return self.folder / RESULT

    @property
    def failure(self) -> Path:
        return self.folder / FAILURE

    @property
    def failed_copy(self) -> Path:
        return self.folder / "point.failed.json"

    @property
    def log(self) -> Path:
        return self.folder / "point.log"

    @property
    def heartbeat(self) -> Path:
        return self.folder / "point.progress.json"

    def is_complete(self) -> bool:
        """Whether the record that a point writes last is there."""
        return self.executed.exists()

    def describe(self) -> dict[str, str]:
        """What its entry in run.json says before it has run."""
        return {"kind": "point", "title": self.name}


def point_jobs(plan: SweepPlan) -> list[PointJob]:
    """A job per point; up to date while its parameters, the data and the code are what they were.

    Raises:
        DataError: the data root is missing.
    """
    code, data = package_fingerprint(), data_fingerprint(plan.points[0].parameters)
    jobs = []
    for point in plan.points:
        values = point.parameters.model_dump(exclude={"output_root"})
        jobs.append(
            PointJob(
                study=plan.study,
                name=point.name,
                notebook=plan.file,
                parameters=point.parameters.model_dump(),
                run_directory=plan.folder,
                fingerprint=sha256_of(json.dumps(values, sort_keys=True), code, data),
            )
        )
    return jobs


def report_job(plan: SweepPlan, points: Sequence[PointJob]) -> NotebookJob:
    """The comparison; made again when a point was trained again."""
    notebook = project_root() / "notebooks" / "methods" / f"{REPORT}.ipynb"
    values = {"run": plan.name, "sweep_directory": str(plan.folder.resolve())}
    trained = [f"{job.fingerprint} {notebook_status(job).get('ended', '')}" for job in points]
    plan_text = json.dumps(plan.to_dict(), sort_keys=True)
    return NotebookJob(
        study="sweeps",
        name=REPORT,
        notebook=notebook,
        parameters=values,
        run_directory=plan.folder,
        fingerprint=notebook_fingerprint(notebook, values, package_fingerprint(), [plan_text, *trained]),
    )


def run_sweep(
    plan: SweepPlan,
    cluster: str = "local",
    workers: int | None = None,
    gpus: int = 0,
    force: bool = False,
    on_update: OnUpdate | None = None,
) -> BatchResult:
    """Train the points that are not up to date, then write the report if all of them ended well.

    The same call after a kill goes on where it was: finished points are not trained again, a begun one takes
    up its last checkpoint. Raises ``MtlError`` as ``run_notebooks`` does.
    """
    jobs = point_jobs(plan)
    settings = {"on_update": on_update, "project_root": project_root()}
    result = run_notebooks(jobs, cluster, workers, gpus, force, **settings)
    if not result.ok:
        return result
    write_json(plan.folder / "sweep.json", plan.to_dict())
    provenance = read_json(jobs[0].folder / "provenance.json")
    write_json(plan.folder / "provenance.json", {**provenance, "study": plan.study, "run": plan.name})
    return run_notebooks([report_job(plan, jobs)], cluster, 1, min(gpus, 1), **settings)
