"""Training, logged scalars, scoring, comparisons: at smoke size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mtl.errors import MissingArtefactError, ParameterError, ProtocolError
from mtl.losses.histology import LOSSES
from mtl.studies.histology.loss_comparison import arm_figures, compare, rows_of, with_holm
from mtl.studies.histology.loss_sets import Training
from mtl.studies.histology.objective import log_keys
from mtl.studies.histology.scoring import (
    OTSU,
    OUTSIDE,
    TEST,
    all_scores,
    best_method,
    methods_of,
    score_network,
)
from mtl.studies.histology.study import HistologyStudy

from .conftest import smoke


def test_nine_scalars_and_pseudo_labels_are_logged(trained: HistologyStudy) -> None:
    history = trained.train_one(trained.first).history
    logged = {key for key in history["key"] if key.startswith("loss/")}
    always = {"segmentation", "edge", "hv", "recon", "total_var", "small_hole", "total"}
    assert {f"loss/{name}" for name in always} <= logged <= {f"loss/{n}" for n in (*LOSSES, "total")}
    assert {"val/dice", "pseudo/positive/recall", "pseudo/negative/recall"} <= set(history["key"])


def test_total_precision_and_recall_are_made_of_the_means() -> None:
    means = {
        "segmentation": 1.0, "edge": 2.0,
        "segmentation/pseudo_positive": 10.0, "segmentation/right_positive": 4.0,
        "segmentation/hidden_positive": 16.0, "segmentation/pseudo_negative": 0.0,
        "segmentation/right_negative": 0.0, "segmentation/hidden_negative": 5.0,
    }  # fmt: skip
    assert log_keys(means, {"segmentation": 2.0, "edge": 10.0}) == {
        "loss/segmentation": 1.0, "loss/edge": 2.0, "loss/total": 22.0,
        "pseudo/positive/precision": 0.4, "pseudo/positive/recall": 0.25, "pseudo/negative/recall": 0.0,
    }  # fmt: skip


def test_losses_that_a_set_leaves_out_train_nothing(trained: HistologyStudy) -> None:
    training = trained.trainings("segmentation_only", 0.3)[0]
    before, after = trained.untrained_model(training).state_dict(), trained.model(training).state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"encoder", "decoder"}
    assert methods_of(trained, "segmentation_only") == ("components", "shape")


def test_the_loss_falls_and_nuclei_are_found_in_a_short_run(tmp_path: Path) -> None:
    sizes = {"epochs": 8, "patches_per_epoch": 48, "batch_size": 4, "base_filters": 8, "fractions": "0.5,1"}
    changes = sizes | {"augment": False}  # other hues ask for more steps than these
    study = HistologyStudy(smoke(tmp_path, probe_every=0, sparse_sets="", **changes))
    history = study.train_one(study.first).history
    total = history[history["key"] == "loss/total"].sort_values("epoch")["value"].to_numpy()
    dice = history[history["key"] == "val/dice"].sort_values("epoch")["value"].to_numpy()
    assert total[-1] < 0.6 * total[0] and dice[-3:].max() > 0.7
    untrained = study.validate(study.untrained_model(study.first).eval(), study.first)["dice"]
    assert dice.max() > untrained + 0.2
    scores = score_network(study, study.first)
    assert scores[scores["part"] == TEST]["pq"].mean() > 0.2


def test_scores_have_a_row_per_image_and_decoding(trained: HistologyStudy) -> None:
    table = all_scores(trained)
    assert set(table["part"]) == {TEST, OUTSIDE}
    for training in trained.all_trainings():
        mine = table[
            (table["losses"] == training.losses) & (table["fraction"] == training.fraction)
            & (table["fold"] == training.fold) & (table["seed"] == training.seed)
        ]  # fmt: skip
        assert set(mine[mine["part"] == TEST]["image"]) == {t.id for t in trained.part(training.fold, "test")}
        assert len(mine[mine["part"] == OUTSIDE]) == len(trained.outside_tiles)
        assert set(mine["method"]) == {best_method(trained, training)[0]}
    assert set(table[table["losses"] == OTSU]["fold"]) == set(trained.folds)


def test_scores_are_made_once_and_not_taken_from_another_run(trained: HistologyStudy) -> None:
    file = trained.run.predictions("all_30_fold_0_seed_0")
    written = file.stat().st_mtime_ns
    score_network(trained, trained.first)
    assert file.stat().st_mtime_ns == written
    other = HistologyStudy(trained.parameters.model_copy(update={"epochs": 3}))
    with pytest.raises(MissingArtefactError, match="run notebook 0[34]_"):
        all_scores(other)
    with pytest.raises(MissingArtefactError, match="was trained with other parameters"):
        other.model(other.first)


def test_an_arm_that_there_is_not_is_refused_by_name(trained: HistologyStudy) -> None:
    with pytest.raises(ParameterError, match="unknown arm 'none_10': this run has all_30, "):
        trained.train("none_10")
    assert [result.stage for result in trained.train("all_30")] == ["all_30", "all_30"]


def made_scores(gain: float, seeds: int, images: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    base = rng.random(images) * 0.5
    rows = []
    for losses, shift in (("all", gain), ("segmentation_only", 0.0)):
        for seed in range(seeds):
            for k in range(images):
                value = base[k] + shift + 0.01 * rng.standard_normal()
                row = {
                    "image": f"i{k}",
                    "fold": k % 2,
                    "seed": seed,
                    "losses": losses,
                    "fraction": 0.1,
                    "part": TEST,
                }
                rows.append(row | {"pq": value, "aji": value, "dice": value})
    for k in range(images):
        row = {"image": f"i{k}", "fold": k % 2, "seed": 0, "losses": OTSU, "fraction": 0.0, "part": TEST}
        rows.append(row | dict.fromkeys(("pq", "aji", "dice"), base[k]))
    return pd.DataFrame(rows)


def test_five_seeds_give_a_verdict_and_fewer_give_none() -> None:
    pair = (("segmentation_only", 0.1), ("all", 0.1))
    many = compare(made_scores(0.05, 5), *pair, TEST, 0.02, 300)["pq"]
    assert many["verdict"] == "positive" and many["p_value"] < 0.01 and many["seeds"] == 5
    assert many["estimate"].low < 0.05 < many["estimate"].high + 0.02
    few = compare(made_scores(0.05, 2), *pair, TEST, 0.02, 300)["pq"]
    assert few["verdict"] == "no verdict" and few["p_value"] is None and few["estimate"].low > 0
    assert (
        with_holm({"a": {m: dict(many) for m in ("pq", "aji", "dice")}})["a"]["pq"]["p_holm"]
        == many["p_value"]
    )


def test_the_baseline_is_paired_with_every_seed_and_missing_images_are_refused() -> None:
    scores = made_scores(0.1, 3)
    found = compare(scores, (OTSU, 0.0), ("all", 0.1), TEST, 0.02, 300)["pq"]
    assert found["estimate"].value == pytest.approx(0.1, abs=0.01) and found["seeds"] == 3
    with pytest.raises(ProtocolError, match="not scored on the same images"):
        compare(scores[1:], ("segmentation_only", 0.1), ("all", 0.1), TEST, 0.02, 300)
    figures = arm_figures(scores, [("all", 0.1), (OTSU, 0.0)], TEST, 300)
    assert figures["all_10"]["pq"].n == figures["otsu_0"]["pq"].n == 40
    assert len(rows_of(scores, ("all", 0.1), TEST)) == 120


def test_trainings_are_told_apart_by_what_matters(trained: HistologyStudy) -> None:
    one = trained.first
    prints = {trained.fingerprint(t) for t in trained.all_trainings()}
    assert len(prints) == len(trained.all_trainings())
    moved = HistologyStudy(trained.parameters.model_copy(update={"n_bootstrap": 200, "loop_rounds": 9}))
    assert moved.fingerprint(one) == trained.fingerprint(one)
    assert one == Training("all", 0.3, 0, 0)


def test_every_set_of_losses_can_be_trained(tmp_path: Path) -> None:
    sets = "without_segmentation,without_hv,without_obj_emb"
    study = HistologyStudy(smoke(tmp_path, folds=1, fractions="1", sparse_sets=sets, epochs=1))
    for losses in sets.split(","):
        [result] = study.train(f"{losses}_100")
        assert np.isfinite(result.history["value"]).all()


def test_scores_are_of_the_outside_tiles_as_they_are_now(trained: HistologyStudy) -> None:
    p = trained.parameters
    other = HistologyStudy(p.model_copy(update={"phantom_outside_shift": 0.9}))
    assert other.fingerprint(trained.first) == trained.fingerprint(trained.first)
    with pytest.raises(MissingArtefactError, match="of another network, other data or settings"):
        all_scores(other)


def test_an_image_that_one_seed_cannot_be_scored_on_is_left_out_for_all() -> None:
    table = made_scores(0.05, 5)
    table.loc[(table["image"] == "i0") & (table["seed"] == 0) & (table["losses"] == "all"), "pq"] = np.nan
    found = compare(table, ("segmentation_only", 0.1), ("all", 0.1), TEST, 0.02, 300)["pq"]
    assert found["seeds"] == 5 and found["estimate"].n == table["image"].nunique() - 1
