"""Published results: complete, small, and the README in step with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl.errors import DataError, MissingArtefactError
from mtl.files import read_json, write_json
from mtl.reporting import published
from mtl.reporting.metrics_file import write_metrics
from mtl.reporting.published import END, START, publish, results_table_text, with_results, write_results_table

ROWS = [
    {
        "stage": "warm-up",
        "source": "LGG",
        "metric": "Dice",
        "estimate": {"value": 0.8, "low": 0.75, "high": 0.85},
    },
    {
        "stage": "joint",
        "source": "LGG",
        "metric": "Dice",
        "estimate": {"value": 0.82, "low": 0.77, "high": 0.87},
    },
    {
        "stage": "joint",
        "source": "Kaggle",
        "metric": "ROC-AUC",
        "estimate": {"value": None, "reason": "one class"},
    },
]


@pytest.fixture
def run(run_directory: Path) -> Path:
    write_metrics(run_directory, "published", {"title": "Three stages", "rows": ROWS})
    hardware = {"cpu": "Xeon", "cores": 2, "gpu": None}
    write_json(run_directory / "run.json", {"status": "ok", "notebooks": {}})
    write_json(run_directory / "provenance.json", {"date": "2026-11-21T10:00:00+00:00", "hardware": hardware})
    return run_directory


def test_publish_copies_what_the_table_needs(run: Path, tmp_path: Path) -> None:
    record = read_json(publish(run, tmp_path / "published"))
    assert record["rows"] == ROWS and record["title"] == "Three stages"
    assert (record["date"], record["hardware"]) == ("2026-11-21", "2 cores of Xeon")
    assert record["command"] == "mtl run brain_mri --params quick"


def test_notebooks_publish_in_sections_of_their_own(run: Path, tmp_path: Path) -> None:
    metrics = {"title": "Clicks", "rows": [ROWS[0] | {"metric": "NoC"}]}
    write_metrics(run, "published_clicks", metrics)
    write_metrics(run, "unpublished", {"rows": [ROWS[0] | {"metric": "none"}]})
    record = read_json(publish(run, tmp_path / "published"))
    assert record["rows"] == [*ROWS, *metrics["rows"]] and record["title"] == "Three stages"


@pytest.mark.parametrize("status", ["failed", "dead", "running", None])
def test_a_run_that_did_not_end_well_is_not_published(run: Path, tmp_path: Path, status: str | None) -> None:
    (run / "run.json").unlink()
    if status:
        write_json(run / "run.json", {"status": status, "notebooks": {}})
    with pytest.raises(DataError, match="all ok"):
        publish(run, tmp_path / "published")


def test_the_table(run: Path, tmp_path: Path) -> None:
    publish(run, tmp_path / "published", title="T", command="make it")
    assert results_table_text(tmp_path / "published").splitlines() == [
        "### T",
        "",
        "| | LGG: Dice | Kaggle: ROC-AUC |",
        "|---|---:|---:|",
        "| warm-up | 0.80 [0.75, 0.85] | – |",
        "| joint | 0.82 [0.77, 0.87] | not defined (one class) |",
        "",
        "`make it` on 2 cores of Xeon, 2026-11-21; in brackets 95 % intervals.",
    ]


def test_rows_kept_out_of_the_table_are_published_all_the_same(run: Path, tmp_path: Path) -> None:
    more = {"stage": "joint", "source": "LGG", "metric": "MCC", "estimate": {"value": 0.5}, "in_table": False}
    write_metrics(run, "published", {"title": "T", "rows": [*ROWS, more]})
    record = read_json(publish(run, tmp_path / "published"))
    assert record["rows"][-1] == more
    assert "MCC" not in results_table_text(tmp_path / "published")


def test_the_readme_is_brought_in_step_once(run: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# R\n\n{START}\nold\n{END}\n\nrest\n")
    publish(run, tmp_path / "published")
    assert write_results_table(readme, tmp_path / "published") is True
    assert write_results_table(readme, tmp_path / "published") is False
    text = readme.read_text()
    assert results_table_text(tmp_path / "published") in text and "old" not in text
    assert text.startswith("# R\n") and text.endswith("\n\nrest\n")


@pytest.mark.parametrize("text", ["nothing", f"{END} {START}", f"{START}{START}{END}"])
def test_markers_must_be_there_once_and_in_order(text: str) -> None:
    with pytest.raises(DataError, match="README.md must hold"):
        with_results(text, "x")


def test_incomplete_results_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match="'joint'"):
        publish(run, tmp_path, sections=["joint"])
    write_metrics(run, "published", {"title": "T", "rows": [{**ROWS[0], "metric": ""}]})
    with pytest.raises(DataError, match=r"rows\[0\]\.metric"):
        publish(run, tmp_path)


def test_too_much_is_refused_and_not_left_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "LIMIT_BYTES", 300)
    with pytest.raises(DataError, match="at most 300"):
        publish(run, tmp_path / "published")
    assert list((tmp_path / "published").glob("*.json")) == []


def test_nothing_published(tmp_path: Path) -> None:
    assert "Nothing" in results_table_text(tmp_path)
