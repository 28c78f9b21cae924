"""Patients stay on one side; pictures of nobody stay with their near copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mtl.datasets.angiography import Clip, clips_of, split_clips
from mtl.datasets.angiography.clips import Stenosis
from mtl.datasets.angiography.splits import clip_table
from mtl.errors import DataError, ProtocolError

from .conftest import a_clip

FOUND = Stenosis("mLAD", 70, 2, (0.1, 0.1, 0.3, 0.3))


def clips() -> list[Clip]:
    """40 clips of 20 studies of 15 patients; every other study has a stenosis."""
    return [
        a_clip(f"{study}/{view}", [FOUND] if study % 2 else [], f"p{study % 15}", f"s{study}")
        for study in range(20)
        for view in range(2)
    ]


def test_no_patient_is_on_two_sides_and_all_clips_are_used() -> None:
    split = split_clips(clips(), 0.25, 0.2, seed=3)
    parts = clips_of(split, clips())
    patients = {part: {clip.patient for clip in found} for part, found in parts.items()}
    assert sum(map(len, parts.values())) == 40 and all(parts.values())
    assert sum(map(len, patients.values())) == 15
    assert split.hash == split_clips(clips()[::-1], 0.25, 0.2, seed=3).hash, "whatever the order"
    assert split.hash != split_clips(clips(), 0.25, 0.2, seed=4).hash


def test_near_copies_of_unknown_patients_share_a_group() -> None:
    rng = np.random.default_rng(0)
    pictures = [
        (gaussian_filter(rng.standard_normal((96, 96)), 8) * 900 + 128).clip(0, 255).astype(np.uint8)
        for _ in range(3)
    ]
    pictures.append((pictures[1] * 0.9 + 5).astype(np.uint8))
    stills = [
        Clip(f"c{k}", f"c{k}", f"unknown:c{k}", None, "text", (), frame[None])
        for k, frame in enumerate(pictures)
    ]
    groups = clip_table([*stills, a_clip("known", patient="p9")])["group"].tolist()
    assert groups[1] == groups[3] and len(set(groups)) == 4 and groups[4] == "p9"


def test_clips_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="study 's0' has two patients: 'p0', 'other'"):
        clip_table([clips()[0], replace(clips()[1], patient="other")])
    with pytest.raises(DataError, match="the clip id '0/0' occurs twice"):
        clip_table([clips()[0], clips()[0]])
    split = split_clips(clips())
    with pytest.raises(ProtocolError, match="lacks 1 of"):
        clips_of(split, clips()[1:])
