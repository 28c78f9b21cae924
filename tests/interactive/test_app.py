"""``mtl app``: which run it stands on, the page that it writes, and that Ctrl-C leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from mtl.errors import MissingArtefactError, ParameterError
from mtl.interactive.app import DEMOS, free_port, newest_run, run_to_show, serve, write_page
from mtl.studies import parameters_class

ROOT = Path(__file__).resolve().parents[2]


def made_run(root: Path, study: str, name: str, age: float = 0.0, **values) -> Path:
    """A run's folder with the parameters that it says it had."""
    p = parameters_class(study).from_values({"run": name, **values}, "here")
    folder = root / study / name
    folder.mkdir(parents=True)
    path = folder / "provenance.json"
    path.write_text(json.dumps({"parameters": p.model_dump(mode="json")}))
    os.utime(path, (time.time() - age,) * 2)
    return folder


def test_every_study_has_a_demo_and_every_demo_a_study() -> None:
    assert sorted(DEMOS.values()) == sorted(p.stem for p in (ROOT / "notebooks/demos").glob("*.ipynb"))


def test_the_newest_run_is_shown_and_named(tmp_path: Path) -> None:
    assert newest_run("em", tmp_path) is None
    made_run(tmp_path, "em", "old", age=100)
    new = made_run(tmp_path, "em", "new")
    made_run(tmp_path, "histology", "newer")
    said: list[str] = []
    assert run_to_show("em", None, tmp_path, said.append) == new and "newest run of em" in said[0]
    assert run_to_show("em", "old", tmp_path, said.append).name == "old"


def test_what_cannot_be_shown_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no demo of 'methods': there is one of angiography"):
        run_to_show("methods", None, tmp_path)
    with pytest.raises(MissingArtefactError, match=r"none: no run of em"):
        run_to_show("em", "none", tmp_path)


@pytest.mark.parametrize("study", sorted(DEMOS))
def test_the_page_stands_on_that_run_wherever_it_lies(tmp_path: Path, study: str) -> None:
    run = made_run(tmp_path, study, "mine", seed=7)
    page = write_page(study, run)
    notebook = nbformat.read(page, as_version=4)
    [injected] = [c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", ())]
    values: dict = {}
    exec(injected.source, values)
    del values["__builtins__"]
    demos = parameters_class("demos").from_values(values, "page")
    theirs = demos.of_study(study)
    assert theirs.run_directory == run and theirs.seed == 7 and theirs.run == "mine"
    assert page.parent == demos.run_directory and page.is_relative_to(tmp_path)


def test_a_study_run_that_is_none_is_refused(tmp_path: Path) -> None:
    demos = parameters_class("demos").from_values({"study_run": str(tmp_path)}, "here")
    with pytest.raises(ParameterError, match=r"study_run: .*provenance\.json is missing"):
        demos.of_study("em")


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ParameterError, match="something listens there already"):
            serve(tmp_path / "page.ipynb", taken.getsockname()[1])


@pytest.mark.slow
def test_ctrl_c_ends_voila_and_its_kernels(tmp_path: Path) -> None:
    page = tmp_path / "page.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell("import os; print('kernel', os.getpid())")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), page)
    port = free_port()
    code = "import sys; from pathlib import Path; from mtl.interactive.app import serve\n"
    code += f"sys.exit(serve(Path({str(page)!r}), {port}))"
    app = subprocess.Popen([sys.executable, "-u", "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert f"http://127.0.0.1:{port}" in app.stdout.readline()
        found = subprocess.run(
            [sys.executable, "-c", f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}').read().decode())"],
            capture_output=True, text=True, timeout=120, check=True,
        ).stdout  # fmt: skip
        assert "kernel" in found
        children = psutil.Process(app.pid).children(recursive=True)
        assert children
        app.send_signal(signal.SIGINT)
        assert app.wait(40) == 0
        assert psutil.wait_procs(children, timeout=5)[1] == []
    finally:
        app.kill()
