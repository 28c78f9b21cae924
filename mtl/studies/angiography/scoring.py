"""Every test clip scored once per network: reports against controls, retrieval, places, masked video."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.datasets.angiography import SEGMENTS, Clip
from mtl.datasets.angiography.clip_dataset import collate
from mtl.datasets.angiography.clips import RARE_SEGMENTS, Stenosis
from mtl.datasets.angiography.locations import tokens_to_box
from mtl.datasets.angiography.tokenizer import BOS, CAP, decode_reports, encode_reports
from mtl.errors import MissingArtefactError
from mtl.evaluation.angiography import (
    FindingReader,
    box_scores,
    most_frequent_report,
    nearest_training_reports,
    retrieve,
    shuffle_across_studies,
    structured_scores,
    text_scores,
    token_losses,
)
from mtl.files import read_json, sha256_of, write_json
from mtl.inference.angiography import embed_clips, embed_reports, generate_reports, locate_findings
from mtl.inference.angiography.location import CORNERS
from mtl.losses.angiography.captioning import counted_tokens
from mtl.models.angiography import VideoTextModel, memory_of
from mtl.studies.angiography.data import caption_rows, clip_dataset
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import Training
from mtl.studies.code_fingerprint import decoding_code_fingerprint

BATCH = 32
SHUFFLE_SEED = 7
#: Where captions come from; the first is the network's own, the others are what it must beat.
CAPTIONS, SHUFFLED, BLANK, NEAREST, FREQUENT = "captions", "shuffled", "blank", "nearest", "frequent"
SHOWN_CONTROLS = {
    CAPTIONS: "written from the video",
    SHUFFLED: "videos shuffled across studies",
    BLANK: "blank video",
    NEAREST: "nearest training report",
    FREQUENT: "most frequent report",
}
#: Who names the box of a finding; the second does so without a film.
NAMED, USUAL = "named", "usual"
SHOWN_PLACES = {NAMED: "named by the network", USUAL: "mean place of the segment in training films"}
USUAL_CLIPS = 500  # training films that mean places are taken from
ALL_SEGMENTS = [name for table in (SEGMENTS, RARE_SEGMENTS) for side in table.values() for name in side]
Batches = list[dict[str, Any]]


def score_network(study: AngiographyStudy, training: Training) -> dict[str, pd.DataFrame]:
    """Tables of the test part, kept in ``predictions/``; made once.

    Returns:
        ``retrieval``: a row per study and direction (contrastive networks). ``captions``: a row per clip and
        arm of ``SHOWN_CONTROLS``, with scores of text and fields; ``tokens``: a row per clip, cross-entropy
        of its true report; ``boxes``: a row per clip with a place and ``arm`` of ``SHOWN_PLACES`` (these of
        captioning networks, the last with location tasks). ``retrieval_shuffled``: as ``retrieval``, of
        videos shuffled across studies.

    Raises:
        MissingArtefactError: the network was not trained.
    """
    try:
        return read_scores(study, training)
    except MissingArtefactError:
        pass
    model, tasks = study.model(training).to(study.fabric.device).eval(), study.learnt(training.variant)
    batches = test_batches(study, study.parts.test)
    tables: dict[str, pd.DataFrame] = {}
    if "contrastive" in tasks:
        tables |= retrieval_tables(study, model, batches)
    if "captioning" in tasks:
        tables["tokens"] = token_table(study, model, batches)
        tables["captions"] = caption_table(study, model, batches, contrastive="retrieval" in tables)
        if study.parameters.location_tasks and any(batch["location_mask"].any() for batch in batches):
            tables["boxes"] = box_table(study, model, batches)
    for name, table in tables.items():
        study.run.write_predictions(_file(study, training, name), table)
    write_json(_record(study, training), {"made_from": _made_from(study, training), "tables": list(tables)})
    return tables


def read_scores(study: AngiographyStudy, training: Training) -> dict[str, pd.DataFrame]:
    """What ``score_network`` kept. Raises ``MissingArtefactError`` where it is of another network."""
    notebook = "03_retrieval_and_captions"
    record = read_json(study.run.require(_record(study, training), notebook))
    if record["made_from"] != _made_from(study, training):
        raise MissingArtefactError(
            f"{_record(study, training)} is of another network, other data or settings: run notebook "
            f"{notebook} first"
        )
    return {
        name: study.run.read_predictions(_file(study, training, name), notebook) for name in record["tables"]
    }


def test_batches(study: AngiographyStudy, clips: Sequence[Clip]) -> Batches:
    """Clips as they are, in batches; reports are cut where they are too long."""
    dataset = clip_dataset(clips, study.parameters)
    join = partial(collate, tokenizer=study.tokenizer, context=study.parameters.context, truncate=True)
    starts = range(0, len(dataset), BATCH)
    return [join([dataset[n] for n in range(start, min(start + BATCH, len(dataset)))]) for start in starts]


# ---------------------------------------------------------------------- retrieval
def study_embeddings(
    study: AngiographyStudy, model: VideoTextModel, batches: Batches
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Of every study: the mean embedding of its clips, that of its report ``(S, D)``, its report and name."""
    device, autocast = study.fabric.device, study.fabric.autocast
    found = embed_clips(model, batches, device, autocast)
    names = list(dict.fromkeys(found.rows["study"]))
    of_study = found.rows["study"].to_numpy()
    videos = np.stack([found.vectors[of_study == name].mean(0) for name in names])
    reports = [found.rows["true"][of_study == name].iloc[0] for name in names]
    texts = embed_reports(model, _tokens(study, reports), device, autocast)
    return videos / np.linalg.norm(videos, axis=1, keepdims=True), texts, reports, names


def retrieval_tables(
    study: AngiographyStudy, model: VideoTextModel, batches: Batches
) -> dict[str, pd.DataFrame]:
    """Ranks of true pairs, and of pairs that do not belong together."""
    videos, texts, reports, names = study_embeddings(study, model, batches)
    order = shuffle_across_studies(names, SHUFFLE_SEED)
    return {
        "retrieval": retrieve(videos @ texts.T, reports, names),
        "retrieval_shuffled": retrieve(videos[order] @ texts.T, reports, names),
    }


# ---------------------------------------------------------------------- captions
def caption_table(
    study: AngiographyStudy, model: VideoTextModel, batches: Batches, contrastive: bool
) -> pd.DataFrame:
    """Reports of every clip from all arms, with scores of text and fields; ``arm`` says which."""
    written = write_reports(study, model, batches)
    clips = len(written)
    texts = {
        CAPTIONS: written["generated"].tolist(),
        BLANK: write_reports(study, model, batches, torch.zeros_like)["generated"].tolist(),
        FREQUENT: [most_frequent_report([clip.report for clip in study.parts.train])] * clips,
    }
    order = shuffle_across_studies(written["study"].tolist(), SHUFFLE_SEED)
    texts[SHUFFLED] = written["generated"].iloc[order].tolist()
    if contrastive:
        texts[NEAREST] = nearest_reports_of(study, model, batches)
    corpus = sorted({clip.report for clip in study.parts.train})
    tables = []
    for arm in (arm for arm in SHOWN_CONTROLS if arm in texts):
        true, studies = written["true"].tolist(), written["study"].tolist()
        fields = structured_scores(true, texts[arm], studies, ALL_SEGMENTS)
        words = text_scores(true, texts[arm], studies, corpus).drop(columns=["study", "true", "generated"])
        tables.append(pd.concat([fields, words], axis=1).assign(arm=arm, id=written["id"]))
    return pd.concat(tables, ignore_index=True)


def write_reports(
    study: AngiographyStudy,
    model: VideoTextModel,
    batches: Batches,
    change: Callable[[Tensor], Tensor] | None = None,
) -> pd.DataFrame:
    """Generated reports of all clips, by the run's method; ``change`` is done to the videos before."""
    p, tokenizer = study.parameters, study.tokenizer
    prefix = [tokenizer.token_to_id(token) for token in (BOS, CAP)]
    return generate_reports(
        model, batches, partial(decode_reports, tokenizer), prefix, p.context + 1,
        study.fabric.device, study.fabric.autocast, method=p.generation, change=change,
        **generation_options(study),
    )  # fmt: skip


def generation_options(study: AngiographyStudy) -> dict[str, Any]:
    """What the run's method of writing wants beside its name."""
    p = study.parameters
    if p.generation in ("top_k", "top_p"):
        return {"generator": torch.Generator(study.fabric.device).manual_seed(p.seed)}
    return {"beams": p.beams} if p.generation == "beam" else {}


@torch.no_grad()
def token_table(study: AngiographyStudy, model: VideoTextModel, batches: Batches) -> pd.DataFrame:
    """Cross-entropy of every clip's true report, without label smoothing; see ``token_losses``."""
    device, losses, kept, studies = study.fabric.device, [], [], []
    for batch in batches:
        rows, given = (part.to(device) for part in caption_rows(batch, study.tokenizer, False))
        with study.fabric.autocast():
            logits = model.caption(rows[:, :-1], memory_of(*model.video(batch["video"].to(device))))
        nats = F.cross_entropy(logits.float().transpose(1, 2), rows[:, 1:], reduction="none")
        losses.append(nats.cpu())
        kept.append(counted_tokens(rows, given).cpu())
        studies += batch["studies"]
    return token_losses(torch.cat(losses), torch.cat(kept), studies)


def nearest_reports_of(study: AngiographyStudy, model: VideoTextModel, batches: Batches) -> list[str]:
    """For every clip the training report that lies nearest to it in the common space."""
    device, autocast = study.fabric.device, study.fabric.autocast
    reports = sorted({clip.report for clip in study.parts.train})
    texts = embed_reports(model, _tokens(study, reports), device, autocast)
    return nearest_training_reports(embed_clips(model, batches, device, autocast).vectors, texts, reports)


def usual_percent(study: AngiographyStudy) -> float:
    """Mean percentage of the findings of the training reports; NaN without one."""
    reader = FindingReader(ALL_SEGMENTS)
    reports = {clip.study: clip.report for clip in study.parts.train}
    percents = [p for report in reports.values() for _, p in reader(report) if p is not None]
    return float(np.mean(percents)) if percents else float("nan")


# ---------------------------------------------------------------------- places
def box_table(study: AngiographyStudy, model: VideoTextModel, batches: Batches) -> pd.DataFrame:
    """Boxes that are named for a planted finding, by the network and without a film, against the true box.

    The question names the segment, and segments lie at much the same places in all films: the mean box of
    the segment's findings in training films is what a film must be worth more than.
    """
    tokenizer = study.tokenizer

    def read_box(ids: Sequence[int], n_frames: int) -> tuple[int, Any] | None:
        return tokens_to_box([tokenizer.id_to_token(int(number)) for number in ids], n_frames)

    named = locate_findings(model, batches, read_box, study.fabric.device, study.fabric.autocast)
    planted = [boxes[0] for batch in batches for boxes in batch["boxes"] if boxes]
    corners = list(CORNERS)
    places = {NAMED: named[["frame", *corners]], USUAL: usual_places(study, planted)}
    tables = []
    for arm, found in places.items():
        scores = box_scores(
            found[corners].to_numpy(), [one.box for one in planted], named["study"].tolist(),
            predicted_frames=found["frame"].to_numpy(), frames=[one.frame for one in planted],
        )  # fmt: skip
        tables.append(pd.concat([scores, found], axis=1).assign(arm=arm, id=named["id"]))
    return pd.concat(tables, ignore_index=True)


def usual_places(study: AngiographyStudy, findings: Sequence[Stenosis]) -> pd.DataFrame:
    """Mean ``frame, y0, x0, y1, x1`` of training findings in the same segment, or of all of them."""
    clips = [clip for clip in study.parts.train if clip.stenoses][:USUAL_CLIPS]
    samples = clip_dataset(clips, study.parameters) if clips else []
    known = pd.DataFrame(
        [
            (found.segment or "", found.frame, *found.box)
            for number in range(len(samples))
            for found in samples[number]["boxes"]
        ],
        columns=["segment", "frame", *CORNERS],
    )
    means = known.groupby("segment").mean()
    everywhere = known.drop(columns="segment").mean()
    rows = [means.loc[name] if (name := one.segment or "") in means.index else everywhere for one in findings]
    return pd.DataFrame(rows).reset_index(drop=True)


# ---------------------------------------------------------------------- files
def _tokens(study: AngiographyStudy, reports: Sequence[str]) -> Tensor:
    return encode_reports(study.tokenizer, reports, study.parameters.context, truncate=True)


def _file(study: AngiographyStudy, training: Training, table: str) -> str:
    return f"{study.folder(training)}_{table}"


def _record(study: AngiographyStudy, training: Training) -> Path:
    return study.run.path / "predictions" / f"{study.folder(training)}.json"


def _made_from(study: AngiographyStudy, training: Training) -> str:
    """Network, test set, and whatever else scores depend on."""
    settings = study.parameters.model_dump(include={"generation", "beams"})
    code = decoding_code_fingerprint("angiography")
    return sha256_of(study.fingerprint(training), study.parts.test_hash, code, json.dumps(settings))
