"""Findings read back from reports, in several wordings and in broken text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import ParameterError
from mtl.evaluation.angiography import FindingReader, parse_findings, parse_view

LEFT = ["LM", "pLAD", "mLAD", "dLAD", "D1", "D2", "pLCx", "mLCx", "OM1", "OM2"]
SEGMENTS = [*LEFT, "pRCA", "mRCA", "dRCA", "PDA", "PLB"]
BROKEN = ["70%", "%", ".", ";", "no", "101%", "5", "é", "\n", "(", "##", "degree not given"]
PIECES = [*SEGMENTS, *BROKEN]


def read(text: str) -> dict[str, float | None]:
    return dict(parse_findings(text, SEGMENTS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The pLAD shows a 70% stenosis.", {"pLAD": 70}),
        ("the plad shows a 70 % stenosis .", {"pLAD": 70}),
        ("Stenosis: pLAD 70%, D1 55%, om1: 40 percent", {"pLAD": 70, "D1": 55, "OM1": 40}),
        ("mLCx narrowed by 62.5 per cent. LM normal.", {"mLCx": 62.5}),
        ("LM without stenosis, pLAD 80%.", {"pLAD": 80}),
        ("pLAD and mLAD 80%.", {"mLAD": 80}),
        ("Lesion in PDA (90%); PLB free; dRCA 30%\nD2 20%", {"PDA": 90, "dRCA": 30, "D2": 20}),
        ("pLAD 50%. In the pLAD a further 80% lesion, pLAD 60%.", {"pLAD": 80}),
        ("pLAD 70% and 30% of something", {"pLAD": 70}),
        ("Stenosis of the pLAD, degree not given.", {"pLAD": None}),
        ("pLAD, degree not given. pLAD 40%. D1 degree not given", {"pLAD": 40, "D1": None}),
    ],
)
def test_wordings(text: str, expected: dict[str, float | None]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No significant stenosis.",
        "pLAD: no stenosis of more than 50%.",
        "The pLAD is free of lesions above 50%.",
        "The pLAD is diseased. A 70% stenosis.",  # another sentence
        "70% stenosis of the pLAD.",  # the percent comes first
        "pLAD 170%.",
        "pLAD 7 0.",
        "xpLAD 70%, OM12 40%, LMx 30%.",  # no such segments
        "pLAD %%% percent 70",
        "[UNK] ##% ... pLAD",
        "degree not given",
        "Stenosis, segment not named, 70%.",
    ],
)
def test_no_finding(text: str) -> None:
    assert read(text) == {}


def test_a_number_above_100_uses_up_its_segment() -> None:
    assert read("pLAD 170% or 70%") == {}


def test_other_wordings_of_a_segment_mean_its_name() -> None:
    reader = FindingReader({"pLAD": ["pLAD", "proximal LAD"], "LAD": ["LAD"]})
    assert dict(reader("Proximal  LAD: 40%. LAD: 20%.")) == {"pLAD": 40, "LAD": 20}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(SEGMENTS), st.integers(0, 100), max_size=5),
    st.sampled_from(["The {} shows a {}% stenosis. ", "{}: {} %; ", "in {} there is one of {} percent\n"]),
    st.booleans(),
)
def test_what_a_template_writes_is_read_back(findings: dict[str, int], template: str, lower: bool) -> None:
    text = "".join(template.format(*item) for item in findings.items())
    assert read(text.lower() if lower else text) == findings


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES)))
def test_nothing_raises_and_findings_are_of_the_vocabulary(pieces: list[str]) -> None:
    for text in (" ".join(pieces), "".join(pieces)):
        found = parse_findings(text, SEGMENTS)
        assert len({finding.segment for finding in found}) == len(found)
        assert all(f.segment in SEGMENTS and (f.percent is None or 0 <= f.percent <= 100) for f in found)


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("Left coronary angiogram. No stenosis.", "left"),
        ("RIGHT view.", "right"),
        ("The left main is free in this right coronary injection", "right"),
        ("left", "left"),
        ("The pLAD shows a 70% stenosis, bright and leftover", None),
        ("", None),
    ],
)
def test_views(text: str, view: str | None) -> None:
    assert parse_view(text) == view


def test_errors() -> None:
    with pytest.raises(ParameterError, match="at least one segment"):
        FindingReader([])
    with pytest.raises(ParameterError, match="'lad' means both 'pLAD' and 'mLAD'"):
        FindingReader({"pLAD": ["LAD"], "mLAD": ["lad"]})
    with pytest.raises(ParameterError, match="'pLAD' has an empty wording"):
        FindingReader({"pLAD": [" "]})
