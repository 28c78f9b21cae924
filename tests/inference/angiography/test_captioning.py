"""Reports and boxes: what the decoder is asked, and what becomes of its answers."""

from __future__ import annotations

import math

import pytest
import torch

from mtl.errors import DataError
from mtl.inference.angiography import generate_reports, locate_findings

BOS, EOS, CAP, AREF, FIRST_WORD = 2, 3, 5, 6, 10


def decode(ids: torch.Tensor) -> list[str]:
    return [" ".join(f"w{word - FIRST_WORD}" for word in row if word >= FIRST_WORD) for row in ids.tolist()]


def test_a_row_for_every_clip(fake, loader) -> None:
    fake.train()
    found = generate_reports(fake, loader, decode, [BOS, CAP], 12, method="beam", beams=3)
    assert found["generated"].tolist() == ["w2", "w5", "w9"]
    assert found["study"].tolist() == ["s0", "s0", "s1"] and found["true"].tolist()[2] == "report 2"
    assert found["n_tokens"].tolist() == [2, 2, 2], "the word and EOS, neither prefix nor PAD"
    assert fake.caption.calls == [((2, 2), 12, "beam", {"beams": 3}), ((1, 2), 12, "beam", {"beams": 3})]
    assert fake.video.training and fake.caption.training


def test_blank_videos_are_a_change_of_the_videos(fake, loader) -> None:
    found = generate_reports(fake, loader, decode, [BOS, CAP], 12, change=torch.zeros_like)
    assert found["generated"].tolist() == ["w0"] * 3 and loader[0]["video"].any(), (
        "the loader's stay as they are"
    )


def test_errors_of_captioning(fake, loader) -> None:
    with pytest.raises(DataError, match="ids of BOS and of the task"):
        generate_reports(fake, loader, decode, [], 12)
    with pytest.raises(DataError, match="gave no batch"):
        generate_reports(fake, [], decode, [BOS], 12)
    with pytest.raises(DataError, match="1 texts of 2 sequences"):
        generate_reports(fake, loader, lambda ids: ["one"], [BOS], 12)
    with pytest.raises(DataError, match="expected 'video'"):
        generate_reports(fake, [{}], decode, [BOS], 12)


def with_questions(batch: dict, questions: list[list[int]]) -> dict:
    tokens = torch.zeros(len(questions), 9, dtype=torch.int64)
    for row, question in zip(tokens, questions, strict=True):
        row[: len(question)] = torch.tensor(question)
    return batch | {"aref_tokens": tokens, "aref_prompts": torch.tensor([len(q) for q in questions])}


def test_questions_of_all_lengths_are_asked_and_clips_without_one_left_out(fake, loader) -> None:
    first = with_questions(loader[0], [[BOS, AREF, 20, 21], []])
    second = with_questions(loader[1], [[BOS, AREF, 22]])
    several = with_questions(
        {
            key: list(value) * 2 if isinstance(value, list) else value.repeat(2, 1, 1, 1, 1)
            for key, value in loader[0].items()
        },
        [[BOS, AREF, 20, 21], [BOS, AREF, 22], [], [BOS, AREF, 23, 24]],
    )
    read: list[tuple[list[int], int]] = []

    def read_box(answer: list[int], n_frames: int):
        read.append((answer, n_frames))
        return None if answer[0] == FIRST_WORD + 9 else (1, (0.1, 0.2, 0.3, 0.4))

    found = locate_findings(fake, [first, second], read_box)
    assert found["id"].tolist() == ["c0", "c2"] and found["frame"].tolist()[0] == 1
    assert found.loc[0, ["y0", "x0", "y1", "x1"]].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert math.isnan(found["frame"][1]) and found.loc[1, ["y0", "x0", "y1", "x1"]].isna().all()
    assert read == [([FIRST_WORD + 2, EOS, 0], 2), ([FIRST_WORD + 9, EOS, 0], 2)], (
        "the answer alone, 2 frames"
    )
    fake.caption.calls.clear()
    read.clear()
    found = locate_findings(fake, [several], read_box)
    assert [call[:2] for call in fake.caption.calls] == [((1, 3), 9), ((2, 4), 10)], "grouped by length"
    assert [answer[0] - FIRST_WORD for answer, _ in read] == [2, 5, 5], "each from its own video"
    assert found["id"].tolist() == ["c0", "c1", "c1"]


def test_errors_of_location(fake, loader) -> None:
    with pytest.raises(DataError, match="without aref_prompts, aref_tokens"):
        locate_findings(fake, loader, lambda answer, n: None)


def test_the_study_s_own_model_and_tokens(small_model) -> None:
    from mtl.datasets.angiography.locations import BOX_TOKENS, FRAME_TOKENS, tokens_to_box

    names = {0: "[FRAME3]"} | {i: f"[LOC{i}]" for i in range(1, 40)}
    assert set(names.values()) <= {*FRAME_TOKENS, *BOX_TOKENS}
    read_box = lambda ids, n: tokens_to_box([names[i] for i in ids], n)  # noqa: E731
    batch = {"video": torch.rand(2, 3, 4, 8, 8), "studies": ["a", "b"]}
    reports = generate_reports(small_model, [batch], decode, [2, 5], 10)
    assert reports["study"].tolist() == ["a", "b"] and (reports["n_tokens"] <= 8).all()
    found = locate_findings(small_model, [with_questions(batch, [[2, 6, 7], [2, 6]])], read_box)
    assert len(found) == 2 and found["study"].tolist() == ["a", "b"]
