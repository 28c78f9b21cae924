"""Slices with outlines: one panel per case, the true mask solid and the predicted one dashed."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from mtl.reporting.figures_brain_mri import answer_failures, outline_failures


def sample(with_mask: bool) -> dict:
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:9, 4:9] = 1
    return {"image": torch.randn(1, 16, 16), "mask": mask if with_mask else None}


def test_outline_failures_show_truth_and_prediction():
    predicted = np.zeros((16, 16))
    predicted[6:12, 6:12] = 0.9
    drawn = pd.DataFrame({"source": ["a", "b"], "dice": [0.1, 0.25], "mask": [predicted, predicted * 0]})
    figure = outline_failures([sample(True), sample(True)], drawn)
    first, second = figure.axes[:2]
    assert [axis.get_title() for axis in (first, second)] == ["a, Dice 0.10", "b, Dice 0.25"]
    assert len(first.collections) == 2 and len(second.collections) == 1
    plt.close(figure)


def test_answer_failures_draw_a_case_without_a_mask():
    errors = pd.DataFrame({"source": ["a"], "error": ["missed"], "tumor_prob": [0.2]})
    figure = answer_failures([sample(False)], errors)
    assert figure.axes[0].get_title() == "a: missed, p = 0.20"
    assert not figure.axes[0].collections
    plt.close(figure)
