"""Scores of the test part, their controls, and variants compared with one another."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from mtl.errors import MissingArtefactError
from mtl.evaluation.angiography import most_frequent_report, shuffle_across_studies
from mtl.evaluation.angiography.retrieval import TO_REPORT, TO_VIDEO
from mtl.studies.angiography import comparison, scoring
from mtl.studies.angiography.comparison import compare, fields_by_study, study_scores, with_holm
from mtl.studies.angiography.parameters import AngiographyParameters
from mtl.studies.angiography.scoring import (
    CAPTIONS,
    FREQUENT,
    NEAREST,
    SHOWN_CONTROLS,
    SHOWN_PLACES,
    SHUFFLED,
    caption_table,
    read_scores,
    score_network,
    test_batches,
)
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import Training

batches_of = test_batches
del test_batches  # not a test


@pytest.fixture(scope="module")
def scores(trained: AngiographyStudy) -> dict[str, pd.DataFrame]:
    return score_network(trained, trained.first)


def test_every_clip_and_study_has_its_rows(trained: AngiographyStudy, scores) -> None:
    clips = {clip.id: clip for clip in trained.parts.test}
    assert set(scores) == {"retrieval", "retrieval_shuffled", "captions", "tokens", "boxes"}
    assert list(dict.fromkeys(scores["captions"]["arm"])) == list(SHOWN_CONTROLS)
    for _, rows in scores["captions"].groupby("arm"):
        assert sorted(rows["id"]) == sorted(clips)
        assert all(clips[row.id].report == row.true for row in rows.itertuples())
    studies = {clip.study for clip in clips.values()}
    for name in ("retrieval", "retrieval_shuffled"):
        assert all(set(rows["study"]) == studies for _, rows in scores[name].groupby("direction"))
    for _, rows in scores["boxes"].groupby("arm"):
        assert set(rows["id"]) == {name for name, clip in clips.items() if clip.stenoses}
    assert set(scores["boxes"]["arm"]) == set(SHOWN_PLACES)
    assert len(scores["tokens"]) == len(clips) and (scores["tokens"]["nats"] > 0).all()


def test_reports_of_controls_are_of_the_training_part(trained: AngiographyStudy, scores) -> None:
    table, reports = scores["captions"], [clip.report for clip in trained.parts.train]
    assert set(table[table["arm"] == NEAREST]["generated"]) <= set(reports)
    assert set(table[table["arm"] == FREQUENT]["generated"]) == {most_frequent_report(reports)}


def test_no_study_keeps_its_own_where_videos_are_shuffled(trained: AngiographyStudy, monkeypatch) -> None:
    batches = batches_of(trained, trained.parts.test)

    def named_by_study(study, model, batches, change=None):
        rows = [
            {"study": name, "true": text, "id": one, "generated": "blank" if change else name}
            for batch in batches
            for name, text, one in zip(batch["studies"], batch["texts"], batch["ids"], strict=True)
        ]
        return pd.DataFrame(rows)

    monkeypatch.setattr(scoring, "write_reports", named_by_study)
    table = caption_table(trained, None, batches, contrastive=False)
    own, shuffled = (table[table["arm"] == arm] for arm in (CAPTIONS, SHUFFLED))
    assert (own["generated"] == own["study"]).all()
    assert (shuffled["generated"] != shuffled["study"]).all()
    assert sorted(shuffled["generated"]) == sorted(own["generated"]), "the same reports, exchanged"
    assert NEAREST not in set(table["arm"])


def test_retrieval_is_of_studies_and_fails_where_videos_are_shuffled(
    trained: AngiographyStudy, monkeypatch
) -> None:
    names = [f"s{n}" for n in range(9)]
    perfect = np.eye(9), np.eye(9), [f"report {n}" for n in range(9)], names
    monkeypatch.setattr(scoring, "study_embeddings", lambda *_: perfect)
    tables = scoring.retrieval_tables(trained, None, [])
    assert (tables["retrieval"]["recall_1"] == 1).all()
    assert (tables["retrieval_shuffled"]["recall_1"] == 0).all()


def test_a_study_is_the_mean_of_its_views(trained: AngiographyStudy) -> None:
    model = trained.model(trained.first)
    videos, texts, reports, names = scoring.study_embeddings(
        trained, model, batches_of(trained, trained.parts.test)
    )
    first = [clip for clip in trained.parts.test if clip.study == names[-1]]
    with torch.no_grad():
        views = [
            model.embed_video(batches_of(trained, [clip])[0]["video"])[0].double().numpy() for clip in first
        ]
    mean = np.mean(views, axis=0)
    assert videos[-1] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert reports[-1] == first[0].report and len(names) == len(set(names)) == len(texts) == 5


def test_scores_are_made_once_and_not_taken_from_another_network(trained: AngiographyStudy, scores) -> None:
    file = trained.run.predictions("all_seed_0_captions")
    written = file.stat().st_mtime_ns
    again = score_network(AngiographyStudy(trained.parameters), trained.first)
    assert file.stat().st_mtime_ns == written and set(again) == set(scores)
    pd.testing.assert_frame_equal(again["retrieval"], scores["retrieval"], check_dtype=False)
    for changes in ({"generation": "beam"}, {"epochs": 3}):
        other = AngiographyStudy(trained.parameters.model_copy(update=changes))
        with pytest.raises(MissingArtefactError, match="is of another network, .* 03_retrieval_and_captions"):
            read_scores(other, other.first)
    with pytest.raises(MissingArtefactError, match="03_retrieval_and_captions"):
        read_scores(trained, Training("clip"))


@pytest.mark.parametrize("method", ["top_k", "top_p", "beam"])
def test_every_way_of_writing_can_be_asked_for(trained: AngiographyStudy, method: str) -> None:
    study = AngiographyStudy(trained.parameters.model_copy(update={"generation": method, "beams": 2}))
    model, batches = trained.model(trained.first), batches_of(trained, trained.parts.test[:2])
    one, other = (scoring.write_reports(study, model, batches) for _ in range(2))
    assert one["generated"].tolist() == other["generated"].tolist() and len(one) == 2


# ---------------------------------------------------------------------- comparison
def test_field_f1_of_a_study_by_hand() -> None:
    rows = pd.DataFrame(
        [
            ("a", 1, 2, 1), ("a", 2, 2, 2),  # 3 of 4 and 3: 2 * 3 / 7
            ("b", 0, 1, 0),  # one missed
            ("c", 0, 0, 0),  # neither names any
            ("d", 0, 0, 2),  # made up
        ],
        columns=["study", "n_within_10", "n_true", "n_generated"],
    )  # fmt: skip
    assert fields_by_study(rows).to_dict() == pytest.approx({"a": 6 / 7, "b": 0, "c": 1, "d": 0})


def made_study(seeds: int) -> SimpleNamespace:
    parameters = AngiographyParameters(seeds=seeds, n_bootstrap=300)
    return SimpleNamespace(
        parameters=parameters, trainings=lambda variant: [Training(variant, seed) for seed in range(seeds)]
    )


def made_scores(gain: float, studies: int = 40):
    """Tables of a network whose field F1 is that of others plus ``gain``; it retrieves as they do."""

    def read(study, training: Training) -> dict[str, pd.DataFrame]:
        better = gain if training.variant == "all" else 0.0
        rng = np.random.default_rng([training.seed, training.variant == "all"])
        names = [f"s{n}" for n in range(studies)]
        queries = [(way, name, float(n % 2)) for way in (TO_REPORT, TO_VIDEO) for n, name in enumerate(names)]
        matched = 50 + 100 * better + rng.integers(-3, 4, studies)
        captions = pd.DataFrame({"study": names, "n_within_10": matched, "n_true": 100, "n_generated": 100})
        tables = {"retrieval": pd.DataFrame(queries, columns=["direction", "study", "recall_1"])}
        if training.variant == "only_contrastive":
            return tables
        other = captions.assign(arm=SHUFFLED, n_within_10=0)
        return tables | {"captions": pd.concat([captions.assign(arm=CAPTIONS), other])}

    return read


def test_five_seeds_give_a_verdict_and_fewer_give_none(monkeypatch) -> None:
    monkeypatch.setattr(comparison, "read_scores", made_scores(0.2))
    many = compare(made_study(5), "without_masked")
    assert set(many) == {"to_report", "to_video", "fields"}
    assert many["fields"]["verdict"] == "positive" and many["fields"]["p_value"] < 0.01
    assert many["fields"]["estimate"].value == pytest.approx(0.2, abs=0.01) and many["fields"]["seeds"] == 5
    assert many["to_report"]["verdict"] != "positive" and many["to_report"]["estimate"].value == 0
    few = compare(made_study(4), "without_masked")["fields"]
    assert few["verdict"] == "no verdict" and few["p_value"] is None
    assert few["estimate"].low > 0.15 and few["estimate"].n == 40
    found = with_holm({"a": many, "b": compare(made_study(4), "only_contrastive")})
    assert set(found["b"]) == {"to_report", "to_video"}, "what a variant lacks is not compared"
    assert found["a"]["fields"]["p_holm"] == pytest.approx(found["a"]["fields"]["p_value"])
    assert found["b"]["to_video"]["p_holm"] is None


def test_a_variant_of_masked_video_alone_has_nothing_to_compare(monkeypatch) -> None:
    read = made_scores(0.2)
    monkeypatch.setattr(
        comparison, "read_scores", lambda study, t: {} if t.variant != "all" else read(study, t)
    )
    assert list(study_scores(made_study(1), "without_captioning").columns) == ["study", "seed"]
    assert compare(made_study(1), "without_captioning") == {}


def test_what_is_compared_is_read_from_the_trained_network(trained: AngiographyStudy, scores) -> None:
    table = study_scores(trained, "all")
    assert sorted(table["study"]) == sorted({clip.study for clip in trained.parts.test})
    retrieval = scores["retrieval"]
    for metric, way in (("to_report", TO_REPORT), ("to_video", TO_VIDEO)):
        mean = retrieval[retrieval["direction"] == way]["recall_1"].mean()
        assert table[metric].mean() == pytest.approx(mean)
    assert list(shuffle_across_studies(["a", "b"])) == [1, 0]
