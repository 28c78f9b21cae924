"""One clip in depth: report, attention and neighbours belong to that clip; rows of the README's table."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.errors import ParameterError
from mtl.evaluation.statistics import Estimate
from mtl.studies.angiography.clip_in_depth import attention_table, look_at, nearest_reports_to
from mtl.studies.angiography.published import published_rows
from mtl.studies.angiography.scoring import CAPTIONS, score_network
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import Training


def test_a_clip_is_seen_with_its_own_report_and_boxes(trained: AngiographyStudy) -> None:
    clip = next(clip for clip in trained.parts.test if clip.stenoses)
    seen = look_at(trained, trained.first, clip)
    assert seen.video.shape == (3, 4, 32, 32) and len(seen.boxes) == len(clip.stenoses)
    written = score_network(trained, trained.first)["captions"]
    [own] = written[(written["id"] == clip.id) & (written["arm"] == CAPTIONS)]["generated"]
    assert seen.report == own, "the report of the table of scores"
    assert all(word < len(seen.attention.words) for word in seen.told_words)


def test_attention_is_judged_on_every_clip_with_a_box(trained: AngiographyStudy) -> None:
    table = attention_table(trained, trained.first)
    assert len(table) == sum(bool(clip.stenoses) for clip in trained.parts.test)


def test_nearest_reports_are_training_reports_by_falling_cosine(trained: AngiographyStudy) -> None:
    found = nearest_reports_to(trained, trained.first, trained.parts.test[0])
    assert set(found["report"]) <= {clip.report for clip in trained.parts.train}
    assert (np.diff(found["cosine"]) <= 0).all() and found["cosine"].abs().max() <= 1 + 1e-6


def test_a_network_without_captions_writes_none(trained: AngiographyStudy) -> None:
    with pytest.raises(ParameterError, match="weight_captioning: 'only_contrastive' has no captioning"):
        look_at(trained, Training("only_contrastive"), trained.parts.test[0])


def test_rows_for_the_readme_name_who_and_how_many(trained: AngiographyStudy) -> None:
    known, unknown = Estimate(0.5, 0.4, 0.6, 5, "study"), Estimate(None, None, None, 5, "study", "why")
    rows = published_rows(trained, {"network": {"to_report": known, "field_f1": unknown}})
    assert "every claim is one about phantoms" in rows["title"]
    [row] = rows["rows"]
    assert row["stage"] == "network" and row["metric"] == "R@1, report of a video (n = 5 studies)"
