"""Test clips to be played, and what the network of a run makes of them, each looked at once."""

from __future__ import annotations

from mtl.datasets.angiography import Clip
from mtl.studies.angiography.answers import PHANTOM_CLAIM
from mtl.studies.angiography.clip_in_depth import SeenClip, look_at, nearest_reports_to
from mtl.studies.angiography.parameters import PHANTOM
from mtl.studies.angiography.study import AngiographyStudy

REAL_NOTE = "Research use only. Not a medical device; not for diagnosis or treatment."


class PlayerClips:
    """Some test clips, those with a planted stenosis first.

    Args:
        study: its first training must have been made.
        n: so many at most.

    Attributes:
        clips: by name. note: what has to stand beside every claim.
    """

    def __init__(self, study: AngiographyStudy, n: int) -> None:
        self.study = study
        tests = sorted(study.parts.test, key=lambda clip: not clip.stenoses)
        self.clips: dict[str, Clip] = {clip.id: clip for clip in tests[:n]}
        self.note = PHANTOM_CLAIM if study.parameters.videos == PHANTOM else REAL_NOTE
        self._seen: dict[str, SeenClip] = {}
        self._near: dict[str, list[tuple[str, float]]] = {}

    def look(self, clip: Clip) -> SeenClip:
        """What is written of it, and the attention meanwhile."""
        if clip.id not in self._seen:
            self._seen[clip.id] = look_at(self.study, self.study.first, clip)
        return self._seen[clip.id]

    def true_report(self, clip: Clip) -> str:
        """The report that belongs to it."""
        return clip.report

    def nearest(self, clip: Clip) -> list[tuple[str, float]]:
        """Training reports nearest to it, with their cosines; none without a contrastive objective."""
        if clip.id not in self._near:
            rows = nearest_reports_to(self.study, self.study.first, clip)
            self._near[clip.id] = [(row.report, float(row.cosine)) for row in rows.itertuples()]
        return self._near[clip.id]
