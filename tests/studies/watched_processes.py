"""Watching the processes of a run that is about to be killed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import psutil


def wait_for(moment: Callable[[], bool], runner: subprocess.Popen, seconds: float = 600.0) -> None:
    """Wait for ``moment`` while ``runner`` works; fails where it ends first."""
    end = time.monotonic() + seconds
    while not moment():
        assert runner.poll() is None, "it ended before the moment came: " + runner.communicate()[0]
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.05)


def command(process: psutil.Process) -> list[str]:
    """Its command line; empty where it has just gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
