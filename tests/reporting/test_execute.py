"""What a failure leaves in the record."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import psutil

from mtl.reporting.execute import CellProgress, describe_error, end_group, excerpt, run_job
from mtl.reporting.status import notebook_status, update_notebook


def test_an_error_is_described_without_terminal_colours() -> None:
    trace = [
        "\x1b[31mZeroDivisionError\x1b[0m",
        "Cell In[2], line 1\n----> 1 f(0)\n\nCell\n----> 1 return 1/x",
    ]
    error = SimpleNamespace(
        cell_index=3,
        exec_count=2,
        source="f(0)",
        ename="ZeroDivisionError",
        evalue="\x1b[1mno\x1b[0m",
        traceback=trace,
    )
    said = describe_error(error)
    assert (said["cell"], said["line"], said["evalue"]) == (3, "f(0)", "no")
    assert "\x1b" not in said["traceback"]


def test_a_long_cell_is_cut() -> None:
    text = excerpt("\n".join(f"line {index}" for index in range(20)))
    assert text.splitlines()[0] == "line 0" and text.splitlines()[-1] == "... (12 more lines)"
    assert excerpt("\nx = 1\n") == "x = 1"


def test_cells_are_noted_once_a_second_at_most(make_job) -> None:
    clock, job = [0.0], make_job("01_data", "1")
    progress = CellProgress(job, clock=lambda: clock[0])
    progress.begin(SimpleNamespace(cells=range(9)))
    for index, clock[0] in enumerate((0.0, 0.2, 0.9, 1.1)):
        progress(SimpleNamespace(source=f"cell {index}"), index)
        noted = notebook_status(job)
        assert (noted["cell"], noted["cells"]) == (4 if clock[0] > 1 else 1, 9)
    assert progress.where() == {"cell": 3, "source": "cell 3"}


def test_done_or_doomed_jobs_start_no_kernel(make_job) -> None:
    job = make_job("01_data", "raise RuntimeError")
    assert run_job(job, {}, job.run_directory, ["ok", "failed"]) == "skipped"
    update_notebook(job, status="ok")
    assert run_job(job, {}, job.run_directory, ["ok"]) == "ok"
    assert not job.executed.exists()


def test_a_group_is_ended_with_its_children() -> None:
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    script = f"import subprocess, sys, time; {child}"
    leader = subprocess.Popen([sys.executable, "-c", f"{script}; print('up', flush=True); time.sleep(60)"],
                              stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
    assert leader.stdout.readline() == b"up\n"
    children = psutil.Process(leader.pid).children()
    end_group(leader.pid)
    assert leader.wait(10) == -9
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == 1 and not alive
    end_group(leader.pid)  # nothing left: no error
