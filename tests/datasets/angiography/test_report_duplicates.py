"""Copies of reports, against pairs counted by hand and by loops."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.datasets.angiography import audit_reports, report_id, similar_reports
from mtl.datasets.angiography.report_duplicates import normalise_report
from mtl.errors import DataError, ParameterError

words = st.lists(st.sampled_from(["mLAD", "70%", "no", "stenosis", "of", "D1."]), min_size=1, max_size=6)


def test_case_space_and_punctuation_do_not_count_but_numbers_do() -> None:
    same = ["The mLAD:  70 %.", "the MLAD 70%", "(the) mlad, 70%!"]
    assert {normalise_report(text) for text in same} == {"the mlad 70 %"}
    assert len({report_id(text) for text in same}) == 1
    assert len({report_id(text) for text in ("mLAD 70%", "mLAD 80%", "pLAD 70%", "mLAD 7.0%")}) == 4
    assert 0 <= report_id("mLAD") < 2**63


@given(st.lists(words.map(" ".join), min_size=2, max_size=8))
@settings(max_examples=40, deadline=None)
def test_word_similarity_is_jaccards_index(texts: list[str]) -> None:
    table = similar_reports(texts, 0.5, "words")
    expected = {}
    for a, b in itertools.combinations(range(len(texts)), 2):
        one, two = (set(normalise_report(texts[k]).split()) for k in (a, b))
        if len(one & two) / len(one | two) >= 0.5:
            expected[a, b] = len(one & two) / len(one | two)
    found = {(a, b): s for a, b, s in table.itertuples(index=False)}
    assert found == pytest.approx(expected)


def test_ngram_similarity_ranks_copies_before_near_copies() -> None:
    texts = [
        "Stenosis of the mLAD, 70%.",
        "stenosis of the mlad 70%",
        "Stenosis of the mLAD, 80%.",
        "Normal.",
    ]
    table = similar_reports(texts, 0.6)
    assert table.iloc[0].tolist() == pytest.approx([0, 1, 1.0])
    assert set(zip(table["first"], table["second"], strict=True)) == {(0, 1), (0, 2), (1, 2)}
    assert (table["similarity"].iloc[1:] < 0.99).all()


def test_the_audit_counts_within_and_across_parts() -> None:
    texts = {
        "a": "Stenosis of the mLAD, 70%.", "b": "stenosis of the mLAD 70%", "c": "Normal vessels.",
        "d": "Stenosis of the mLAD, 70%", "e": "Stenosis of the mLAD, 75%.", "f": "something else entirely",
    }  # fmt: skip
    parts = {"d": "test", "e": "test", "f": "test", "a": "train", "b": "train", "c": "train"}
    table = audit_reports(texts, parts, 0.8).set_index(["first_part", "second_part"])
    assert list(table.index) == [("train", "train"), ("train", "test"), ("test", "test")]
    assert table.loc[("train", "train")].tolist() == [3, 1, 0, 2, 2]
    # d copies a and b exactly; e is near both.
    assert table.loc[("train", "test")].tolist() == [3, 2, 2, 1, 2]
    assert table.loc[("test", "test")].tolist() == [3, 0, 1, 0, 2]


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ParameterError, match="measure='letters'"):
        similar_reports(["a", "b"], measure="letters")
    with pytest.raises(ParameterError, match="min_similarity=0"):
        similar_reports(["a", "b"], 0)
    with pytest.raises(DataError, match=r"no report for 'x' \(1 of 2"):
        audit_reports({"a": "b"}, {"a": "train", "x": "test"})
    assert len(similar_reports(["alone"])) == 0
