"""Parts by patient, frozen; reports that are copied, unknown or too few; batches; tables of films."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch

from mtl.datasets.angiography import SEGMENTS, write_report
from mtl.datasets.angiography.tokenizer import load_tokenizer
from mtl.datasets.splits import PARTS
from mtl.errors import DataError, ParameterError, ProtocolError
from mtl.studies.angiography.data import (
    STREAMS,
    clip_dataset,
    open_parts,
    read_every_film,
    training_batch,
    with_known_reports,
)
from mtl.studies.angiography.scoring import score_network
from mtl.studies.angiography.study import AngiographyStudy
from mtl.training.objective import Batch

from .conftest import smoke

TASKS = ("contrastive", "captioning", "masked")


# ---------------------------------------------------------------------- parts
def test_parts_share_no_patient_and_test_reports_differ(trained: AngiographyStudy) -> None:
    patients = [{clip.patient for clip in trained.parts[part]} for part in PARTS]
    assert all(patients) and sum(map(len, patients)) == len(set().union(*patients))
    reports = {clip.study: clip.report for clip in trained.parts.test}
    assert len(reports) == 5 and len(set(reports.values())) == 5
    assert len({clip.study for clip in trained.parts.validation}) == 8
    assert set(STREAMS) == set(PARTS) and len(set(STREAMS.values())) == 3


def test_copied_reports_are_of_the_training_part_alone(trained: AngiographyStudy, tmp_path: Path) -> None:
    copied = open_parts(smoke(tmp_path, duplicate_rate=0.6))
    for part in ("validation", "test"):
        for one, other in zip(copied[part], trained.parts[part], strict=True):
            assert one.id == other.id and one.report == other.report
            assert np.array_equal(one.source, other.source)
    # 10 of 16 studies are copies: six contents at most
    assert len({clip.report for clip in copied.train}) <= 6
    found = trained.training_clips("duplicates_60")
    assert [clip.report for clip in found] == [clip.report for clip in copied.train]
    assert trained.training_clips("clip") is trained.parts.train


def test_films_are_drawn_once_per_run(trained: AngiographyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained.parts
    monkeypatch.setattr("mtl.datasets.phantoms.angiography.make_clip", None)  # nothing can be drawn any more
    again = open_parts(trained.parameters, trained.run)
    assert again.data_hash == first.data_hash
    with pytest.raises(TypeError):
        open_parts(trained.parameters)


def test_columns_of_padding_alone_are_cut_off(trained: AngiographyStudy, batch: Batch) -> None:
    for name in ("tokens", "captions"):
        rows = batch[name]
        assert (rows[:, -1] != 0).any() and 3 < rows.shape[1] <= trained.parameters.context + 1
        assert ((rows != 0).int().diff(dim=1) <= 0).all(), "padding stands at the end"


def test_a_run_keeps_its_split_and_its_data(tmp_path: Path) -> None:
    first = AngiographyStudy(smoke(tmp_path)).parts
    again = AngiographyStudy(smoke(tmp_path)).parts
    assert (again.hash, again.test_hash, again.data_hash) == (first.hash, first.test_hash, first.data_hash)
    for changes in ({"phantom_test_studies": 6}, {"phantom_noise": 0.5}):
        with pytest.raises(ProtocolError, match="was frozen with other clips or fractions"):
            _ = AngiographyStudy(smoke(tmp_path, **changes)).parts


def test_the_tokenizer_is_kept_with_the_run(trained: AngiographyStudy, tmp_path: Path) -> None:
    folder = trained.run.path / "tokenizer"
    assert load_tokenizer(folder).to_str() == trained.tokenizer.to_str()
    assert AngiographyStudy(trained.parameters).tokenizer.to_str() == trained.tokenizer.to_str()
    given = {"data_root": str(trained.run.path), "tokenizer": "tokenizer", "data_seed": 3}
    other = AngiographyStudy(smoke(tmp_path, **given))
    assert other.tokenizer.to_str() == trained.tokenizer.to_str(), "not trained on reports of another phantom"
    assert load_tokenizer(other.run.path / "tokenizer").to_str() == trained.tokenizer.to_str()


# ---------------------------------------------------------------------- batches
def joined(study: AngiographyStudy, known: dict[str, bool], n: int = 4, tasks=TASKS, **changes) -> Batch:
    """The first n training clips, or ``clips``, as they are, in a batch; ``texts`` replace reports."""
    texts, clips = changes.pop("texts", {}), changes.pop("clips", study.parts.train[:n])
    dataset = clip_dataset(clips, study.parameters)
    samples = [dataset[index] for index in range(len(dataset))]
    samples = [sample | {"text": texts.get(sample["study"], sample["text"])} for sample in samples]
    parameters = study.parameters.model_copy(update=changes)
    return training_batch(samples, study.tokenizer, known, tasks, parameters)


def some_known(study: AngiographyStudy, n: int = 6) -> dict[str, bool]:
    """Every other one of the studies of the first n clips, the second among them."""
    studies = list(dict.fromkeys(clip.study for clip in study.parts.train[:n]))
    return {name: position % 2 == 1 for position, name in enumerate(studies)}


def test_clips_without_a_report_come_last_and_only_their_video_is_used(trained: AngiographyStudy) -> None:
    known = some_known(trained)
    clips = trained.parts.train[:6]
    expected = [clip.id for clip in clips if known[clip.study]]
    others = [clip.id for clip in clips if not known[clip.study]]
    batch = joined(trained, known, 6)
    assert others and batch["id"] == expected + others and batch["n_reports"] == len(expected) > 1
    assert len(batch["video"]) == 6 and len(batch["tokens"]) == len(batch["report_ids"]) == len(expected)
    assert len(batch["captions"]) == len(batch["prefixes"]) == 3 * len(expected)
    assert batch["valid_units"]["contrastive"] == len(expected) and batch["valid_units"]["masked"] == 6


def test_no_loss_sees_a_report_that_is_not_known(trained: AngiographyStudy) -> None:
    known = some_known(trained)
    hidden = {study: "normal left coronary artery" for study, is_known in known.items() if not is_known}
    batches = [joined(trained, known, 6), joined(trained, known, 6, texts=hidden)]
    assert [clip.report for clip in trained.parts.train[:6] if clip.study in hidden] != list(hidden.values())
    seen = {study: "normal left coronary artery" for study, is_known in known.items() if is_known}
    batches.append(joined(trained, known, 6, texts=seen))
    losses, gradients = [], []
    for batch in batches:
        model = trained.untrained_model(trained.first).train()
        torch.manual_seed(0)
        found = trained.objective("all")(model, batch)
        sum(found.values()).backward()
        losses.append({name: loss.item() for name, loss in found.items()})
        gradients.append([p.grad for p in model.parameters()])
    assert losses[0] == losses[1] and set(losses[0]) == set(TASKS)
    for one, other in zip(*gradients[:2], strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    assert losses[2]["captioning"] != losses[0]["captioning"], "a known report does matter"
    assert losses[2]["contrastive"] != losses[0]["contrastive"]


def test_clips_without_a_report_change_masked_video_only(trained: AngiographyStudy) -> None:
    known = some_known(trained)
    batch = joined(trained, known, 6)
    n, changed = batch["n_reports"], dict(batch)
    changed["video"] = torch.cat([batch["video"][:n], 1 - batch["video"][n:] ** 2])
    model, losses = trained.untrained_model(trained.first).eval(), []
    for one in (batch, changed):
        torch.manual_seed(0)
        with torch.no_grad():
            losses.append(trained.objective("all")(model, one))
    assert losses[0]["masked"] != losses[1]["masked"]
    for task in ("contrastive", "captioning"):
        torch.testing.assert_close(losses[0][task], losses[1][task], rtol=0, atol=0)


def test_a_batch_without_any_report_has_masked_video_alone(trained: AngiographyStudy) -> None:
    nothing = dict.fromkeys((clip.study for clip in trained.parts.train), False)
    batch = joined(trained, nothing)
    assert batch["valid_units"] == {"contrastive": 0, "captioning": 0, "masked": 4}
    model = trained.untrained_model(trained.first)
    assert set(trained.objective("all")(model, batch)) == {"masked"}
    batch = joined(trained, nothing, tasks=("contrastive",))
    assert trained.objective("only_contrastive")(model, batch) == {}


def test_one_known_report_is_written_but_not_contrasted(trained: AngiographyStudy) -> None:
    clips = list({clip.study: clip for clip in trained.parts.train}.values())[:4]
    known = {clip.study: number == 2 for number, clip in enumerate(clips)}
    batch = joined(trained, known, clips=clips)
    assert batch["n_reports"] == 1 and batch["id"][0] == clips[2].id
    assert batch["valid_units"]["contrastive"] == 0 < batch["valid_units"]["captioning"]
    found = trained.objective("all")(trained.untrained_model(trained.first), batch)
    assert set(found) == {"captioning", "masked"}


def test_fractions_of_reports_are_nested_and_none_is_refused(trained: AngiographyStudy) -> None:
    clips = trained.parts.train
    found = [with_known_reports(clips, fraction, 0) for fraction in (0.3, 0.7, 1.0)]
    sets = [{study for study, is_known in known.items() if is_known} for known in found]
    assert sets[0] < sets[1] < sets[2] == {clip.study for clip in clips}
    with pytest.raises(ParameterError, match="report_fraction=1e-06 leaves no training study with a report"):
        with_known_reports(clips, 1e-6, 0)


def test_equal_reports_are_positives_only_where_that_is_asked_for(trained: AngiographyStudy) -> None:
    study = next(s for s, n in Counter(clip.study for clip in trained.parts.train).items() if n == 2)
    known = dict.fromkeys((clip.study for clip in trained.parts.train), True)
    first = [clip.study for clip in trained.parts.train].index(study)
    batch = joined(trained, known, first + 2)
    ids = batch["report_ids"]
    assert ids[first] == ids[first + 1] and len(ids) == first + 2
    blind = joined(trained, known, first + 2, duplicate_aware=False)
    assert blind["report_ids"] is None  # the losses take all reports for different then
    model = trained.untrained_model(trained.first).eval()
    aware, unaware, different = (
        trained.objective("only_contrastive")(model, one)["contrastive"]
        for one in (batch, blind, dict(batch) | {"report_ids": torch.arange(first + 2)})
    )
    assert torch.equal(unaware, different) and aware != unaware


def test_rows_of_captions(trained: AngiographyStudy) -> None:
    known = dict.fromkeys((clip.study for clip in trained.parts.train), True)
    batch, tokenizer = joined(trained, known, 6), trained.tokenizer
    names = [[tokenizer.id_to_token(i) for i in row] for row in batch["captions"].tolist()]
    for number, clip in enumerate(trained.parts.train[:6]):
        caption, aref, gcap = names[3 * number : 3 * number + 3]
        assert caption[:2] == ["[BOS]", "[CAP]"] and "[EOS]" in caption
        tokens = [tokenizer.id_to_token(i) for i in batch["tokens"][number].tolist()]
        assert caption[0:1] + caption[2:] == tokens
        given = batch["prefixes"][3 * number : 3 * number + 3].tolist()
        assert given[0] == 2
        if clip.stenoses:
            assert (
                aref[1] == "[AREF]" and aref[given[1]].startswith("[FRAME") and aref[given[1] + 5] == "[EOS]"
            )
            assert gcap[1] == "[GCAP]" and gcap[2].startswith("[FRAME") and given[2] == 7
        else:
            assert set(aref) == set(gcap) == {"[PAD]"} and given[1:] == [0, 0]
    plain = joined(trained, known, 6, location_tasks=False)
    assert torch.equal(plain["captions"], batch["captions"][::3]) and plain["prefixes"].tolist() == [2] * 6
    counted = sum(row[2:].count_nonzero() for row in plain["captions"])
    assert plain["valid_units"]["captioning"] == counted


def test_batches_are_full(tmp_path: Path) -> None:
    study = AngiographyStudy(smoke(tmp_path, clips_per_epoch=15))
    sizes = [len(batch["id"]) for batch in study.loader(study.first).batches(1)]
    assert sizes == [4, 4, 4]


# ---------------------------------------------------------------------- tables
def write_film(path: Path, frames: np.ndarray) -> None:
    codec, pixels = ("ffv1", "gray") if path.suffix == ".avi" else ("mpeg4", "yuv420p")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], pixels
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pixels)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def write_table(folder: Path) -> pd.DataFrame:
    """Twelve films of twelve patients, AVI and MP4, with reports of one finding each."""
    rng, rows = np.random.default_rng(0), []
    for number in range(12):
        name = f"film_{number}.{('avi', 'mp4')[number % 2]}"
        write_film(folder / name, rng.integers(0, 255, (5, 32, 48), dtype=np.uint8))
        report = write_report("left", [(SEGMENTS["left"][number % 10], 30 + 5 * number)], number % 3)
        rows.append({"video": name, "report": report, "study": f"s{number}", "patient": f"p{number}"})
    table = pd.DataFrame(rows)
    table.to_csv(folder / "films.csv", index=False)
    return table


def test_a_table_of_films_is_learnt_from_and_scored(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    table = write_table(folder)
    own = {"data_root": str(folder), "videos": "films.csv", "settings": "none", "variants": "all"}
    make = partial(smoke, tmp_path / "outputs", **own, epochs=1, probe_every=0)
    study = AngiographyStudy(make())
    parts = study.parts
    assert sorted(clip.id for part in PARTS for clip in parts[part]) == sorted(table["video"])
    patients = [{clip.patient for clip in parts[part]} for part in PARTS]
    assert all(patients) and not set.intersection(*patients)
    result = study.train_one(study.first)
    assert result.steps == 3
    scores = score_network(study, study.first)
    assert set(scores) == {"retrieval", "retrieval_shuffled", "captions", "tokens"}, "places are not known"
    assert set(scores["captions"]["id"]) == {clip.id for clip in parts.test}
    assert read_every_film(parts, study.parameters) == len(table)
    last = folder / parts.test[-1].id
    whole = last.read_bytes()
    last.write_bytes(whole[:400])
    with pytest.raises(DataError, match=parts.test[-1].id):
        read_every_film(parts, study.parameters)
    last.write_bytes(whole)
    with pytest.raises(DataError, match=r"report .*: \d+ tokens .* do not fit context=8; raise the context"):
        _ = AngiographyStudy(make(run="short", context=8)).tokenizer
    # the same table with other words in it is another run
    table.assign(report="the " + table["report"]).to_csv(folder / "films.csv", index=False)
    with pytest.raises(ProtocolError, match="frozen with other clips"):
        _ = AngiographyStudy(make()).parts
    table.drop(columns="patient").to_csv(folder / "films.csv", index=False)
    with pytest.raises(DataError, match=r"films.csv: column 'patient' is missing"):
        _ = AngiographyStudy(make(run="other")).parts
    with pytest.raises(DataError, match=r"nowhere.csv: no such file"):
        _ = AngiographyStudy(make(run="other", videos="nowhere.csv")).parts
