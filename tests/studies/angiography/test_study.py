"""Trainings: what they share, what makes them stale, interruptions, logs, forecast."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from mtl.datasets.angiography.tokenizer import train_tokenizer
from mtl.datasets.splits import PARTS
from mtl.errors import MissingArtefactError, ParameterError
from mtl.model_folder import load_model
from mtl.models.angiography import VideoTextModel
from mtl.studies.angiography.forecast import forecast
from mtl.studies.angiography.masked_evaluation import masked_table
from mtl.studies.angiography.model_card import model_card
from mtl.studies.angiography.scoring import score_network
from mtl.studies.angiography.study import WITHOUT_EFFECT, AngiographyStudy
from mtl.studies.angiography.validation import mean_reciprocal_rank
from mtl.studies.angiography.variants import Training, trained_by

from .conftest import smoke


def like(trained: AngiographyStudy, folder: Path, **changes) -> AngiographyStudy:
    """A study of the same data with other parameters, its data taken over."""
    study = AngiographyStudy(smoke(folder, **changes))
    study.parts, study.tokenizer = trained.parts, trained.tokenizer
    return study


# ---------------------------------------------------------------------- networks
def test_variants_of_a_seed_start_alike_and_see_the_same_clips(
    trained: AngiographyStudy, tmp_path: Path
) -> None:
    settings = "clip,mask_90,tube_masks,half_batch"
    study = like(trained, tmp_path, settings=settings, seeds=2)
    first = study.untrained_model(study.first).state_dict()
    drawn = study.loader(study.first).sampler.indices(1)
    for variant in study.training_order():
        one, other = study.trainings(variant)
        mine, batch = study.untrained_model(one).state_dict(), next(iter(study.loader(one).batches(1)))
        assert set(first) - set(mine) == ({"alignment.bias"} if variant == "clip" else set())
        differ = {name for name in mine if not torch.equal(mine[name], first[name])}
        scalars = {"alignment.log_temperature", "alignment.bias"}  # start as contrast and batch size say
        assert differ <= (scalars if variant in ("clip", "half_batch") else set())
        assert study.loader(one).sampler.indices(1) == drawn
        assert batch["id"] == [trained.parts.train[i].id for i in drawn[: len(batch["id"])]]
        assert study.loader(other).sampler.indices(1) != drawn
    other = study.untrained_model(Training("all", 1)).state_dict()
    assert any(not torch.equal(other[name], first[name]) for name in first if name.startswith("video."))


def test_a_training_is_told_by_what_matters(trained: AngiographyStudy, tmp_path: Path) -> None:
    own = trained.fingerprint(trained.first)
    assert AngiographyStudy(trained.parameters).fingerprint(trained.first) == own
    for changes in (
        {"epochs": 3}, {"mask_ratio": 0.6}, {"lr_text": 3e-3}, {"label_smoothing": 0.2},
        {"seed": 1, "data_seed": 0}, {"report_fraction": 0.9}, {"duplicate_aware": False},
        {"location_tasks": False}, {"precision": "bf16-mixed"}, {"contrastive": "softmax"},
        {"weight_masked": 0.2}, {"augment": False}, {"validation_fraction": 0.2}, {"average": 0.5},
    ):  # fmt: skip
        assert like(trained, tmp_path, **changes).fingerprint(trained.first) != own, changes
    prints = {trained.fingerprint(Training(variant)) for variant in trained.training_order()}
    assert len(prints) == len(trained.training_order()) == 4


def test_and_by_its_data_its_split_and_its_tokenizer(trained: AngiographyStudy, tmp_path: Path) -> None:
    own, study = trained.fingerprint(trained.first), like(trained, tmp_path)
    clip = trained.parts.train[0]
    for part in PARTS:
        first = trained.parts[part][0]
        other = [dataclasses.replace(first, report="Another report."), *trained.parts[part][1:]]
        study.parts = dataclasses.replace(trained.parts, **{part: other})
        assert study.fingerprint(study.first) != own
    moved = dataclasses.replace(clip, stenoses=())
    assert clip.stenoses
    study.parts = dataclasses.replace(trained.parts, train=[moved, *trained.parts.train[1:]])
    assert study.fingerprint(study.first) != own, "places are learnt from"
    study.parts = trained.parts
    assert study.fingerprint(study.first) == own
    study.tokenizer = train_tokenizer([f"{clip.report} once more" for clip in trained.parts.train], 300)
    assert study.fingerprint(study.first) != own


OTHER_VALUES = {
    "run": "other", "output_root": "elsewhere", "device": "auto", "workers": 1, "data_root": "data",
    "variants": "all,only_captioning", "settings": "none", "seeds": 2, "generation": "beam", "beams": 2,
    "codebook": 4, "n_bootstrap": 200, "recall_margin": 0.1, "f1_margin": 0.1,
}  # fmt: skip


def test_what_is_done_later_makes_no_training_stale(trained: AngiographyStudy, tmp_path: Path) -> None:
    assert set(OTHER_VALUES) == WITHOUT_EFFECT - {"seed"}, "the seed is told of by itself"
    study = like(trained, tmp_path)
    own = study.fingerprint(study.first)
    for name, value in OTHER_VALUES.items():
        assert getattr(study.parameters, name) != value
        study.parameters = smoke(tmp_path).model_copy(update={name: value})
        assert study.fingerprint(study.first) == own, name


def test_a_trained_network_is_found_again_and_has_learnt(trained: AngiographyStudy) -> None:
    start, end = (
        trained.untrained_model(trained.first).state_dict(),
        trained.model(trained.first).state_dict(),
    )
    moved = {name.split(".")[0] for name in start if not torch.equal(start[name], end[name])}
    assert moved == {"video", "text", "caption", "masked", "alignment"}
    result = AngiographyStudy(trained.parameters).train_one(trained.first)
    assert result.steps == 6 and result.stage == "all"


def test_a_stale_or_missing_network_is_refused(trained: AngiographyStudy) -> None:
    stale = AngiographyStudy(trained.parameters.model_copy(update={"lr_video": 4e-3}))
    with pytest.raises(
        MissingArtefactError, match="all_seed_0 was trained with other .* run notebook 02_training"
    ):
        stale.model(stale.first)
    with pytest.raises(MissingArtefactError, match="02_training|all_seed_0"):
        score_network(stale, stale.first)
    for variant, notebook in (("only_contrastive", "04_which"), ("clip", "05_contrast")):
        with pytest.raises(MissingArtefactError, match=notebook):
            trained.model(Training(variant))
    assert trained_by(Training("all", 1)) == "04_which_objective_helps"


def test_losses_scores_and_gradients_are_logged(trained: AngiographyStudy) -> None:
    history = trained.train_one(trained.first).history
    expected = {f"loss/{name}" for name in ("contrastive", "captioning", "captioning/ce", "masked", "total")}
    expected |= {f"val/{name}" for name in ("mrr", "token_accuracy", "explained", "score")}
    assert expected <= set(history["key"])
    last = {row["key"]: row["value"] for row in history[history["epoch"] == 2].to_dict("records")}
    weighted = sum(trained.parameters.weights[task] * last[f"loss/{task}"] for task in trained.tasks("all"))
    assert last["loss/total"] == pytest.approx(weighted, rel=1e-6)
    three = [last[f"val/{name}"] for name in ("mrr", "token_accuracy", "explained")]
    assert last["val/score"] == pytest.approx(sum(three) / 3, rel=1e-6)
    assert (trained.run.stage(0, "all_seed_0") / "best" / "README.md").is_file()


class Interrupted(Exception):
    """Stands for a kill."""


def test_an_interrupted_training_ends_as_an_undisturbed_one(
    trained: AngiographyStudy, tmp_path: Path
) -> None:
    options = {"weight_distillation": 1.0, "mask_target": "features", "settings": "none", "variants": "all"}
    options |= {"teacher_decay": 0.8, "average": 0.5, "probe_every": 0}
    whole, broken = (like(trained, tmp_path / name, **options) for name in ("whole", "broken"))
    scores = whole.train_one(whole.first).history
    assert {"val/explained", "loss/distillation"} <= set(scores["key"])
    validate, calls = broken.validate, []

    def stopped(model, training):
        calls.append(training)
        if len(calls) == 2:
            raise Interrupted
        return validate(model, training)

    broken.validate = stopped
    with pytest.raises(Interrupted):
        broken.train_one(broken.first)
    resumed = like(trained, tmp_path / "broken", **options)
    assert resumed.train_one(resumed.first).steps == 6
    for kind in ("best", "last"):
        one, other = (
            load_model(VideoTextModel, study.run.stage(0, "all_seed_0") / kind).state_dict()
            for study in (whole, resumed)
        )
        assert any(name.startswith("teacher.") for name in one)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_several_processes_need_even_batches_and_all_reports(
    trained: AngiographyStudy, tmp_path: Path, monkeypatch
) -> None:
    class TwoRanks:
        world_size, device = 2, torch.device("cpu")

    monkeypatch.setattr("mtl.studies.angiography.study.make_fabric", lambda *_: TwoRanks())
    assert like(trained, tmp_path).fabric.world_size == 2
    with pytest.raises(ParameterError, match="report_fraction=0.5 with 2 processes"):
        _ = like(trained, tmp_path, report_fraction=0.5).fabric
    with pytest.raises(ParameterError, match="batch_size: 'all' leaves 1 clips over with 2 processes"):
        _ = like(trained, tmp_path, batch_size=3, settings="none").fabric


# ---------------------------------------------------------------------- beside training
def test_mean_reciprocal_rank_by_hand() -> None:
    videos = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]).numpy()
    texts = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]]).numpy()
    # of film: ranks 3, 3, 1; of report: 3, 3, 1
    assert mean_reciprocal_rank(videos, texts, ["a", "b", "c"]) == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
    # reports a and b alike: first right at ranks 1, 1, 1
    assert mean_reciprocal_rank(videos, texts, ["a", "a", "c"]) == pytest.approx(1.0)


def test_masked_video_of_the_test_clips(trained: AngiographyStudy) -> None:
    table = masked_table(trained, trained.first)
    assert sorted(table["study"]) == sorted(clip.study for clip in trained.parts.test)
    hidden = round(0.75 * 32)  # of 2 x 4 x 4 tubelets, with 3 x 2 x 8 x 8 numbers each
    assert set(table["n_tokens"]) == {hidden} and set(table["n_values"]) == {hidden * 384}
    # a normalised tubelet has mean 0 and variance 1: 0 everywhere is off by 1 on average
    error = table["error"] / table["n_values"]
    assert error.between(0.2, 5).all() and (table["error_of_mean"] > 0).all()
    again = masked_table(trained, trained.first)
    assert table["error"].tolist() == again["error"].tolist(), "masks are drawn from a seed"


def test_the_card_says_what_was_learnt_and_from_what(trained: AngiographyStudy) -> None:
    card = model_card("all", trained.parameters, trained.parts.train)
    assert "contrastive (1), captioning (1), masked (0.1)" in card and "16 studies of a phantom" in card
    assert "every claim about it is a claim about phantoms" in card
    real = trained.parameters.model_copy(update={"videos": "films.csv"})
    card = model_card("without_masked", real, trained.parts.train)
    assert "`films.csv`" in card and "phantom" not in card


def test_a_forecast_names_every_variant_and_keeps_nothing(trained: AngiographyStudy, tmp_path: Path) -> None:
    study = like(trained, tmp_path, settings="none", seeds=2)
    record = forecast(study, 1)
    rows = {row["stage"]: row for row in record["stages"]}
    assert list(rows) == ["all", "only_contrastive"]
    assert [row["steps"] for row in rows.values()] == [12, 12]  # two seeds, two epochs, three batches
    assert set(rows["all"]["minutes_of"]) == {"training", "validation", "gradient diagnostics"}
    assert set(rows["only_contrastive"]["minutes_of"]) == {"training", "validation"}
    assert not study.run.stage(0, "all_seed_0").exists()


def test_the_probe_leaves_the_teacher_where_it_was(trained: AngiographyStudy, tmp_path: Path) -> None:
    study = like(trained, tmp_path, weight_distillation=1.0, settings="none", variants="all")
    model = study.untrained_model(study.first).train()
    for parameter in model.video.parameters():
        parameter.data.add_(0.1)
    before = [parameter.clone() for parameter in model.teacher.parameters()]
    study._probe(study.first).measure(model, 0)
    assert all(torch.equal(*pair) for pair in zip(before, model.teacher.parameters(), strict=True))


@pytest.mark.slow
def test_two_processes_train_with_diagnostics(tmp_path: Path) -> None:
    """The probe is the first rank's alone: it must wait for no other."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["--local-addr", "127.0.0.1", "-m", "mtl.cli", "train", "angiography", "--params", "smoke"]
    options = {"output_root": tmp_path, "variants": "all", "settings": "none", "device": "cpu"}
    command += [word for name, value in options.items() for word in ("-p", f"{name}={value}")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=environment, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "angiography" / "smoke" / "checkpoints" / "fold_0" / "all_seed_0"
    assert (folder / "stage.json").is_file() and len(pd.read_parquet(folder / "gradients.parquet"))
