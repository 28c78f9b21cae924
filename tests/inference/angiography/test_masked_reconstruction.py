"""What is hidden and what is seen of a clip, against loops over its tubelets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mtl.errors import DataError
from mtl.inference.angiography.masked_reconstruction import reconstruct
from mtl.models.angiography.masked_video import masked_video

GRID, TUBELET = (2, 2, 2), (2, 4, 4)


def clip_of(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def tubelet(place: int) -> tuple[slice, ...]:
    """Where a tubelet lies in a clip ``(3, T, H, W)``; places go by time, rows, columns."""
    starts = np.unravel_index(place, GRID)
    return (slice(None), *(slice(i * n, (i + 1) * n) for i, n in zip(starts, TUBELET, strict=True)))


def test_hidden_tubelets_are_empty_and_then_filled_with_predictions(small_model: nn.Module) -> None:
    clip, model = clip_of(), small_model.train()
    seen, predicted = reconstruct(model, clip, torch.Generator().manual_seed(3))
    assert model.training and all(part.training for part in model.modules())
    with torch.no_grad():
        output = masked_video(
            model.eval().video, model.masked, clip[None], generator=torch.Generator().manual_seed(3)
        )
    hidden = output["masked_places"][0].tolist()
    assert len(hidden) == 6 and seen.shape == predicted.shape == (3, 4, 8, 8)
    assert seen.dtype == predicted.dtype == np.float32
    # pixels of a tubelet in the encoder's own order, found by a clip that numbers them
    numbers = torch.arange(clip.numel(), dtype=torch.float64).reshape(clip.shape)
    order = model.double().video.patches(numbers[None])[0].long()
    flat, pixels = predicted.reshape(-1), clip.double().flatten()
    for place in range(8):
        where = tubelet(place)
        assert sorted(order[place].tolist()) == sorted(numbers[where].flatten().long().tolist())
        if place not in hidden:
            np.testing.assert_array_equal(seen[where], clip[where].numpy())
            np.testing.assert_array_equal(predicted[where], clip[where].numpy())
            continue
        assert np.isnan(seen[where]).all()
        own = pixels[order[place]]
        told = output["masked_prediction"][0, hidden.index(place)].double()
        expected = told * (own.var(correction=0) + 1e-6).sqrt() + own.mean()
        np.testing.assert_allclose(flat[order[place]], expected.clamp(0, 1), atol=1e-5)


def test_the_generator_decides_what_is_hidden_and_grey_values_stay_in_range(small_model: nn.Module) -> None:
    clip = (clip_of(1) > 0.5).float()  # predictions leave [0, 1] easily here
    first, again, other = (
        reconstruct(small_model, clip, torch.Generator().manual_seed(seed)) for seed in (0, 0, 4)
    )
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (np.isnan(first[0]) != np.isnan(other[0])).any()
    assert not np.isnan(first[1]).any() and first[1].min() >= 0 and first[1].max() <= 1


@pytest.mark.parametrize("shape", [(4, 8, 8), (1, 3, 4, 8, 8)])
def test_anything_but_one_clip_is_refused(small_model: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"one clip \(3, T, H, W\) is expected"):
        reconstruct(small_model, torch.zeros(shape))
