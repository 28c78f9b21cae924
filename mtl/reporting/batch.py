"""Batches of notebooks: dependency order on a Dask cluster, resumable, with a record of what happened.

``run.json`` is the only channel: the process that runs a notebook writes to it, this one reads it. So
progress, gallery and resume see the same thing, and a kill at any moment leaves a readable record.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mtl.reporting.gallery import galleries_kept_current, write_gallery
from mtl.reporting.kernel_environment import available_cores, kernel_environment
from mtl.reporting.plan import (
    JobKey,
    forget_results,
    in_dependency_order,
    needed_keys,
    refresh_reports,
    register,
    stale_jobs,
)
from mtl.reporting.progress import BatchEvent, Estimator, summary_text
from mtl.reporting.signals import sigterm_as_interrupt
from mtl.reporting.status import (
    BAD,
    NotebookJob,
    Outcome,
    bury_the_dead,
    notebook_status,
    now,
    owned_run,
    training_progress,
    update_notebook,
)

if TYPE_CHECKING:
    from distributed import Client, Future

POLL_SECONDS = 0.25
ATTEMPTS = 3  # of a job whose worker is lost before the job has begun, or that goes on where it was killed
PATIENCE_SECONDS = 60.0  # how long a cluster may be without any worker

OnUpdate = Callable[[BatchEvent], None]


@dataclass(frozen=True)
class BatchResult:
    """What became of each job, in dependency order."""

    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        return all(outcome.status == "ok" for outcome in self.outcomes)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status in ("failed", "dead"))

    def summary(self) -> str:
        """A table of notebooks, then the failing cell of each that failed."""
        return summary_text(self.outcomes)


def run_notebooks(
    jobs: Sequence[NotebookJob],
    cluster: str = "local",
    workers: int | None = None,
    gpus: int = 0,
    force: bool = False,
    on_update: OnUpdate | None = None,
    project_root: str | Path | None = None,
) -> BatchResult:
    """Run what is not up to date; kernels work in ``project_root`` (default: the current folder).

    ``cluster``: ``"local"`` (``workers`` processes, or one per card with ``gpus``) or the address of a
    Dask scheduler that sees the same files. A job is up to date if it ended well with the same
    fingerprint, its files are there, and nothing that it needs is run again. Raises ``MtlError`` for jobs
    that make no sense, a run directory in use or not writable, or a cluster that does not answer;
    failing notebooks raise nothing, they are in the result.
    """
    ordered = in_dependency_order([_absolute(job) for job in jobs])
    root = Path(project_root or Path.cwd()).resolve()
    with contextlib.ExitStack() as held:
        for run_directory in dict.fromkeys(job.run_directory for job in ordered):
            held.enter_context(owned_run(run_directory))
            bury_the_dead(run_directory)
            if force:
                forget_results(run_directory)
        stale = stale_jobs(ordered, force)
        register(ordered, stale)
        refresh_reports([job for job in ordered if job not in stale])
        to_run = {job.key for job in stale}
        chains = sum(to_run.isdisjoint(needed_keys(job)) for job in stale)  # the rest waits for these
        count = gpus or workers or max(1, min(chains, available_cores() // 2))
        batch = Batch(ordered, stale, Estimator(stale, count), on_update or (lambda event: None))
        with galleries_kept_current(dict.fromkeys(job.run_directory.parents[1] for job in ordered)):
            if stale:
                held.enter_context(sigterm_as_interrupt())
                batch.run(cluster, count, gpus, root)
        return BatchResult(tuple(batch.outcome(job) for job in ordered))


class Batch:
    """The state of one call: which jobs are to run, what is known of them, who is told."""

    def __init__(
        self, jobs: list[NotebookJob], stale: list[NotebookJob], estimator: Estimator, on_update: OnUpdate
    ) -> None:
        self.jobs, self.stale, self.estimator, self.on_update = jobs, stale, estimator, on_update
        self.seen = dict.fromkeys((job.key for job in stale), "waiting")
        self.workerless_since: float | None = None
        self.futures: dict[JobKey, Future] = {}
        self.attempts: dict[JobKey, int] = {}

    def run(self, cluster: str, workers: int, gpus: int, root: Path) -> None:
        from mtl.reporting.cluster import connect

        # Before Dask starts: it sets one thread and a small trim threshold, in this process too.
        self.environment = kernel_environment(workers) if cluster == "local" else None
        try:
            with connect(cluster, workers, gpus) as client:
                self.tell("begin")
                self.prepare(client, cluster, workers, root)
                for job in self.stale:
                    self.submit(job)
                self.watch()
        except KeyboardInterrupt:
            self.abandon("the batch was interrupted")
            raise
        except BaseException:
            self.abandon("the batch could not go on")
            raise

    def prepare(self, client: Client, cluster: str, workers: int, root: Path) -> None:
        """Where and in which environment kernels work."""
        local = cluster == "local"
        hosts = [worker["host"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
        crowd = workers if local else max(map(hosts.count, hosts), default=1)
        self.client, self.root, self.crowd = client, root, crowd

    def submit(self, job: NotebookJob) -> None:
        """Dask orders the jobs: each takes the futures of what it needs."""
        from mtl.reporting.execute import run_job

        self.attempts[job.key] = self.attempts.get(job.key, 0) + 1
        needs = [self.futures[key] for key in needed_keys(job) if key in self.futures]
        self.futures[job.key] = self.client.submit(
            run_job, job, self.environment, self.root, needs, self.crowd, pure=False, retries=0,
            priority=-self.jobs.index(job),
            key=f"{job.study}-{job.name}-{time.time_ns()}",
        )  # fmt: skip

    def watch(self) -> None:
        """Read run.json until every job has ended, and tell what is new."""
        open_jobs = {job.key: job for job in self.stale}
        while open_jobs:
            time.sleep(POLL_SECONDS)
            for key, job in list(open_jobs.items()):
                if not self.futures[key].done():
                    continue
                if self.worth_another_attempt(job):
                    self.try_again(job)
                else:
                    self.settle(job, self.futures[key])
                    del open_jobs[key]
            self.read_records()
            if self.without_workers():
                self.abandon(f"the cluster has had no worker for {PATIENCE_SECONDS:.0f} s")
                return

    def worth_another_attempt(self, job: NotebookJob) -> bool:
        """Its worker died under another job, or it resumes where it was killed (but not for ever)."""
        if self.bad_needs(job) or self.attempts[job.key] >= ATTEMPTS:
            return False
        lost = self.futures[job.key].status == "error"
        if lost and notebook_status(job).get("status") == "waiting":
            return True
        return job.resumes and (
            self.worker_was_killed(job) if lost else self.futures[job.key].result() == "dead"
        )

    def worker_was_killed(self, job: NotebookJob) -> bool:
        from distributed.scheduler import KilledWorker

        return isinstance(self.futures[job.key].exception(), KilledWorker)

    def try_again(self, job: NotebookJob) -> None:
        if notebook_status(job).get("status") != "waiting":
            update_notebook(job, status="waiting", failure=None, reason=None)
            self.seen[job.key] = "waiting"
            self.tell("again", job)
        self.submit(job)

    def read_records(self) -> None:
        for job in self.stale:
            status = notebook_status(job).get("status", "waiting")
            if status != self.seen[job.key] and status == "running":
                self.seen[job.key] = status
                self.tell("started", job)
                refresh_gallery(job)
        self.tell("tick")

    def settle(self, job: NotebookJob, future: Future) -> None:
        """A future has ended: put right what the job itself could not write any more."""
        if future.status == "finished":
            if future.result() == "skipped":
                self.skip(job)
        elif self.bad_needs(job):
            self.skip(job)
        else:
            self.record_loss(job, future)
        entry = notebook_status(job)
        self.seen[job.key] = entry["status"]
        self.estimator.learn(job, entry.get("last_seconds"))
        self.tell("ended", job)
        refresh_gallery(job)

    def skip(self, job: NotebookJob) -> None:
        update_notebook(job, status="skipped", reason=f"needs {', '.join(self.bad_needs(job))}")

    def bad_needs(self, job: NotebookJob) -> list[str]:
        return [name for name in job.needs if notebook_status(replace(job, name=name)).get("status") in BAD]

    def record_loss(self, job: NotebookJob, future: Future) -> None:
        """The worker died under the job, or could not even begin it."""
        from mtl.reporting.execute import keep_failed

        error, dead = future.exception(), self.worker_was_killed(job)
        reason = "its worker process was killed" if dead else f"{type(error).__name__}: {error}"
        keep_failed(job)
        update_notebook(
            job, status="dead" if dead else "failed", ended=now(), reason=reason, cell=None,
            failure={"ename": "KilledWorker" if dead else type(error).__name__, "evalue": reason},
        )  # fmt: skip

    def without_workers(self) -> bool:
        if self.client.scheduler_info()["workers"]:
            self.workerless_since = None
            return False
        self.workerless_since = self.workerless_since or time.monotonic()
        return time.monotonic() - self.workerless_since > PATIENCE_SECONDS

    def abandon(self, reason: str) -> None:
        """Nothing goes on: what ran is dead, what waited is skipped."""
        for job in self.stale:
            status = notebook_status(job).get("status")
            if status in ("running", "waiting"):
                left = "dead" if status == "running" else "skipped"
                update_notebook(job, status=left, reason=reason, ended=now(), cell=None)

    def tell(self, kind: str, job: NotebookJob | None = None) -> None:
        running = [(j, e) for j in self.stale if (e := notebook_status(j)).get("status") == "running"]
        running = [(j, {**entry, "training": training_progress(j)}) for j, entry in running]
        waiting = [
            j for j in self.stale if self.seen[j.key] == "waiting" and j not in [r for r, _ in running]
        ]
        self.on_update(
            BatchEvent(
                kind=kind,
                job=job,
                entry=notebook_status(job) if job else {},
                position=self.jobs.index(job) + 1 if job else 0,
                total=len(self.jobs),
                up_to_date=len(self.jobs) - len(self.stale),
                ended=sum(status not in ("waiting", "running") for status in self.seen.values()),
                running=[(j.name, entry) for j, entry in running],
                eta_seconds=self.estimator.remaining([j for j, _ in running], waiting),
                workers=self.estimator.workers,
                noun=self.jobs[0].noun,
            )
        )

    def outcome(self, job: NotebookJob) -> Outcome:
        entry = notebook_status(job)
        return Outcome(
            job, entry.get("status", "skipped"), entry.get("seconds"), job.key not in self.seen,
            entry.get("reason", ""), entry.get("failure", {}),
        )  # fmt: skip


def refresh_gallery(job: NotebookJob) -> None:
    write_gallery(job.run_directory.parents[1])


def _absolute(job: NotebookJob) -> NotebookJob:
    paths = {"notebook": Path(job.notebook).resolve(), "run_directory": Path(job.run_directory).resolve()}
    return replace(job, **paths)
