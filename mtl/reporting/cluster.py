"""A Dask cluster for notebooks: one process per worker, one notebook at a time in each."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psutil

from mtl.errors import MtlError
from mtl.reporting.kernel_environment import kernel_environment

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10.0
QUIET = {
    "distributed.scheduler.allowed-failures": 0,  # a notebook that killed its worker is not tried again
    "distributed.worker.memory.terminate": False,  # the kernel's memory is not the worker's
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.comm.timeouts.connect": "20s",
    "distributed.admin.log-length": 0,
    "logging.distributed": "critical",
}


@contextlib.contextmanager
def connect(cluster: str, workers: int, gpus: int) -> Iterator[Client]:
    """A client of a cluster made here (``"local"``) or of the one at an address (``"tcp://..."``).

    Leaving ends a local cluster at once, kernels included. ``MtlError`` where no scheduler answers.
    """
    import dask
    from distributed import Client

    with dask.config.set(QUIET):
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        if cluster != "local":
            try:
                client = Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError) as error:
                raise MtlError(f"no Dask scheduler answers at {cluster!r}: {error}") from error
            with client:
                yield client
            return
        with local_cluster(worker_environments(workers, gpus)) as made:
            client = Client(made, set_as_default=False)
            try:
                yield client
            finally:
                end_workers(made)  # first, so that nobody waits for a notebook to finish
                client.close(timeout=5)


def worker_environments(workers: int, gpus: int) -> list[dict[str, str]]:
    """Variables of each worker; with ``gpus`` one worker per card, each seeing its own only."""
    if not gpus:
        return [kernel_environment(workers)] * workers
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = [card for card in visible.split(",") if card] if visible is not None else None
    cards = [str(card) for card in range(gpus)] if cards is None else cards
    if len(cards) < gpus:
        raise MtlError(f"{gpus} GPUs asked for, but CUDA_VISIBLE_DEVICES={visible!r} shows {len(cards)}")
    return [{**kernel_environment(gpus), "CUDA_VISIBLE_DEVICES": card} for card in cards[:gpus]]


def local_cluster(environments: list[dict[str, str]]) -> Any:
    """One nanny-watched worker process per entry; no dashboard, no fixed port, loopback only."""
    from distributed import Nanny, Scheduler, SpecCluster

    options = {"nthreads": 1, "dashboard": False, "memory_limit": 0, "host": "127.0.0.1",
               "silence_logs": logging.CRITICAL}  # fmt: skip
    # Without a dashboard Dask serves HTTP all the same, and warns where its favourite port 8787 is taken.
    served = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": served}
    specification = {
        index: {"cls": Nanny, "options": {**options, "env": environment, "name": index}}
        for index, environment in enumerate(environments)
    }
    return SpecCluster(specification, scheduler=scheduler, silence_logs=logging.CRITICAL)


def end_workers(cluster: Any) -> None:
    """Kill the worker processes of a local cluster, their kernels, and what those have started."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        worker = getattr(nanny.process, "process", None)
        if worker is None or not worker.pid:
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(worker.pid)
            for one in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
