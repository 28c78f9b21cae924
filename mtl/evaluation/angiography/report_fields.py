"""What a report says, read back: (segment, percent) findings and the view.

**Reading rule.** A sentence ends at ``;``, a line break, or a full stop that no digit follows. In a sentence,
a percent (``70 %``, ``70%``, ``70 percent``) belongs to the segment named last before it, if there is nothing
like *no*, *not* or *without* between them; a segment takes the first percent that follows it. A segment
followed by ``degree not given`` is a finding without a percent (``None``). A segment that neither follows, a
percent without a segment, and a number above 100 are no finding; of a segment named twice the highest percent
counts. Nothing that a captioner writes raises an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from mtl.errors import ParameterError

View = Literal["left", "right"]
#: Name to the wordings that mean it.
Segments = Sequence[str] | Mapping[str, Sequence[str]]

SENTENCE_END = re.compile(r"[;\n]|\.(?!\d)")
UNMEASURED = r"(?P<unmeasured>degree not given)"
NEGATION = re.compile(r"\b(no|not|without|free of)\b")
PERCENT = r"(?<![\d.])(?P<percent>\d+(?:\.\d+)?)\s*(?:%|percent\b|per cent\b)"
SIDE = re.compile(r"\b(left|right)\b(?=\s+(?:coronary|view|injection|system|angiogra))")
ANY_SIDE = re.compile(r"\b(left|right)\b")


class Finding(NamedTuple):
    """A stenosis: the segment's name as the vocabulary spells it, and its percent, 0 to 100 or None."""

    segment: str
    percent: float | None


class FindingReader:
    """Reads findings with one vocabulary.

    Args:
        segments: the names (``pLAD``, ...), or name to the wordings that mean it; case does not matter.

    Raises:
        ParameterError: no segment, an empty wording, or one wording for two segments.
    """

    def __init__(self, segments: Segments) -> None:
        self.names = _wordings(segments)
        longest_first = sorted(self.names, key=len, reverse=True)
        named = "|".join(re.escape(wording).replace(r"\ ", r"\s+") for wording in longest_first)
        self.pattern = re.compile(rf"(?<!\w)(?P<segment>{named})(?!\w)|{PERCENT}|{UNMEASURED}")

    def __call__(self, text: str) -> tuple[Finding, ...]:
        """Findings of a text, each segment once, in the order in which they are named."""
        found: dict[str, float | None] = {}
        for sentence in SENTENCE_END.split(text.lower()):
            for segment, percent in self._of_sentence(sentence):
                known = [value for value in (percent, found.get(segment)) if value is not None]
                found[segment] = max(known, default=None)
        return tuple(Finding(*item) for item in found.items())

    def _of_sentence(self, sentence: str) -> Iterable[tuple[str, float | None]]:
        segment, since = None, 0
        for match in self.pattern.finditer(sentence):
            if match["segment"]:
                segment, since = self.names[" ".join(match["segment"].split())], match.end()
            elif segment is not None:
                percent = None if match["unmeasured"] else float(match["percent"])
                denied = NEGATION.search(sentence[since : match.start()])
                if not denied and (percent is None or percent <= 100):
                    yield segment, percent
                segment = None


def parse_findings(text: str, segments: Segments) -> tuple[Finding, ...]:
    """Findings of one text; for many texts make a ``FindingReader`` once."""
    return FindingReader(segments)(text)


def parse_view(text: str) -> View | None:
    """The side that is said: of ``left coronary``, ``right view`` the first, else any; None without."""
    found = SIDE.search(text.lower()) or ANY_SIDE.search(text.lower())
    return found[1] if found else None  # type: ignore[return-value]


def _wordings(segments: Segments) -> dict[str, str]:
    given = segments if isinstance(segments, Mapping) else {name: [name] for name in segments}
    names: dict[str, str] = {}
    for name, wordings in given.items():
        for wording in {" ".join(wording.lower().split()) for wording in wordings}:
            if not wording:
                raise ParameterError(f"segments: {name!r} has an empty wording")
            if names.setdefault(wording, name) != name:
                raise ParameterError(f"segments: {wording!r} means both {names[wording]!r} and {name!r}")
    if not names:
        raise ParameterError("segments: expected the names of at least one segment")
    return names
