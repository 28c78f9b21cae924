"""Voila and JupyterLab, started on a notebook and ended with everything that they started."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from mtl.interactive.app import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180_000  # milliseconds until a page with its networks is there


@contextmanager
def served(host: str, page: Path, folder: Path) -> Iterator[str]:
    """Address of a notebook in ``voila`` (by ``mtl.interactive.app``) or ``lab``; ``folder``: for logs."""
    port = free_port()
    if host == "voila":
        code = "import sys; from pathlib import Path; from mtl.interactive.app import serve\n"
        command = [sys.executable, "-c", f"{code}sys.exit(serve(Path({str(page)!r}), {port}))"]
        address = f"http://127.0.0.1:{port}"
    else:
        options = [
            "--IdentityProvider.token=",
            f"--ServerApp.root_dir={page.parent}",
            "--ServerApp.port_retries=0",
        ]
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            f"--port={port}",
            "--allow-root",
            *options,
        ]
        address = f"http://127.0.0.1:{port}/lab/tree/{page.name}"
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_WORKSPACES_DIR")
    places = {name: str(folder / name) for name in names} | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / f"{host}.log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **places}, stdout=log, stderr=log, cwd=ROOT)
    try:
        wait_for(lambda: answers(port) or server.poll() is not None, 90)
        assert server.poll() is None, (folder / f"{host}.log").read_text()[-2000:]
        yield address
    finally:
        end(server)


def end(server: subprocess.Popen) -> None:
    """Ctrl-C, and whatever is left after that the hard way."""
    children = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.send_signal(signal.SIGINT if server.args[1] == "-c" else signal.SIGTERM)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
    for child in psutil.wait_procs(children, timeout=3)[1]:
        child.kill()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Any, seconds: float, page: Any = None, what: str = "waited in vain") -> None:
    """Until ``condition()`` holds; a page keeps running meanwhile."""
    end_of_patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_of_patience, what
        page.wait_for_timeout(100) if page else time.sleep(0.1)


def run_all_cells(page: Any) -> None:
    """*Run All Cells* of JupyterLab; once more where it, still starting, lost the wish."""
    page.locator(".jp-Notebook .jp-Cell").first.click(timeout=PATIENCE)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(timeout=PATIENCE)
    begun = page.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\[(\*|\d+)\]"))
    for _ in range(4):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        for _ in range(150):
            if begun.count():
                return
            page.wait_for_timeout(100)
    raise AssertionError("no cell was run")
