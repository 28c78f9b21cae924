"""Coronary angiograms and their reports: clips, readers, tokens, samples."""

from mtl.datasets.angiography.arcade import read_arcade
from mtl.datasets.angiography.augmentation import ClipAugmentation
from mtl.datasets.angiography.clips import SEGMENTS, Clip, Stenosis
from mtl.datasets.angiography.report_duplicates import audit_reports, report_id, similar_reports
from mtl.datasets.angiography.reports import N_WORDINGS, write_finding, write_report
from mtl.datasets.angiography.splits import clips_of, split_clips
from mtl.datasets.angiography.table import read_table
from mtl.datasets.angiography.video_files import read_video

__all__ = [
    "N_WORDINGS",
    "SEGMENTS",
    "Clip",
    "ClipAugmentation",
    "Stenosis",
    "audit_reports",
    "clips_of",
    "read_arcade",
    "read_table",
    "read_video",
    "report_id",
    "similar_reports",
    "split_clips",
    "write_finding",
    "write_report",
]
