"""What makes a notebook stale, and what does not."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from small_notebooks import code, printed, save, text

from mtl.reporting.fingerprint import PACKAGE, computing_files, notebook_fingerprint, package_fingerprint


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return save(tmp_path / "a.ipynb", text("# A"), code("x = 1"))


def test_outputs_and_counts_do_not_matter(notebook: Path) -> None:
    before = notebook_fingerprint(notebook, {"a": 1}, "p")
    book = nbformat.read(notebook, as_version=4)
    book.cells[1].outputs, book.cells[1].execution_count = [printed("1")], 7
    book.metadata["language_info"] = {"name": "python"}
    nbformat.write(book, notebook)
    assert notebook_fingerprint(notebook, {"a": 1}, "p") == before


@pytest.mark.parametrize("change", ["source", "tag", "parameters", "package", "upstream"])
def test_what_matters_changes_it(notebook: Path, change: str) -> None:
    before = notebook_fingerprint(notebook, {"a": 1}, "p", ["u"])
    book = nbformat.read(notebook, as_version=4)
    if change == "source":
        book.cells[0].source += "!"
    if change == "tag":
        book.cells[1].metadata["tags"] = ["headline"]
    nbformat.write(book, notebook)
    parameters = {"a": 2 if change == "parameters" else 1}
    package, upstream = "q" if change == "package" else "p", ["v" if change == "upstream" else "u"]
    assert notebook_fingerprint(notebook, parameters, package, upstream) != before


def test_parameter_order_does_not_matter(notebook: Path) -> None:
    first = notebook_fingerprint(notebook, {"a": 1, "b": 2}, "p")
    assert notebook_fingerprint(notebook, {"b": 2, "a": 1}, "p") == first


def test_files_count_by_content(tmp_path: Path, notebook: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text("a = 1\n")
    before = notebook_fingerprint(notebook, {}, [module])
    assert package_fingerprint([module]) == package_fingerprint([str(module)])
    module.write_text("a = 2\n")
    assert notebook_fingerprint(notebook, {}, [module]) != before


def test_page_making_code_is_not_computing_code() -> None:
    names = {path.relative_to(PACKAGE).as_posix() for path in computing_files()}
    assert {"files.py", "reporting/figures.py", "reporting/claims.py"} <= names
    assert not {"cli.py", "reporting/html.py", "reporting/gallery.py", "reporting/batch.py"} & names
