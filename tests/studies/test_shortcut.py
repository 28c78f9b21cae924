"""The laboratory: second task through the balancer, cached results, and the dial's effect on a small run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from mtl.datasets.phantoms.brain_mri import LEANING, BrainPhantom
from mtl.errors import ParameterError
from mtl.evaluation.brain_mri.shortcut import figure_of, shortcut_table
from mtl.models.gradient_reversal import SourceAdversarialModel
from mtl.studies import parameters_class
from mtl.studies.brain_mri import shortcut, stages
from mtl.studies.brain_mri.data import cells, open_dataset, training_loader
from mtl.studies.brain_mri.shortcut import ShortcutLaboratory
from mtl.studies.brain_mri.small_classifier import SmallClassifier
from mtl.studies.brain_mri.source_adversary import ClassificationObjective, collate_with_source

SMALL = {
    "rho_values": "0.5,1", "shortcut_patients": 16, "shortcut_test_patients": 16, "shortcut_size": 16,
    "shortcut_filters": 4, "shortcut_epochs": 1, "precision": "32-true",
}  # fmt: skip


def parameters(tmp_path, **changed):
    return parameters_class("brain_mri")(output_root=str(tmp_path), **{**SMALL, **changed})


def sample(i: int) -> dict:
    image = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(i))
    keys = {"cls": i % 2, "source": "ab"[i % 3 == 0], "patient": f"p{i}", "slice": 0, "id": str(i)}
    return {"image": image, "mask": None, **keys}


def test_the_source_is_one_more_task_with_valid_units():
    batch = collate_with_source(["a", "b"])([sample(i) for i in range(6)])
    assert batch["source_index"].tolist() == [1, 0, 0, 1, 0, 0]
    assert batch["valid_units"] == {"segmentation": 0, "classification": 6, "source": 6}
    torch.manual_seed(0)
    model = SourceAdversarialModel(base_filters=4, depth=2).eval()
    losses = ClassificationObjective(("classification", "source"))(model, batch)
    output = model(batch["image"], do_seg=False, do_source=True)
    assert set(losses) == {"classification", "source"}
    torch.testing.assert_close(losses["source"], F.cross_entropy(output["source"], batch["source_index"]))
    torch.testing.assert_close(losses["classification"], F.cross_entropy(output["cls"], batch["cls"]))
    assert set(ClassificationObjective(("classification",))(model, batch)) == {"classification"}


@pytest.mark.parametrize("text", ["0.5", "0,2", "0,high", ""])
def test_a_dial_without_sense_is_refused(text):
    with pytest.raises(ParameterError, match="rho_values"):
        parameters_class("brain_mri").from_values({"rho_values": text}, "here")
    assert parameters_class("brain_mri")(rho_values="1, 0,0.5,0.5").dial == (0.0, 0.5, 1.0)


def test_laboratory_parameters_leave_the_stages_alone_and_sampling_only_touches_joint():
    plain, changed = (
        parameters_class("brain_mri")(**kw) for kw in ({}, {**SMALL, "precision": "bf16-mixed"})
    )
    for stage in (stages.WARM_UP, stages.HEAD, stages.JOINT):
        assert stages.relevant_parameters(stage, plain) == stages.relevant_parameters(stage, changed)
    balanced = parameters_class("brain_mri")(sampling="source_balanced")
    same = [
        stages.relevant_parameters(stage, plain) == stages.relevant_parameters(stage, balanced)
        for stage in (stages.WARM_UP, stages.HEAD, stages.JOINT)
    ]
    assert same == [True, True, False]


def test_joint_stage_can_draw_every_cell_equally(tmp_path):
    p = parameters(
        tmp_path, sampling="source_balanced", phantom_patients=16, phantom_slices=1, image_size=16,
        phantom_duplicates=0.0, batch_size=4,
    )  # fmt: skip
    dataset = open_dataset(p)
    loader = training_loader(p, dataset, list(dataset.table["id"]), stages.JOINT, seed=0)
    drawn = pd.Series(cells(dataset.table.iloc[loader.sampler.indices(0)])).value_counts()
    assert set(drawn) == {4} and len(drawn) == 4


def test_results_are_complete_and_taken_from_the_folder_the_second_time(tmp_path, monkeypatch):
    laboratory = ShortcutLaboratory(parameters(tmp_path))
    results = laboratory.results()
    assert set(results[results["rho"] == 0.5]["arm"]) - set(results[results["rho"] == 1]["arm"]) == {
        shortcut.ELSEWHERE
    }
    assert set(results["arm"]) >= {shortcut.NETWORK, shortcut.SOURCE_ONLY, *shortcut.CURES}
    assert results["tumor_prob"].between(0, 1).all()
    assert set(results.groupby(["arm", "rho", "seed"]).size()) == {32}
    prepared = results[results["arm"] == shortcut.BACKGROUND_PREPARED]
    assert prepared.groupby("rho")["tumor_prob"].apply(np.ptp).max() < 1e-6

    monkeypatch.setattr(SmallClassifier, "train", lambda self: pytest.fail("trained again"))
    again = ShortcutLaboratory(parameters(tmp_path)).results()
    pd.testing.assert_frame_equal(again, results)
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        ShortcutLaboratory(parameters(tmp_path, shortcut_epochs=2)).results()


@pytest.mark.slow
def test_the_shortcut_lifts_the_mixed_figure_and_not_the_one_within_a_source(tmp_path):
    p = parameters(
        tmp_path, rho_values="0,1", shortcut_patients=80, shortcut_test_patients=80, shortcut_size=32,
        shortcut_filters=8, shortcut_epochs=8, batch_size=16,
    )  # fmt: skip
    table = shortcut_table(ShortcutLaboratory(p).results(), LEANING, 200)
    value = {
        (rho, name): figure_of(table, shortcut.NETWORK, rho, name)["value"]
        for rho in (0.0, 1.0)
        for name in ("mixed", "within source", "deployed")
    }
    assert value[1.0, "mixed"] > value[1.0, "within source"] + 0.15
    assert value[1.0, "mixed"] > value[0.0, "mixed"]
    assert value[1.0, "within source"] < value[0.0, "within source"] + 0.05
    assert value[1.0, "deployed"] < value[1.0, "mixed"] - 0.15


def test_a_picture_is_the_same_at_every_position_of_the_dial(tmp_path):
    """What the cache of drawn slices rests on: rho decides who has a tumour, and nothing else."""
    laboratory = ShortcutLaboratory(parameters(tmp_path))
    cached = [laboratory.training_set(rho) for rho in (0.5, 1.0)]
    for rho, dataset in zip((0.5, 1.0), cached, strict=True):
        seed = laboratory._seed("train", 0)
        phantom = BrainPhantom(16, shortcut.SLICES, rho, 64, seed)
        for item in phantom.slices[::5]:
            np.testing.assert_array_equal(dataset.native(item.id)[0], phantom.read(item)[0])
