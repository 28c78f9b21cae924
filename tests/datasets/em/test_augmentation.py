"""Symmetries of the grid, and grey-scale changes that stay in range."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.datasets.em.augmentation import Augmentation, Symmetry, identity


def drawn(spacing, size, limits, n: int = 400, **options) -> set[Symmetry]:
    rng = np.random.default_rng(0)
    return {Augmentation(**options).draw_symmetry(spacing, size, limits, rng) for _ in range(n)}


@pytest.mark.parametrize(
    ("spacing", "size", "limits", "n_moves"),
    [
        ((10, 10, 10), (8, 8, 8), (20, 20, 20), 48),
        ((30, 6, 6), (8, 16, 16), (20, 20, 20), 16),
        ((6, 6), (16, 16), (20, 20), 8),
        ((10, 10, 10), (8, 16, 16), (12, 20, 20), 16),
        ((10, 10, 10), (8, 16, 20), (12, 20, 20), 16),
        ((10, 10, 10), (8, 16, 20), (12, 20, 18), 0),
    ],
)
def test_all_moves_that_keep_spacing_and_fit(spacing, size, limits, n_moves: int) -> None:
    if n_moves == 0:
        moves = drawn(spacing, size, (12, 20, 20))
        assert all(m.source_size(size)[2] <= 20 for m in moves)
        return
    moves = drawn(spacing, size, limits)
    assert len(moves) == n_moves
    for move in moves:
        assert [spacing[axis] for axis in move.axes] == list(spacing)
        assert all(a <= b for a, b in zip(move.source_size(size), limits, strict=True))


def test_rotations_and_flips_can_be_left_out() -> None:
    assert {m.axes for m in drawn((6, 6), (8, 8), (9, 9), rotations=False)} == {(0, 1)}
    assert {m.flips for m in drawn((6, 6), (8, 8), (9, 9), flips=False)} == {(False, False)}


def test_a_quarter_turn_is_numpys() -> None:
    array = np.arange(12).reshape(3, 4)
    turn = Symmetry((1, 0), (True, False))
    np.testing.assert_array_equal(turn(array), np.rot90(array))
    assert turn.source_size((4, 3)) == (3, 4)
    np.testing.assert_array_equal(identity(2)(array), array)


def test_source_size_is_what_the_move_takes() -> None:
    move = Symmetry((2, 0, 1), (False, True, True))
    size = (4, 5, 6)
    assert move(np.zeros(move.source_size(size))).shape == size


def test_grey_scale_stays_in_range_and_follows_the_generator() -> None:
    image = np.random.default_rng(1).random((6, 20, 20), dtype=np.float32)
    changed = [Augmentation().recolour(image, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert changed[0].dtype == np.float32 and 0 <= changed[0].min() <= changed[0].max() <= 1
    np.testing.assert_array_equal(changed[0], changed[1])
    assert np.abs(changed[0] - changed[2]).mean() > 0.01
    still = Augmentation(gamma=0, contrast=0, brightness=0, noise=0, blur=0)
    np.testing.assert_allclose(still.recolour(image, np.random.default_rng(0)), image, atol=1e-6)
