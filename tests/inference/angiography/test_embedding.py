"""Embeddings of clips and reports, and what is nearest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mtl.errors import DataError, ParameterError
from mtl.inference.angiography import embed_clips, embed_reports, nearest_reports


def test_clips_keep_their_order_and_their_rows(fake, loader) -> None:
    found = embed_clips(fake, loader)
    expected = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-6)
    assert found.vectors.dtype == np.float32
    assert found.rows["study"].tolist() == ["s0", "s0", "s1"] and found.rows["id"].tolist() == [
        "c0",
        "c1",
        "c2",
    ]
    assert found.rows["true"].tolist() == ["report 0", "report 1", "report 2"]


def test_an_encoder_that_gives_tokens_and_a_vector(fake, loader) -> None:
    one, other = embed_clips(fake, loader), embed_clips(fake.video, loader)
    assert np.array_equal(one.vectors, other.vectors)


def test_every_part_is_in_its_own_mode_afterwards(fake, loader) -> None:
    fake.train()
    fake.caption.eval()
    embed_clips(fake, loader)
    assert fake.training and fake.video.training and not fake.caption.training
    with pytest.raises(DataError):
        embed_clips(fake, [{}])
    assert fake.training, "also after an error"


def test_batches_without_lists_give_rows_without_columns(fake, loader) -> None:
    found = embed_clips(fake, [{"video": batch["video"]} for batch in loader])
    assert found.rows.shape == (3, 0) and found.vectors.shape == (3, 2)


def test_reports_are_embedded_in_batches_of_any_size() -> None:
    table = nn.EmbeddingBag(9, 4)
    tokens = torch.randint(9, (7, 5))
    with torch.no_grad():
        expected = nn.functional.normalize(table(tokens), dim=-1).numpy()
    for batch_size in (1, 3, 64):
        np.testing.assert_allclose(embed_reports(table, tokens, batch_size=batch_size), expected, atol=1e-6)


def test_mixed_precision_is_asked_for_and_the_result_is_float32(loader) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(96, 8))
    plain = embed_clips(encoder, loader).vectors
    found = embed_clips(encoder, loader, autocast=lambda: torch.autocast("cpu", torch.bfloat16)).vectors
    assert found.dtype == np.float32 and not np.array_equal(found, plain)
    np.testing.assert_allclose(found, plain, atol=0.02)  # bfloat16 has 8 bits


def test_the_nearest_by_cosine() -> None:
    rng = np.random.default_rng(0)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    query, offered = unit(rng.normal(size=(4, 3))), unit(rng.normal(size=(9, 3)))
    order, cosines = nearest_reports(query, offered, k=3)
    for i in range(4):
        ranked = sorted(range(9), key=lambda j, i=i: -sum(query[i] * offered[j]))
        assert order[i].tolist() == ranked[:3]
        np.testing.assert_allclose(cosines[i], [query[i] @ offered[j] for j in ranked[:3]])
    assert nearest_reports([[1.0, 0]], [[1.0, 0]] * 4, k=2)[0].tolist() == [[0, 1]]


def test_errors(fake, loader) -> None:
    with pytest.raises(DataError, match="expected 'video'"):
        embed_clips(fake, [{"studies": ["a"]}])
    with pytest.raises(DataError, match="gave no batch"):
        embed_clips(fake, [])
    with pytest.raises(DataError, match="a batch of 2 videos has lists of other lengths: {'study': 1}"):
        embed_clips(fake, [loader[0] | {"studies": ["a"]}])
    with pytest.raises(DataError, match="1 of 2 embeddings are zero or not finite"):
        embed_clips(fake, loader[:1], embed=lambda video: torch.tensor([[1.0, 0], [0, 0]]))
    with pytest.raises(DataError, match="1 of 2 embeddings are zero or not finite"):
        embed_clips(fake, loader[:1], embed=lambda video: torch.tensor([[1.0, 0], [torch.nan, 0]]))
    with pytest.raises(ParameterError, match="batch_size = 0"):
        embed_reports(nn.EmbeddingBag(3, 2), torch.zeros(1, 1, dtype=torch.long), batch_size=0)
    with pytest.raises(DataError, match="at least one report"):
        embed_reports(nn.EmbeddingBag(3, 2), torch.zeros(0, 1, dtype=torch.long))
    with pytest.raises(ParameterError, match="k = 3: expected 1 to 2"):
        nearest_reports(np.eye(2), np.eye(2), k=3)
    with pytest.raises(DataError, match=r"expected \(Q, D\)"):
        nearest_reports(np.eye(2), np.eye(3), k=1)


def test_the_study_s_own_model(small_model) -> None:
    video, tokens = torch.rand(3, 3, 4, 8, 8), torch.randint(4, 40, (3, 6))
    clips, reports = embed_clips(small_model, [{"video": video}]), embed_reports(small_model, tokens)
    small_model.eval()
    with torch.no_grad():
        output = small_model(video, tokens)
    np.testing.assert_allclose(clips.vectors, output["video_embedding"].numpy(), atol=1e-6)
    np.testing.assert_allclose(reports, output["text_embedding"].numpy(), atol=1e-6)
