"""The page of a predicted folder: whole by itself, everything said, nothing injected."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup

from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.inference.brain_mri import DISCLAIMER, MultiTaskPredictor
from mtl.inference.brain_mri.folder import COLUMNS, Case, FolderPrediction
from mtl.inference.brain_mri.uncertainty import UncertaintyOptions
from mtl.model_folder import save_model
from mtl.models.brain_mri import MultiTaskModel
from mtl.reporting.prediction_page import PredictionPage

NAMES = ["plain.png", '<b>&"x".jpg', "low.png", "extra.png"]


@pytest.fixture
def predictor(tmp_path) -> MultiTaskPredictor:
    torch.manual_seed(0)
    model = MultiTaskModel(
        base_filters=4, depth=2, image_size=32, normalisation=BrainNormalisation().to_dict()
    )
    save_model(model, tmp_path / "best", "")
    return MultiTaskPredictor(tmp_path / "best", classification_threshold=0.0)


@pytest.fixture
def page(predictor, tmp_path) -> BeautifulSoup:
    """Three cards of four files (the fourth does not fit), one of them below the threshold, and an error."""
    rng, collected, rows = np.random.default_rng(0), PredictionPage(side=64, max_pictures=3), []
    for name in NAMES:
        predictor.classification_threshold = 1.0 if name == "low.png" else 0.0
        image = np.pad(rng.integers(50, 200, (40, 30)), 8)
        options = {"grad_cam": True, "uncertainty": UncertaintyOptions(3), "conditional": True}
        shown = predictor.predict_batch([image], **options)[0]
        row = {
            "file": name, "kind": "picture", "tumor_probability": shown.tumor_prob,
            "predicted_label": shown.predicted_label, "tumor_area_pixels": shown.tumor_area_pixels,
            "tumor_percentage": shown.tumor_percentage, "predictive_entropy": 0.5,
            "mutual_information": 0.1, "error": "",
        }  # fmt: skip
        collected.add(Case(row, shown))
        rows.append(row)
    bad = {"file": "bad.jpg", "kind": "picture", "error": "bad.jpg: expected <a> picture"}
    collected.add(Case(bad))
    result = FolderPrediction(pd.DataFrame([*rows, bad], columns=list(COLUMNS)), tmp_path, ["notes.txt"])
    return BeautifulSoup(collected.write(result, tmp_path, predictor).read_text(), "html.parser")


def test_it_needs_no_network_and_every_picture_is_described(page):
    for tag in page.find_all(src=True):
        assert tag["src"].startswith("data:image/webp;base64,") and tag["alt"].strip()
    assert len(page.find_all("img")) == 3 + 3 + 2
    assert not page.find_all("script")
    links = [tag["href"] for tag in page.find_all(href=True)]
    assert not [link for link in links if re.match(r"(https?:)?//", link)]
    assert not re.search(r"url\(\s*['\"]?http", str(page))


def test_names_errors_and_limits_are_said_as_they_are(page):
    cards = [card.h2.get_text() for card in page.select(".case")]
    assert cards == NAMES[:3]
    assert page.select_one(".errors li").get_text() == "bad.jpg: bad.jpg: expected <a> picture"
    text = page.get_text(" ", strip=True)
    assert "4 of 5 files predicted" in text and "The first 3 files are shown here" in text
    assert "notes.txt" in text and text.count(DISCLAIMER) >= 2
    low = page.select(".case")[2]
    assert "no tumour" in low.get_text() and "no outline below the threshold" in low.get_text()
    assert [c.get_text() for c in low.find_all("figcaption")] == ["Slice", "Outline", "Grad-CAM"]
