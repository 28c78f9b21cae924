"""Samples and batches: contents, augmentation that keeps boxes true, location tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mtl.datasets.angiography import Clip, ClipAugmentation, Stenosis, report_id, write_finding
from mtl.datasets.angiography.clip_dataset import ClipDataset, collate
from mtl.datasets.angiography.locations import box_tokens, tokens_to_box
from mtl.errors import DataError, ParameterError

from .conftest import a_clip, ramp, write_movie

FOUND = Stenosis("mLAD", 70, 5, (0.25, 0.25, 0.5, 0.5))
OTHER = Stenosis("D1", 50, 2, (0.5, 0.5, 0.75, 0.75))


def marked(n_frames: int = 8, side: int = 32) -> Clip:
    """Dark but for a square in one frame, which is the box of its stenosis."""
    frames = np.zeros((n_frames, side, side), np.uint8)
    frames[5, 8:16, 8:16] = 200
    return Clip("m", "m", "p", "left", "mLAD 70%.", (FOUND,), frames)


def test_a_sample_is_what_the_brief_says() -> None:
    sample = ClipDataset([a_clip("c", [FOUND])], 4, 64)[0]
    assert sample["video"].shape == (3, 4, 64, 64) and sample["video"].dtype == torch.float32
    assert sample["video"].min() >= 0 and sample["video"].max() <= 1
    assert sample["text"] == "Angiogram of the left coronary artery. Stenosis of the mLAD, 70%."
    assert (sample["study"], sample["patient"], sample["view"], sample["index"]) == ("c", "p0", "left", 0)
    # 8 frames of 48 x 64 as 4 of 64 x 64: frames 1, 3, 5, 7; bars of 8 pixels above and below.
    box = sample["boxes"][0]
    assert box.frame == 2 and box.box == (20 / 64, 16 / 64, 32 / 64, 32 / 64)
    np.testing.assert_allclose(sample["video"][0, :, 50, 50] * 255, [45, 95, 145, 195], atol=0.6)


def test_frames_are_kept_in_memory(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "film.avi", ramp(8, (32, 32)))
    clip = Clip("c", "c", "p", None, "text", (), path)
    kept, forgotten = ClipDataset([clip], 4, 32), ClipDataset([clip], 4, 32, cache=False)
    kept.preload()
    first = forgotten[0]["video"]
    path.unlink()
    assert torch.equal(kept[0]["video"], first)
    assert kept._kept[0][0].shape == (1, 4, 32, 32), "grey: one channel"
    with pytest.raises(DataError, match="no such file"):
        forgotten[0]


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_box_follows_the_square(seed: int) -> None:
    augmentation = ClipAugmentation(shift=0.2, intensity=0.0, frames=2)
    sample = ClipDataset([marked()], 8, 32, augmentation=augmentation, seed=seed)[0]
    found = np.argwhere(sample["video"][0].numpy() > 0.5)
    [box] = sample["boxes"]
    frames = set(found[:, 0].tolist())
    assert box.frame in frames and len(frames) <= 3
    low, high = found.min(0)[1:] / 32, (found.max(0)[1:] + 1) / 32
    np.testing.assert_allclose((*low, *high), box.box)
    assert (high - low == 0.25).all(), "a shift of 0.2 moves no box out, and nothing is mirrored or scaled"


def test_intensity_changes_and_stays_in_range() -> None:
    data = ClipDataset([a_clip()], 8, 64, augmentation=ClipAugmentation(0, 0.3, 0), seed=1)
    plain = ClipDataset([a_clip()], 8, 64)[0]["video"]
    changed = [data[0]["video"]]
    data.set_epoch(1)
    changed.append(data[0]["video"])
    assert not torch.equal(changed[0], changed[1]) and not torch.equal(changed[0], plain)
    for video in changed:
        assert video.min() >= 0 and video.max() <= 1
        assert torch.corrcoef(torch.stack([video.flatten(), plain.flatten()]))[0, 1] > 0.95


def test_a_sample_depends_on_seed_epoch_and_index_alone() -> None:
    clips = [a_clip(f"c{k}", [FOUND, OTHER]) for k in range(3)]
    one, two = (ClipDataset(clips, 8, 48, augmentation=ClipAugmentation(), seed=4) for _ in range(2))
    for data in (one, two):
        data.set_epoch(7)
    _ = one[0], one[1]
    assert torch.equal(one[2]["video"], two[2]["video"]) and one[2]["finding"] == two[2]["finding"]
    findings = set()
    for epoch in range(12):
        one.set_epoch(epoch)
        findings.add(one[0]["finding"].segment)
    assert findings == {"mLAD", "D1"}, "each finding is asked about in some epoch"


def test_a_batch_has_tokens_ids_and_names(tokenizer: Tokenizer) -> None:
    clips = [a_clip("a", [FOUND]), a_clip("b", [OTHER]), a_clip("c", [FOUND]), a_clip("d")]
    data = ClipDataset(clips, 8, 48)
    batch = collate([data[k] for k in range(4)], tokenizer, 32)
    assert batch["video"].shape == (4, 3, 8, 48, 48)
    assert batch["tokens"].shape == (4, 32) and batch["tokens"].dtype == torch.int64
    ids = batch["report_ids"]
    assert ids.dtype == torch.int64 and ids[0] == ids[2] == report_id(clips[0].report)
    assert len(set(ids.tolist())) == 3
    assert batch["studies"] == ["a", "b", "c", "d"] and batch["index"].tolist() == [0, 1, 2, 3]


def test_location_tasks_ask_for_the_box_and_for_the_words(tokenizer: Tokenizer) -> None:
    clips = [a_clip("a", [FOUND]), a_clip("b"), a_clip("c", [OTHER, FOUND])]
    data = ClipDataset(clips, 8, 64)
    samples = [data[k] for k in range(3)]
    batch = collate(samples, tokenizer, 40, location_context=24)
    assert batch["location_mask"].tolist() == [True, False, True]
    for task in ("aref", "gcap"):
        tokens, prompts = batch[f"{task}_tokens"], batch[f"{task}_prompts"]
        assert tokens.shape == (3, 24) and (tokens >= 0).all()
        assert (tokens[1] == 0).all() and prompts[1] == 0
        for row in (0, 2):
            found = samples[row]["finding"]
            names = [tokenizer.id_to_token(token) for token in tokens[row].tolist()]
            place = box_tokens(found.frame, 8, found.box)
            question, answer = names[: prompts[row]], names[prompts[row] :]
            assert question[:2] == ["[BOS]", f"[{task.upper()}]"]
            if task == "aref":
                assert answer[:6] == [*place, "[EOS]"] and set(answer[6:]) == {"[PAD]"}
                assert "".join(question[2:]).replace("##", "") == f"{found.segment.lower()}{found.percent}%"
            else:
                assert question[2:] == place
                words = tokenizer.encode(write_finding(found.segment, found.percent, 0)).tokens
                assert answer[: len(words) + 1] == [*words, "[EOS]"]
            assert tokens_to_box(names, 8)[0] == found.frame


def test_a_batch_without_any_box(tokenizer: Tokenizer) -> None:
    data = ClipDataset([a_clip("a")], 2, 32)
    batch = collate([data[0]], tokenizer, 24)
    assert not batch["location_mask"].any() and (batch["aref_tokens"] == 0).all()


def test_wrong_arguments_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ParameterError, match="at least one clip"):
        ClipDataset([])
    for wrong, name in (
        ({"shift": 0.5}, "shift"),
        ({"intensity": -1}, "intensity"),
        ({"frames": -1}, "frames"),
    ):
        with pytest.raises(ParameterError, match=name):
            ClipAugmentation(**wrong)
    data = ClipDataset([a_clip("a", [FOUND])], 2, 32)
    with pytest.raises(IndexError):
        data[1]
    with pytest.raises(DataError, match="report a: .* do not fit context=6"):
        collate([data[0]], tokenizer, 6)
    for message, change in (
        ("the report is empty", {"report": " "}),
        ("view 'top'", {"view": "top"}),
        ("uint8", {"source": np.zeros((2, 8, 8))}),
    ):
        arguments = {"report": "x", "view": None, "source": ramp()} | change
        with pytest.raises(DataError, match=message):
            Clip("c", "s", "p", stenoses=(), **arguments)
    for box in ((0.5, 0, 0.5, 1), (0, 0, 1, 1.5)):
        with pytest.raises(DataError, match="box"):
            Stenosis("mLAD", 50, 0, box)
    with pytest.raises(DataError, match="percent=120"):
        Stenosis("mLAD", 120, 0, (0, 0, 1, 1))
