"""The check finds what it is for, and nothing in a clean report."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_notebooks import code, headline, picture, printed, save, shown, text

from mtl.reporting.check import check_markdown_source, check_references, check_report, check_run, figures_in
from mtl.reporting.claims import claim, show_table
from mtl.reporting.html import export_report
from mtl.reporting.metrics_file import write_metrics

OPENING = text("# A\n\n**Question.** Why?")
DATA = '<data class="claim" value="0.5" data-source="metrics.json#/s/x">0.50</data>'
CLEAN = headline(shown("text/markdown", f"AUC {DATA}."), picture())


@pytest.fixture
def problems(run_directory: Path):
    def find(*cells, change=lambda page: page) -> list[str]:
        notebook = save(run_directory / "notebooks" / "a.ipynb", *cells)
        report = export_report(notebook, run_directory / "reports" / "a.html")
        report.write_text(change(report.read_text(encoding="utf-8")), encoding="utf-8")
        return check_report(report)

    return find


def test_a_clean_report_has_none(problems, run_directory: Path) -> None:
    import pandas as pd

    write_metrics(run_directory, "s", {"x": 0.5, "e": {"value": 0.9, "low": 0.8, "high": 1.0}})
    path = run_directory / "metrics.json"
    table = show_table(pd.DataFrame({"x": [0.125]}), "metrics.json#/s")
    output = shown("text/markdown", claim("Here {s.e} and {s.x:.1%}.", path).data)
    cells = [
        OPENING,
        text(
            "Formula $p = 0.05$, `lr=1e-3`, `0.5`, [a paper](https://doi.org/10.1/2.3), torch 2.13.0, 3 of 4."
        ),
        code("x = 0.25", output, shown("text/html", table.data), printed("trained 3 epochs")),
        CLEAN,
    ]
    assert problems(*cells) == []
    assert check_run(run_directory) == {}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([text("We reach 0.91 here.")], "number without a source: '0.91'"),
        ([text("We reach 91 % here.")], "number without a source: '91 %'"),
        ([code("1", printed("auc 0.912"))], "number without a source: '0.912'"),
        ([code("1", shown("text/html", "<table><tr><td>0.91</td></tr></table>"))], "no source"),
        ([code("1", shown("text/markdown", '<data value="1.5">1.5</data>'))], "has no data-source"),
        ([code("1", picture(alt=None))], "no alternative text"),
        ([code("1", picture(alt="  "))], "no alternative text"),
        ([text("![](data:image/png;base64,AAAA)")], "broken"),
        ([text('<img src="" alt="x">')], "missing or broken"),
        ([text('<img src="https://example.org/x.png" alt="x">')], "loads https://example.org/x.png"),
        ([text('<link rel="stylesheet" href="https://x.org/a.css">')], "loads https://x.org/a.css"),
        ([text('<p style="background:url(https://x.org/a.png)">a</p>')], "CSS loads https://x.org/a.png"),
        ([text("<style>@import 'https://x.org/a.css';</style>")], "CSS loads"),
        ([text("<script>import('https://x.org/a.js')</script>")], "script names"),
        ([code("1", printed("UserWarning: careful", "stderr"))], "writes to stderr"),
        ([code("1", printed("Traceback (most recent call last):\n  x"))], "traceback"),
        ([code("1", printed("{'auc': 1, 'n': 2}"))], "raw object"),
        ([code("1", printed("tensor([1, 2])"))], "raw object"),
        ([code("1", shown("text/plain", "<object at 0x7f>"))], "raw object"),
        ([text("$\\left( x$")], "formula not understood"),
        ([text("$\\nosuchcommand x$")], "unknown command"),
        ([code("show_figure(f, alt='x')")], "shows no picture"),
    ],
)
def test_each_fault_is_found(problems, cells, expected: str) -> None:
    found = problems(OPENING, *cells, CLEAN)
    assert any(expected in problem for problem in found), found


def test_a_first_screen_without_picture_is_found(problems) -> None:
    assert any("first screen" in p for p in problems(OPENING, headline(shown("text/markdown", "Yes."))))


def test_a_claim_that_differs_from_its_file_is_found(problems, run_directory: Path) -> None:
    write_metrics(run_directory, "s", {"x": 0.5})
    assert problems(OPENING, CLEAN) == []
    write_metrics(run_directory, "s", {"x": 0.25})
    assert any("claim '0.5' is 0.25" in p for p in problems(OPENING, CLEAN))
    write_metrics(run_directory, "s", {"y": 0.25})
    assert any("claim '0.5' is None" in p for p in problems(OPENING, CLEAN))


def test_a_picture_cut_short_is_found(problems) -> None:
    assert any(
        "broken" in p for p in problems(OPENING, CLEAN, change=lambda page: page.replace("iVBORw0K", "!!!!"))
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("0.91 and 12.5 % or 90%", ["0.91", "12.5 %", "90%"]),
        ("at 95 % CI, 3 of 10, in 2018, torch 2.13.0, v1.5, 2026-11-21", []),
        ("1.5e-3, −0.2", ["1.5e-3", "−0.2"]),
        ("(0.5)", ["0.5"]),
        ("95 % of them", ["95 %"]),
    ],
)
def test_which_numbers_count(words: str, expected: list[str]) -> None:
    assert figures_in(words) == expected


def test_markdown_source(tmp_path: Path) -> None:
    good = text("$\\alpha = 0.5$, `0.25`, [x](https://doi.org/10.1000/1.5)\n\n```\n0.1\n```\n\n$$0.3$$")
    assert check_markdown_source(save(tmp_path / "a.ipynb", good, code("x = 0.1"))) == []
    found = check_markdown_source(save(tmp_path / "b.ipynb", good, text("reached 0.93 and 12 %")))
    assert [p.split(" typed")[0] for p in found] == ["cell 1: '0.93'", "cell 1: '12 %'"]


def test_references_need_value_and_citation(tmp_path: Path) -> None:
    path = tmp_path / "references.yaml"
    path.write_text("good: {value: 0.9, citation: A 2020}\nbare: 0.9\nhalf: {value: 0}\n")
    assert check_references(path) == ["bare has no value", "bare has no citation", "half has no citation"]
