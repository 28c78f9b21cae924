"""The house's floors and habits, kept by machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mtl"
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "stuff"}


def test_import_contracts_hold():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_import_mtl_and_parameters_load_neither_torch_nor_monai():
    code = (
        "import sys, mtl, mtl.cli, mtl.studies.parameters as p; p.parameters_class('brain_mri')();"
        "print(*(m for m in ('torch', 'monai', 'matplotlib') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_files_hold_one_idea():
    long = {
        str(f.relative_to(ROOT)): n
        for f in PACKAGE.rglob("*.py")
        if (n := len(f.read_text().splitlines())) > 310
    }
    assert not long


def test_no_vague_names():
    assert not [f for f in [*PACKAGE.rglob("*"), *(ROOT / "tests").rglob("*")] if f.stem in VAGUE]


def test_readme_names_the_two_commands_and_its_table_is_in_step():
    from mtl.reporting.published import results_table_text, with_results

    text = (ROOT / "README.md").read_text()
    assert "make demo" in text and "make test" in text
    assert with_results(text, results_table_text(ROOT / "outputs" / "published")) == text
