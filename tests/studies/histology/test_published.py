"""The README's table says where its figures come from, and which weights are not the usual ones."""

from __future__ import annotations

from pathlib import Path

from mtl.evaluation.statistics import Estimate
from mtl.studies.histology.parameters import HistologyParameters
from mtl.studies.histology.published import published_rows
from mtl.studies.histology.scoring import OUTSIDE, TEST
from mtl.studies.histology.study import HistologyStudy


def test_rows_and_title(tmp_path: Path) -> None:
    parameters = HistologyParameters(output_root=str(tmp_path), tiles="tissue", data_root=str(tmp_path))
    found = {"pq": Estimate(0.4, 0.3, 0.5, 9, "image"), "aji": Estimate(None, None, None, 0, "image")}
    figures = {TEST: {"otsu_0": found, "all_10": found}, OUTSIDE: {"all_100": found}}
    published = published_rows(HistologyStudy(parameters), figures)
    assert published["title"] == "Histology, real tissue"
    assert [(row["stage"], row["source"], row["metric"]) for row in published["rows"]] == [
        ("Otsu and watershed", "tissue", "PQ (n = 9 images)"),
        ("all losses, 10% of labels", "tissue", "PQ (n = 9 images)"),
        ("all losses, 100% of labels", "phantom (outside)", "PQ (n = 9 images)"),
    ]
    heavier = HistologyStudy(parameters.model_copy(update={"alpha_edge": 10.0, "alpha_hv": 0.5}))
    title = published_rows(heavier, figures)["title"]
    assert title == "Histology, real tissue, edge weighs 10, inner map weighs 0.5"
