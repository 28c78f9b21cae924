"""``mtl app``: which run it stands on, the page that it writes, and that Ctrl-C leaves nothing running."""

from __future__ import annotations

import datetime
import json
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from typer.testing import CliRunner

from mtl import cli
from mtl.errors import DataError, MissingArtefactError, ParameterError
from mtl.interactive.app import (
    DEMOS,
    _end_as_by_ctrl_c,
    _environment,
    free_port,
    newest_run,
    run_to_show,
    serve,
    write_page,
)
from mtl.studies import parameters_class
from mtl.studies.provenance import record_provenance

ROOT = Path(__file__).resolve().parents[2]


def made_run(root: Path, study: str, name: str, age: float = 0.0, **values) -> Path:
    """A run's folder with the parameters that it says it had, so many days old by its own account."""
    p = parameters_class(study).from_values({"run": name, **values}, "here")
    folder = root / study / name
    folder.mkdir(parents=True)
    made = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC) - datetime.timedelta(days=age)
    record = {"parameters": p.model_dump(mode="json"), "date": made.isoformat(timespec="seconds")}
    (folder / "provenance.json").write_text(json.dumps(record))
    return folder


def test_every_study_has_a_demo_and_every_demo_a_study() -> None:
    assert sorted(DEMOS.values()) == sorted(p.stem for p in (ROOT / "notebooks/demos").glob("*.ipynb"))


def test_the_newest_run_is_shown_and_named(tmp_path: Path) -> None:
    assert newest_run("em", tmp_path) is None
    new = made_run(tmp_path, "em", "new", age=1)
    made_run(tmp_path, "em", "old", age=20)
    made_run(tmp_path, "histology", "newer")
    said: list[str] = []
    assert run_to_show("em", None, tmp_path, said.append) == new
    assert "newest finished run of em" in said[0]
    assert run_to_show("em", "old", tmp_path, said.append).name == "old"


def test_a_damaged_run_is_passed_over_and_named(tmp_path: Path) -> None:
    good = made_run(tmp_path, "em", "good", age=9)
    damage = (("a", "provenance.json", "{"), ("b", "provenance.json", "{}"), ("c", "run.json", "[]"))
    for name, file, text in damage:
        (made_run(tmp_path, "em", name) / file).write_text(text)
    said: list[str] = []
    assert newest_run("em", tmp_path, said.append) == good
    assert len(said) == 3 and all("not the record of a run" in line for line in said)
    with pytest.raises(DataError, match=r"c/run\.json: not the record of a run, with an entry 'status'"):
        run_to_show("em", "c", tmp_path)


@pytest.mark.parametrize("status", ["running", "failed", "dead", "skipped"])
def test_a_run_that_did_not_come_to_its_end_is_shown_only_by_name(tmp_path: Path, status: str) -> None:
    done, half = made_run(tmp_path, "em", "done", age=9), made_run(tmp_path, "em", "half")
    (done / "run.json").write_text('{"status": "ok"}')
    (half / "run.json").write_text(json.dumps({"status": status}))
    said: list[str] = []
    assert newest_run("em", tmp_path) == done
    assert run_to_show("em", "half", tmp_path, said.append) == half
    assert f"half did not come to its end ({status})" in said[0]


@pytest.mark.slow
def test_sigterm_lets_the_quick_run_end_by_itself(tmp_path: Path) -> None:
    """The run is a stand-in that needs a second to put its things away after Ctrl-C."""
    inner = "import signal, time, pathlib, sys\nprint('begun', flush=True)\n"
    inner += "try: time.sleep(60)\nexcept KeyboardInterrupt:\n    time.sleep(1)\n"
    inner += f"    pathlib.Path({str(tmp_path / 'record')!r}).write_text('ended')\n"
    code = "import sys; from mtl.interactive.app import _run_to_its_end\n"
    code += f"_run_to_its_end([sys.executable, '-c', {inner!r}])"
    app = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert app.stdout.readline() == "begun\n"
    app.send_signal(signal.SIGTERM)
    assert app.wait(20) != 0
    assert (tmp_path / "record").read_text() == "ended"


def test_who_looks_at_a_run_leaves_its_provenance_as_it_is(tmp_path: Path) -> None:
    run = made_run(tmp_path, "em", "mine")
    demos = parameters_class("demos").from_values({"study_run": str(run)}, "here")
    before = (run / "provenance.json").read_bytes()
    record_provenance(demos.of_study("em"), "other data")
    assert (run / "provenance.json").read_bytes() == before
    theirs = parameters_class("em").from_values({"run": "mine", "output_root": str(tmp_path)}, "here")
    assert record_provenance(theirs, "other data")["data_fingerprint"] == "other data"
    assert (run / "provenance.json").read_bytes() != before


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


def test_pages_take_uploads_of_more_than_ten_mebibytes(tmp_path: Path) -> None:
    (tmp_path / "page.ipynb").write_text("{}")
    voila = "from voila.app import Voila; a = Voila(); a.initialize(['page.ipynb'])"
    lab = "from jupyter_server.serverapp import ServerApp; a = ServerApp(); a.load_config_file()"
    for code in (voila, lab):
        shown = "; print(a.tornado_settings['websocket_max_message_size'])"
        done = subprocess.run(
            [sys.executable, "-c", code + shown], cwd=tmp_path, env=_environment(),
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.strip() == str(2**29), done.stderr


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ParameterError, match="something listens there already"):
            serve(tmp_path / "page.ipynb", taken.getsockname()[1])
        asked = ["em", "--output-root", str(tmp_path), "--port", str(taken.getsockname()[1])]
        found = CliRunner().invoke(cli.app, ["app", *asked])
        assert found.exit_code and list(tmp_path.iterdir()) == [], "nothing is trained for a page in vain"


def test_what_nohup_ignores_stays_ignored() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _end_as_by_ctrl_c()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "closed terminal"])
def test_ctrl_c_ends_voila_and_its_kernels(tmp_path: Path, sent: signal.Signals) -> None:
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
        app.send_signal(sent)
        assert app.wait(40) == 0
        assert psutil.wait_procs(children, timeout=5)[1] == []
    finally:
        app.kill()
