"""Structured reports by template: one content, several wordings.

What evaluation reads back holds for every wording: a finding is one sentence; in it stands the segment's name
as in `SEGMENTS` (case does not matter), after it the percent as ``70%``; no other number with ``%`` and no
other segment stands in that sentence. Sentences end with a full stop. The view is the word ``left`` or
``right``. A report without findings says ``no significant stenosis``. Wordings differ in synonyms, in whether
the view comes first or last, and in the order of findings (from the ostium outwards, or worst first).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mtl.datasets.angiography.clips import RARE_SEGMENTS, SEGMENTS
from mtl.errors import ParameterError

Finding = tuple[str | None, int | None]
STEP = 5
NOWHERE = "a segment that is not named"


@dataclass(frozen=True)
class Wording:
    """Sentences of one way to write, with ``{view}``, ``{segment}`` and ``{percent}`` to be filled in."""

    view: str
    finding: str
    unmeasured: str
    normal: str
    view_first: bool = True
    worst_first: bool = False


WORDINGS = (
    Wording(
        "Angiogram of the {view} coronary artery.",
        "Stenosis of the {segment}, {percent}%.",
        "Stenosis of the {segment}, degree not given.",
        "No significant stenosis.",
    ),
    Wording(
        "Selective {view} coronary injection.",
        "The {segment} is narrowed by {percent}%.",
        "The {segment} is narrowed, degree not given.",
        "There is no significant stenosis.",
        worst_first=True,
    ),
    Wording(
        "Seen in the {view} coronary system.",
        "{segment}: {percent}% diameter reduction.",
        "{segment}: diameter reduction, degree not given.",
        "Vessels with no significant stenosis.",
        view_first=False,
    ),
    Wording(
        "Projection of the {view} coronary tree.",
        "There is a lesion in the {segment} with {percent}% loss of lumen.",
        "There is a lesion in the {segment}, degree not given.",
        "Smooth vessels, no significant stenosis found.",
        view_first=False,
        worst_first=True,
    ),
    Wording(
        "{View} coronary angiography.",
        "The {segment} shows a luminal narrowing of {percent}%.",
        "The {segment} shows a luminal narrowing, degree not given.",
        "This study shows no significant stenosis.",
    ),
    Wording(
        "{View} coronary.",
        "{segment} {percent}%.",
        "{segment} narrowed, degree not given.",
        "No significant stenosis.",
        worst_first=True,
    ),
)
N_WORDINGS = len(WORDINGS)
_ORDER = {
    name: number
    for number, name in enumerate(
        name for view in SEGMENTS for name in (*SEGMENTS[view], *RARE_SEGMENTS[view])
    )
}


def write_report(view: str | None, findings: Sequence[Finding], wording: int) -> str:
    """Write a report; the same arguments give the same text, whatever the order of the findings.

    Args:
        view: ``"left"``, ``"right"``, or None (then the view is not mentioned).
        findings: (segment, percent), percent in steps of 5; None where one of them is not known; empty: a
            report of no significant stenosis.
        wording: 0 .. `N_WORDINGS` - 1.

    Raises:
        ParameterError: unknown view, segment or wording, segment of the other view, percent out of range.
    """
    template = _template(wording)
    if view not in (*SEGMENTS, None):
        raise ParameterError(f"view={view!r}: 'left', 'right' or None is expected")
    ordered = sorted(findings, key=lambda finding: _ORDER.get(finding[0], len(_ORDER)))
    for segment, percent in ordered:
        _check_finding(segment, percent, view)
    if template.worst_first:
        ordered = sorted(ordered, key=lambda finding: -(finding[1] or 0))
    body = [write_finding(segment, percent, wording) for segment, percent in ordered] or [template.normal]
    head = [template.view.format(view=view, View=view.capitalize())] if view else []
    return " ".join(head + body if template.view_first else body + head)


def write_finding(segment: str | None, percent: int | None, wording: int) -> str:
    """The sentence of one finding."""
    template = _template(wording)
    sentence = template.unmeasured if percent is None else template.finding
    if segment is None:
        sentence = re.sub("(the )?{segment}", NOWHERE, sentence, flags=re.IGNORECASE)
        sentence = sentence[0].upper() + sentence[1:]
    return sentence.format(segment=segment, percent=percent)


def caption_of(segment: str | None, percent: int | None) -> str:
    """The shortest name of a finding: ``mLAD 70%``, ``mLAD stenosis``, ``stenosis``."""
    if segment and percent is not None:
        return f"{segment} {percent}%"
    return " ".join(part for part in (segment, "stenosis", f"{percent}%" if percent else None) if part)


def _template(wording: int) -> Wording:
    if not 0 <= wording < N_WORDINGS:
        raise ParameterError(f"wording={wording}: 0 to {N_WORDINGS - 1} is expected")
    return WORDINGS[wording]


def _check_finding(segment: str | None, percent: int | None, view: str | None) -> None:
    views = (view,) if view else tuple(SEGMENTS)
    known = [name for side in views for name in (*SEGMENTS[side], *RARE_SEGMENTS[side])]
    if segment is not None and segment not in known:
        raise ParameterError(
            f"segment {segment!r} of the {view or 'any'} view: one of {', '.join(known)} expected"
        )
    if percent is not None and (not 0 < percent <= 100 or percent % STEP):
        raise ParameterError(f"percent={percent} of {segment}: {STEP} to 100 in steps of {STEP} is expected")
