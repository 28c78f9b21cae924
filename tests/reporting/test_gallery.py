"""The gallery: every state of a report, links that lead somewhere, nothing from the network."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from small_notebooks import headline, picture, save, shown, text

from mtl.reporting.check import network_problems
from mtl.reporting.gallery import note_of, study_title, write_gallery
from mtl.reporting.html import export_report
from mtl.reporting.metrics_file import write_metrics
from mtl.reporting.status import edit_status

FAILURE = {"cell": 2, "ename": "DataError", "evalue": "<no> mask"}


@pytest.fixture
def outputs(run_directory: Path) -> Path:
    """A run with a notebook in each state."""
    for name in ("01_data", "02_warm_up"):
        answer = shown("text/markdown", "It pays. Much.")
        notebook = save(
            run_directory / "notebooks" / f"{name}.ipynb", text("# T"), headline(answer, picture("Dots."))
        )
        export_report(notebook, run_directory / "reports" / f"{name}.html")
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 9, "unit": "patients"}
    write_metrics(run_directory, "data", {"headline": [{"label": "Dice", "value": estimate}]})
    with edit_status(run_directory) as record:
        record["notebooks"] = {
            "01_data": {"status": "ok", "title": "Data", "question": "What?", "seconds": 61},
            "02_warm_up": {
                "status": "running",
                "title": "Warm-up",
                "question": "How far?",
                "cell": 3,
                "cells": 9,
            },
            "03_head": {"status": "failed", "title": "Head", "failure": FAILURE},
            "04_joint": {"status": "waiting", "title": "Joint", "question": "Does it pay?"},
            "05_end": {"status": "skipped", "title": "End", "reason": "needs 03_head"},
        }
    return run_directory.parents[1]


def load(outputs: Path) -> BeautifulSoup:
    return BeautifulSoup(write_gallery(outputs).read_text(encoding="utf-8"), "html.parser")


def test_every_state_has_its_card(outputs: Path) -> None:
    soup = load(outputs)
    cards = soup.select(".card")
    assert [card.select_one(".chip").get_text() for card in cards] == [
        "done",
        "running",
        "failed",
        "waiting",
        "not run",
    ]
    assert [card.h3.get_text() for card in cards] == ["Data", "Warm-up", "Head", "Joint", "End"]
    assert "It pays." in cards[0].get_text() and "Much." not in cards[0].get_text()
    assert cards[0].img["alt"] == "Dots." and cards[0].img["src"].startswith("data:image/webp")
    assert "cell 3 of 9" in cards[1].get_text() and "How far?" in cards[1].get_text()
    assert "cell 3: DataError: <no> mask" in cards[2].get_text()
    assert "needs 03_head" in cards[4].get_text()


def test_headline_figures_come_with_interval_and_source(outputs: Path) -> None:
    figure = load(outputs).select_one(".card .figures")
    assert figure.dt.get_text() == "Dice" and figure.dd.get_text() == "0.800.70 to 0.90"
    assert figure.dd["data-source"] == "metrics.json#/data/headline/0/value"


def test_links_are_relative_and_lead_to_reports(outputs: Path) -> None:
    links = [a["href"] for a in load(outputs).select(".card a")]
    assert links == ["brain_mri/quick/reports/01_data.html"]
    assert (outputs / unquote(links[0])).exists()


def test_it_refreshes_itself_only_while_something_runs(outputs: Path, run_directory: Path) -> None:
    assert load(outputs).select_one("meta[http-equiv=refresh]")
    with edit_status(run_directory) as record:
        for name in ("02_warm_up", "04_joint"):
            record["notebooks"][name]["status"] = "ok"
    soup = load(outputs)
    assert soup.select_one("meta[http-equiv=refresh]") is None
    assert [a["href"].rsplit("/")[-1] for a in soup.select(".card a")] == ["01_data.html", "02_warm_up.html"]


def test_an_empty_one_says_how_to_begin(tmp_path: Path) -> None:
    soup = load(tmp_path / "outputs")
    assert "make demo" in soup.get_text() and not soup.select(".card")


def test_nothing_comes_from_the_network(outputs: Path) -> None:
    soup = load(outputs)
    assert network_problems(soup) == [] and soup.html["lang"] == "en"


def test_a_second_run_gets_its_own_section(outputs: Path) -> None:
    with edit_status(outputs / "brain_mri" / "real") as record:
        record["notebooks"] = {"01_data": {"status": "ok", "started": "2026-11-21T10:00:00+00:00"}}
    headings = [" ".join(h.get_text().split()) for h in load(outputs).select("section.run h2")]
    assert headings == ["Brain MRI real", "Brain MRI quick"]


def test_study_titles() -> None:
    assert [study_title(s) for s in ("brain_mri", "em", "histology")] == [
        "Brain MRI",
        "Electron microscopy",
        "Histology",
    ]


def test_an_error_that_says_nothing_is_named():
    entry = {"status": "failed", "failure": {"cell": 7, "ename": "StopIteration", "evalue": ""}}
    assert note_of(entry) == "cell 8: StopIteration"
