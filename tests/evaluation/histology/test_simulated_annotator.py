"""The simulated annotator: what it accepts, rejects and draws, in which order."""

from __future__ import annotations

import numpy as np

from mtl.evaluation.histology.simulated_annotator import best_partners, draw_at_random, review


def truth() -> np.ndarray:
    """Nuclei 1 (16 pixels), 2 (36) and 3 (9)."""
    labels = np.zeros((12, 20), int)
    labels[1:5, 1:5], labels[1:7, 8:14], labels[8:11, 1:4] = 1, 2, 3
    return labels


def test_proposals_come_first_the_surest_first_then_what_is_missing() -> None:
    proposals = np.zeros((12, 20), int)
    proposals[1:5, 1:4] = 1  # three quarters of nucleus 1
    proposals[9:12, 14:18] = 2  # nothing
    decisions = list(review(proposals, np.array([0.6, 0.9]), truth(), annotated=[]))
    assert [(d.kind, d.nucleus) for d in decisions] == [("reject", 0), ("accept", 1), ("add", 2), ("add", 3)]
    assert np.array_equal(decisions[1].mask, proposals == 1), "accepted as proposed"
    assert np.array_equal(decisions[2].mask, truth() == 2), "drawn as it is"


def test_what_is_annotated_costs_no_action() -> None:
    assert [d.nucleus for d in review(truth(), np.ones(3), truth(), annotated=[1, 3])] == [2]
    assert not list(review(truth(), np.ones(3), truth(), annotated=[1, 2, 3]))


def test_two_halves_of_a_nucleus_fit_nothing_and_one_that_joins_two_neither() -> None:
    halves = np.where(truth() == 2, 1, 0)
    halves[4:7, 8:14] = 2 * (halves[4:7, 8:14] > 0)
    assert best_partners(halves, truth()) == {}
    joined = (np.isin(truth(), (1, 2))).astype(int)
    assert best_partners(joined, truth()) == {1: 2}, "more than half is nucleus 2"


def test_random_order_draws_every_missing_nucleus_once() -> None:
    orders = [
        [d.nucleus for d in draw_at_random(truth(), [2], np.random.default_rng(seed))] for seed in range(8)
    ]
    assert all(sorted(order) == [1, 3] for order in orders) and len({tuple(o) for o in orders}) == 2
