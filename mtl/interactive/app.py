"""``mtl app STUDY``: the study's demo as a page of its own, served by Voila on this machine.

The demo stands on the newest finished run of its study; where there is none, the quick one is made first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError, MissingArtefactError, ParameterError
from mtl.files import read_json
from mtl.studies import parameters_class
from mtl.studies.parameters import project_path, project_root

#: Study to its notebook in ``notebooks/demos``.
DEMOS = {
    "angiography": "04_angiography_player",
    "brain_mri": "03_brain_mri_panel",
    "em": "01_em_proofreading",
    "histology": "02_histology_annotation",
}
#: How cells of prose begin that say nothing to those who only look at the page.
LEFT_OUT = ("## Parameters", "The next cell checks them", "## Results", "## Answer")
PATIENCE = 10.0  # seconds that Voila has to end by itself


def newest_run(
    study: str, output_root: str | Path = "outputs", say: Callable[[str], None] = print
) -> Path | None:
    """The run of a study that was made last, by its provenance; None without any.

    A run whose notebooks ``mtl run`` did not bring to their end does not count, nor one with a damaged
    record, of which ``say`` is told; one that was made in JupyterLab, and so has no ``run.json``, does.
    """
    dates: dict[Path, str] = {}
    for path in (project_path(output_root) / study).glob("*/provenance.json"):
        try:
            if _status(path.parent) == "ok":
                dates[path.parent] = str(_entry(path, "date"))
        except DataError as error:
            say(f"Passed over: {error}")
    return max(dates, key=dates.get) if dates else None


def _status(run: Path) -> str:
    """Of ``run.json``, which a run made by hand does not have."""
    return _entry(run / "run.json", "status") if (run / "run.json").exists() else "ok"


def _entry(path: Path, key: str) -> Any:
    """What a record of a run says under ``key``."""
    with damage_named(f"{path}: not the record of a run, with an entry {key!r}"):
        return read_json(path)[key]


def run_to_show(
    study: str, run: str | None, output_root: str | Path, say: Callable[[str], None] = print
) -> Path:
    """The run that a demo stands on: the named one, or the newest; the quick one is made where there is none.

    Raises:
        ParameterError: there is no demo of the study.
        MissingArtefactError: no run of that name.
        DataError: the quick run failed.
    """
    if study not in DEMOS:
        raise ParameterError(f"no demo of {study!r}: there is one of {', '.join(DEMOS)}")
    folder = project_path(output_root) / study
    if run is not None:
        if not (folder / run / "provenance.json").is_file():
            raise MissingArtefactError(f"{folder / run}: no run of {study} (its provenance.json is missing)")
        if (status := _status(folder / run)) != "ok":
            say(f"{folder / run} did not come to its end ({status}): what it has not trained is trained now.")
        return folder / run
    if (newest := newest_run(study, output_root, say)) is not None:
        say(f"Standing on {newest}, the newest finished run of {study}.")
        return newest
    say(f"No finished run of {study} in {folder}: making one first (mtl run {study} --params quick).")
    quick = ["run", study, "--params", "quick", "-p", f"output_root={output_root}"]
    if _run_to_its_end([sys.executable, "-m", "mtl.cli", *quick]):
        raise DataError(f"mtl run {study} --params quick failed; see its messages above")
    return run_to_show(study, "quick", output_root, say)


def _run_to_its_end(command: list[str]) -> int:
    """Exit status; Ctrl-C and SIGTERM let the command end its own kernels and write its record first."""
    process = subprocess.Popen(command, cwd=project_root(), start_new_session=True)
    _end_as_by_ctrl_c()
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            _end(process)


def write_page(study: str, run: Path) -> Path:
    """The demo notebook with the run written into its parameters, without prose about running notebooks.

    Returns its path, in the folder of the demo's own run.
    """
    source = project_root() / "notebooks" / "demos" / f"{DEMOS[study]}.ipynb"
    root = run.parents[1]
    demos = parameters_class("demos")
    given = {"run": f"app_{study}_{run.name}", "study_run": str(run), "output_root": str(root)}
    folder = demos.from_values(given, "mtl app").run_directory
    notebook = parameterize_notebook(load_notebook_node(str(source)), given, report_mode=True)
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith(LEFT_OUT)]
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{DEMOS[study]}.ipynb"
    nbformat.write(notebook, page)
    return page


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(page: Path, port: int, say: Callable[[str], None] = print, open_browser: bool = False) -> int:
    """Serve a notebook with Voila until Ctrl-C (or SIGTERM, or the terminal closes); all ends with it.

    Returns Voila's exit status; 0 after Ctrl-C.

    Raises:
        ParameterError: as `check_can_serve`.
    """
    check_can_serve(port)
    command = [
        sys.executable, "-m", "voila", str(page), f"--port={port}", "--Voila.ip=127.0.0.1",
        "--strip_sources=True", "--show_tracebacks=True", "--template=mtl",
    ]  # fmt: skip
    if not open_browser:
        command.append("--no-browser")
    process = subprocess.Popen(command, cwd=project_root(), env=_environment(), start_new_session=True)
    _end_as_by_ctrl_c()
    try:
        while process.poll() is None and not _answers(port):
            time.sleep(0.1)
        if process.poll() is None:
            say(f"Open http://127.0.0.1:{port} (the page takes some seconds to be made). Ctrl-C ends it.")
        return process.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may have gone
            say("Ending.")
        return 0
    finally:
        _end(process)


def _end_as_by_ctrl_c() -> None:
    """SIGTERM, and SIGHUP of a terminal that is closed, become KeyboardInterrupt; not what nohup ignores."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def check_can_serve(port: int) -> None:
    """Before anything is trained for a page. Raises `ParameterError` without Voila, or for a taken port."""
    try:
        import voila  # noqa: F401
    except ImportError:
        raise ParameterError("mtl app needs Voila: pip install 'mtl[app]'") from None
    if _answers(port):
        raise ParameterError(f"--port {port}: something listens there already; choose another one")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _environment() -> dict[str, str]:
    """Kernels find this package, wherever the page lies; Voila finds the page's template and its settings.

    These let volumes be uploaded: by default a message of more than 10 MiB closes the connection.
    """
    jupyter = Path(__file__).with_name("jupyter")
    ours = {
        "PYTHONPATH": project_root(),
        "JUPYTER_PATH": jupyter,
        "JUPYTER_CONFIG_PATH": jupyter / "config",
    }
    paths = {
        name: os.pathsep.join([str(path), *filter(None, [os.environ.get(name)])])
        for name, path in ours.items()
    }
    return {**os.environ, **paths, "JUPYTER_PLATFORM_DIRS": "1"}


def _end(process: subprocess.Popen) -> None:
    """End a process and those of its session, kernels among them."""
    for sent, patience in ((signal.SIGINT, PATIENCE), (signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        if process.poll() is not None and sent is not signal.SIGKILL:
            continue
        try:
            os.killpg(process.pid, sent)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
