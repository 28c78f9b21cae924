"""What every notebook of the collection keeps to, read from its two files; nothing is run here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jupytext
import nbformat
import pytest

from mtl.reporting.check import check_markdown_source, check_references
from mtl.reporting.gallery import section_of
from mtl.studies import STUDIES, parameters_class
from mtl.studies.parameters import read_yaml

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))
MOST_CODE_LINES = 27

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_there_are_notebooks_for_every_study():
    assert {path.parent.name for path in NOTEBOOKS} >= set(STUDIES)


@every_notebook
def test_both_files_of_a_pair_say_the_same(path):
    twin = jupytext.read(path.with_suffix(".py"))
    cells = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in read(path).cells]
    assert cells == [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in twin.cells]


def test_no_script_without_a_notebook():
    assert {p.with_suffix("") for p in (ROOT / "notebooks").glob("*/*.py")} == {
        p.with_suffix("") for p in NOTEBOOKS
    }


@every_notebook
def test_notebooks_are_committed_without_outputs(path):
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(path))


@every_notebook
def test_a_story_of_readable_length(path):
    cells = read(path).cells
    assert 15 <= len(cells) <= 45
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert "**Question.**" in cells[0].source
    for before, cell in zip(cells, cells[1:], strict=False):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown", f"no prose before: {cell.source[:60]}"
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= MOST_CODE_LINES, f"{len(lines)} lines: {cell.source[:60]}"


@every_notebook
def test_the_first_code_cell_holds_the_parameters_and_the_last_the_headline(path):
    first, *_, last = code_cells(path)
    assert first.metadata.get("tags") == ["parameters"] and first.source.startswith("# Parameters\n")
    assert last.metadata.get("tags") == ["headline"]
    assert "read_parameters(" in code_cells(path)[1].source


@every_notebook
def test_parameters_are_flat_typed_explained_and_the_defaults_of_the_study(path):
    fields = parameters_class(path.parent.name).model_fields
    source = code_cells(path)[0].source
    for line, statement in zip(source.splitlines()[1:], ast.parse(source).body, strict=True):
        assert isinstance(statement, ast.AnnAssign) and "  # " in line, line
        name, value = statement.target.id, ast.literal_eval(statement.value)
        assert name in fields, f"{name} is not a parameter of the study"
        assert value == fields[name].default, f"{name}: {value!r} here, {fields[name].default!r} in the study"


@every_notebook
def test_the_section_of_metrics_has_the_name_of_the_notebook(path):
    """The gallery's card takes its headline numbers from there."""
    source = "\n".join(cell.source for cell in code_cells(path))
    if "write_metrics(" not in source:
        pytest.skip("it writes no metrics")
    sections = re.findall(r'write_metrics\(\s*[\w.]+,\s*"(\w+)"', source)
    assert section_of(path.stem, dict.fromkeys(sections, {}))[0]


@every_notebook
def test_no_figure_is_typed_into_prose(path):
    assert check_markdown_source(path) == []


@every_notebook
def test_nothing_is_defined_in_a_notebook_but_what_a_reader_is_to_write(path):
    """A cell tagged ``own-code`` stands for the reader's own: one a notebook, 25 lines at most."""
    own = [cell for cell in code_cells(path) if "own-code" in cell.metadata.get("tags", [])]
    assert len(own) <= 1 and all(len(cell.source.splitlines()) <= 25 for cell in own)
    for cell in (cell for cell in code_cells(path) if cell not in own):
        defined = [
            n.name for n in ast.parse(cell.source).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))
        ]
        assert not defined, f"{defined} belongs into the package"


@pytest.mark.parametrize("study", STUDIES)
def test_the_quick_parameters_are_the_defaults(study):
    defaults = parameters_class(study)().model_dump()
    quick = read_yaml(ROOT / "params" / study / "quick.yaml")
    assert {name: defaults[name] for name in quick} == quick


def test_literature_figures_have_a_source():
    assert check_references(ROOT / "params" / "references.yaml") == []
