"""Reports: what went in can be read out again, in every wording."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.datasets.angiography import N_WORDINGS, SEGMENTS, write_finding, write_report
from mtl.datasets.angiography.reports import caption_of
from mtl.errors import ParameterError

NAMES = [name for names in SEGMENTS.values() for name in names]


def read_back(text: str) -> tuple[str | None, list[tuple[str, int]]]:
    """View and findings, sentence by sentence, from lower-case text."""
    views = [view for view in SEGMENTS if re.search(rf"\b{view}\b", text.lower())]
    found = []
    for sentence in text.lower().split("."):
        names = [name for name in NAMES if re.search(rf"\b{name.lower()}\b", sentence)]
        numbers = re.findall(r"(\d+)\s?%", sentence)
        assert len(names) == len(numbers) <= 1
        for name, number in zip(names, numbers, strict=True):
            assert re.search(rf"\b{name.lower()}\b.*?\b{number}\s?%", sentence), "the percent comes after"
            found.append((name, int(number)))
    return (views[0] if len(views) == 1 else None), found


@st.composite
def contents(draw) -> tuple[str, list[tuple[str, int]]]:
    view = draw(st.sampled_from(sorted(SEGMENTS)))
    names = draw(st.lists(st.sampled_from(SEGMENTS[view]), max_size=5, unique=True))
    return view, [(name, 5 * draw(st.integers(1, 20))) for name in names]


@given(contents(), st.integers(0, N_WORDINGS - 1))
@settings(max_examples=150, deadline=None)
def test_every_wording_can_be_read_back(content: tuple, wording: int) -> None:
    view, findings = content
    text = write_report(view, findings, wording)
    seen_view, seen = read_back(text)
    assert seen_view == view and sorted(seen) == sorted(findings)
    assert ("no significant stenosis" in text.lower()) == (not findings)
    assert write_report(view, findings[::-1], wording) == text


def test_wordings_differ_in_words_and_in_order() -> None:
    findings = [("pLAD", 40), ("D1", 90), ("OM1", 60)]
    texts = [write_report("left", findings, wording) for wording in range(N_WORDINGS)]
    assert N_WORDINGS >= 4 and len(set(texts)) == N_WORDINGS
    assert len({tuple(read_back(text)[1]) for text in texts}) == 2, "from the ostium, or worst first"
    assert len({text.lower().index("left") > text.index("90") for text in texts}) == 2, "view first or last"


def test_what_is_not_known_is_not_said() -> None:
    for wording in range(N_WORDINGS):
        text = write_report(None, [(None, None), ("mLAD", None)], wording)
        assert "%" not in text and "mLAD" in text and "not named" in text and "None" not in text
        assert not re.search(r"\b(left|right)\b", text.lower())
        assert write_finding(None, 50, wording)[0].isupper() and "50%" in write_finding(None, 50, wording)


def test_captions_name_what_is_known() -> None:
    assert caption_of("mLAD", 70) == "mLAD 70%"
    assert caption_of("mLAD", None) == "mLAD stenosis"
    assert caption_of(None, None) == "stenosis"
    assert caption_of(None, 70) == "stenosis 70%"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("top", [], 0), "view='top'"),
        (("left", [("pRCA", 50)], 0), "segment 'pRCA' of the left view"),
        (("left", [("xLAD", 50)], 0), "segment 'xLAD'"),
        (("left", [("mLAD", 52)], 0), "percent=52 of mLAD"),
        (("left", [("mLAD", 0)], 0), "percent=0"),
        (("left", [("mLAD", 105)], 0), "percent=105"),
        (("left", [], N_WORDINGS), f"wording={N_WORDINGS}"),
        (("left", [], -1), "wording=-1"),
    ],
)
def test_what_cannot_be_written_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        write_report(*arguments)
