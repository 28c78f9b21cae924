"""Run directories and jobs of small notebooks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests

from small_notebooks import code, save, text  # noqa: E402

from mtl.reporting.status import NotebookJob  # noqa: E402


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "brain_mri" / "quick"


@pytest.fixture
def make_job(tmp_path: Path, run_directory: Path) -> Callable[..., NotebookJob]:
    """``make_job("01_data", "x = 1")``: a job with a notebook of these code cells."""

    def make(name: str, *sources: str, needs: tuple[str, ...] = (), fingerprint: str = "a") -> NotebookJob:
        opening = text(f"# About {name}\n\n**Question.** What does {name} show?")
        notebook = save(tmp_path / f"{name}.ipynb", opening, *[code(source) for source in sources])
        return NotebookJob("brain_mri", name, notebook, {}, run_directory, needs, fingerprint)

    return make
