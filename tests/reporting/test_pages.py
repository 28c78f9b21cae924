"""What a notebook says about itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_notebooks import picture, printed, shown

from mtl.files import write_json
from mtl.reporting.pages import (
    answer_sentence,
    describe_notebook,
    picture_size,
    plain_text,
    readable_date,
    readable_seconds,
    run_facts,
    split_opening,
)


def book(*sources: str, kind: str = "markdown") -> dict:
    return {
        "cells": [{"cell_type": kind, "source": source, "metadata": {}} for source in sources],
        "metadata": {},
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# T\n\n**Question.** Why?\n\nRest.", ("T", "Why?", "Rest.")),
        ("# T\n**Question:** Why\nso?", ("T", "Why\nso?", "")),
        ("# T #\n\nNo question.", ("T", "", "No question.")),
        ("Just text.", ("Untitled", "", "Just text.")),
    ],
)
def test_opening(source: str, expected: tuple[str, str, str]) -> None:
    assert split_opening(book(source, "# Other")) == expected


def test_source_as_a_list_and_marks_removed() -> None:
    opening = book("x", "# A *b* `c`\n\n**Question.** Is $x$ [so](http://a)?")
    opening["cells"][0] = {"cell_type": "code", "source": "x", "metadata": {}}
    opening["cells"][1]["source"] = opening["cells"][1]["source"].splitlines(keepends=True)
    assert describe_notebook(opening) == {"title": "A b c", "question": "Is x so?"}
    assert plain_text("a &lt; <b>b</b>\n c") == "a < b c"


def test_the_answer_is_the_first_sentence_of_prose() -> None:
    outputs = [
        printed("no"),
        shown("text/html", "<table>"),
        shown("text/markdown", "Dice is 0.5. It pays! So.\n\nMore."),
    ]
    assert answer_sentence(outputs) == "Dice is 0.5."
    assert answer_sentence(outputs[:2]) == ""


def test_picture_size_is_what_was_said_or_the_files_own() -> None:
    assert picture_size(picture(width=30, height=20)) == (30, 20)
    assert picture_size(picture()) == (60, 40)


def test_facts_come_from_the_run(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "brain_mri" / "quick"
    report = run / "reports" / "a.html"
    write_json(
        run / "provenance.json", {"git_commit": "abc+changes", "hardware": {"cpu": "Xeon", "gpu": "H100"}}
    )
    papermill = {"duration": 125.0, "end_time": "2026-11-21T09:05:00.5+00:00"}
    facts = dict(run_facts(report, {"metadata": {"papermill": papermill}}))
    assert facts == {
        "Study": "brain_mri",
        "Run": "quick",
        "Date": "21 November 2026, 09:05 UTC",
        "Commit": "abc+changes",
        "Device": "H100",
        "Wall time": "2 min",
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (95, "2 min"), (12000, "3 h 20 min")]
)
def test_seconds(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text


def test_dates_without_zone() -> None:
    assert readable_date("2026-01-02T03:04:05") == "2 January 2026, 03:04 UTC"
