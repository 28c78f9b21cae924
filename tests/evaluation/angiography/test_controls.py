"""Controls: what they give; no clip keeps its study; the verdict on a captioner that does not look."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import DataError, ParameterError, ProtocolError
from mtl.evaluation.angiography import (
    blank_clip,
    bleu_4,
    compare_with_controls,
    ignores_video,
    most_frequent_report,
    nearest_training_reports,
    percent_mae_all,
    segment_f1,
    shuffle_across_studies,
    structured_scores,
    text_scores,
)

SEGMENTS = ["pLAD", "mLAD", "D1", "pRCA"]


def test_the_most_frequent_report() -> None:
    assert most_frequent_report(["b", "a", "c", "a"]) == "a"
    assert most_frequent_report(["b", "a"]) == "b", "the first among equals"
    with pytest.raises(DataError, match="no training report"):
        most_frequent_report([])


def test_the_nearest_report_is_by_angle() -> None:
    train = np.array([[1.0, 0], [0, 1], [5, 5]])
    assert nearest_training_reports([[9.0, 1], [0.1, 0.2], [1, 1]], train, list("xyz")) == ["x", "z", "z"]
    with pytest.raises(DataError, match="train_reports: 2"):
        nearest_training_reports([[1.0, 0]], train, ["x", "y"])


def test_a_blank_clip() -> None:
    clip = blank_clip((3, 2, 4, 4))
    assert clip.dtype == np.float32 and clip.shape == (3, 2, 4, 4) and not clip.any()
    assert (blank_clip((2,), 0.5) == 0.5).all()
    with pytest.raises(ParameterError, match="value = 2"):
        blank_clip((2,), 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=30), st.integers(0, 1000))
def test_no_clip_keeps_its_study_or_it_is_impossible(studies: list[int], seed: int) -> None:
    possible = 2 * max(Counter(studies).values()) <= len(studies)
    if not possible:
        with pytest.raises(ProtocolError, match="one study has .* at most half"):
            shuffle_across_studies(studies, seed)
        return
    permutation = shuffle_across_studies(studies, seed)
    assert sorted(permutation) == list(range(len(studies)))
    assert all(studies[new] != old for new, old in zip(permutation, studies, strict=True))
    assert permutation.tolist() == shuffle_across_studies(studies, seed).tolist(), "seeded"


def test_seeds_give_other_permutations_and_every_exchange_occurs() -> None:
    studies = ["a", "a", "b", "b", "c", "c"]
    drawn = np.array([shuffle_across_studies(studies, seed) for seed in range(100)])
    for clip, study in enumerate(studies):
        assert set(drawn[:, clip]) == {other for other in range(6) if studies[other] != study}


def test_a_clip_is_exchanged_within_its_view() -> None:
    studies = [f"s{i // 2}" for i in range(20)]
    views = ["left", "right"] * 10
    permutation = shuffle_across_studies(studies, 0, within=views)
    assert all(views[new] == view for new, view in zip(permutation, views, strict=True))
    assert all(studies[new] != study for new, study in zip(permutation, studies, strict=True))
    with pytest.raises(ProtocolError, match="1 of the 1 clips with 'lateral'"):
        shuffle_across_studies(studies, 0, within=["lateral", *views[1:]])
    with pytest.raises(ProtocolError, match="of the 3 clips: at most"):
        shuffle_across_studies(["a", "a", "b"], 0)
    with pytest.raises(DataError, match="within: 1"):
        shuffle_across_studies(studies, 0, within=["left"])


def reports(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"The {rng.choice(SEGMENTS)} shows a {5 * rng.integers(4, 20)}% stenosis." for _ in range(n)]


def scored(true: list[str], generated: list[str]):
    return structured_scores(true, generated, [f"s{i // 2}" for i in range(len(true))], SEGMENTS)


def test_a_captioner_that_looks_beats_its_controls_and_one_that_does_not_is_found_out() -> None:
    true = reports(80, 0)
    looking = [
        own if i % 4 else other for i, (own, other) in enumerate(zip(true, reports(80, 1), strict=True))
    ]
    permutation = shuffle_across_studies([f"s{i // 2}" for i in range(80)])
    for generated, ignores in ((looking, False), (reports(80, 2), True)):
        shuffled = [generated[i] for i in permutation]
        verdict = ignores_video(scored(true, generated), scored(true, shuffled), segment_f1, n_resamples=300)
        assert verdict.ignores_video is ignores and verdict.difference.estimate.n == 40
        assert ("ignores the video" in verdict.sentence) is ignores
        error = ignores_video(
            scored(true, generated),
            scored(true, shuffled),
            percent_mae_all,
            lower_is_better=True,
            n_resamples=300,
        )
        assert error.ignores_video is ignores


def test_a_captioner_that_always_says_the_same_ignores_the_video() -> None:
    table = scored(reports(20, 0), [reports(1, 0)[0]] * 20)
    verdict = ignores_video(table, table.copy(), segment_f1, n_resamples=100)
    assert verdict.ignores_video and verdict.difference.estimate.value == 0


def test_the_table_of_arms() -> None:
    true = reports(40, 0)
    half = [own if i % 2 else "No stenosis." for i, own in enumerate(true)]
    arms = {
        "captions": scored(true, half),
        "most frequent": scored(true, [most_frequent_report(true)] * 40),
        "perfect": scored(true, true),
    }
    found = compare_with_controls(arms, segment_f1, n_resamples=300).set_index("arm")
    assert found.loc["captions", "value"] == pytest.approx(2 * 20 / (20 + 40))
    assert found.loc["perfect", "value"] == 1 and found.loc["perfect", "gain"] == pytest.approx(-1 / 3)
    assert found.loc["perfect", "gain_high"] < 0 and found.loc["captions", "gain":"p_holm"].isna().all()
    controls = found.loc[["most frequent", "perfect"]]
    gains = found.loc["captions", "value"] - controls["value"]
    np.testing.assert_allclose(controls["gain"].astype(float), gains.astype(float))
    assert (controls["p_holm"] >= controls["p_value"]).all() and set(found["n"]) == {20}
    error = compare_with_controls(arms, percent_mae_all, lower_is_better=True, n_resamples=100).set_index(
        "arm"
    )
    assert error.loc["perfect", "gain"] < 0, "the perfect arm has the smaller error"


def test_corpus_bleu_can_be_compared_too() -> None:
    true, studies = reports(12, 0), [f"s{i}" for i in range(12)]
    arms = {"captions": text_scores(true, true, studies), "blank": text_scores(true, reports(12, 5), studies)}
    found = compare_with_controls(arms, bleu_4, n_resamples=60).set_index("arm")
    assert found.loc["captions", "value"] == pytest.approx(100) and found.loc["blank", "gain"] > 0


def test_arms_of_other_clips_are_refused() -> None:
    true = reports(6, 0)
    table = scored(true, true)
    with pytest.raises(ProtocolError, match="expected 'captions' and at least one control"):
        compare_with_controls({"captions": table}, segment_f1)
    with pytest.raises(ProtocolError, match="arm 'blank' holds other clips"):
        compare_with_controls({"captions": table, "blank": table[::-1]}, segment_f1)
    with pytest.raises(ProtocolError, match="arm 'shuffled' holds other clips"):
        ignores_video(table, table[:4], segment_f1)
