"""The clips of a run, their parts, the tokeniser, and the batches that a network learns from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Memory
from tokenizers import Tokenizer

from mtl.datasets.angiography import Clip, ClipAugmentation, clips_of, read_arcade, read_table, split_clips
from mtl.datasets.angiography.clip_dataset import ClipDataset, collate
from mtl.datasets.angiography.tokenizer import CAP, load_tokenizer, save_tokenizer, train_tokenizer
from mtl.datasets.phantoms.angiography import angiography_phantom
from mtl.datasets.splits import PARTS
from mtl.errors import ParameterError, ProtocolError
from mtl.files import read_json, sha256_of, write_json
from mtl.losses.angiography.captioning import counted_tokens
from mtl.studies.angiography.parameters import PHANTOM, AngiographyParameters
from mtl.studies.code_fingerprint import training_code_fingerprint
from mtl.studies.parameters import project_path
from mtl.studies.run_directory import RunDirectory
from mtl.training.objective import Batch
from mtl.training.sampling import EpochLoader, MixingRatioSampler

#: Each part of the phantom is drawn from a stream of its own.
STREAMS = {"train": 0, "validation": 1_000_003, "test": 2_000_003}
FEWEST = 8  # studies of a phantom's validation part
LOCATION_ROWS = ("aref", "gcap")
MOST_MEASURED = 200  # clips that mean and spread of the pixels are taken from


@dataclass(frozen=True)
class ClipParts:
    """Clips to learn from, to choose on and to test; no patient is in two of them."""

    train: list[Clip]
    validation: list[Clip]
    test: list[Clip]

    def __getitem__(self, part: str) -> list[Clip]:
        return getattr(self, part)

    @property
    def test_hash(self) -> str:
        """Of the test clips' ids and reports: results may be compared only where it is the same."""
        return sha256_of(json.dumps([(clip.id, clip.report) for clip in self.test]))

    @property
    def hash(self) -> str:
        """Of the ids of all clips, part by part."""
        return sha256_of(json.dumps({part: [clip.id for clip in self[part]] for part in PARTS}))

    @cached_property
    def data_hash(self) -> str:
        """Of all that the clips consist of, every file and frame included."""
        return sha256_of(*(_fingerprint(clip) for part in PARTS for clip in self[part]))


def open_parts(parameters: AngiographyParameters, run: RunDirectory | None = None) -> ClipParts:
    """The clips that the parameters name, split by patient.

    Args:
        run: where the phantom's films are kept, so that the next notebook need not draw them; None: nowhere.

    Raises:
        DataError: a table, folder or video cannot be read.
        ParameterError: too few patients for three parts, or reports of the test part that cannot differ.
    """
    p = parameters
    if p.videos == PHANTOM:
        return ClipParts(**{part: _phantom(p, part, run) for part in PARTS})
    place = project_path(p.data_root) / p.videos
    clips = read_arcade(place) if place.is_dir() else read_table(place)
    seed = p.seed if p.data_seed < 0 else p.data_seed
    split = split_clips(clips, p.test_fraction, p.validation_fraction, seed)
    return ClipParts(**clips_of(split, clips))


def _phantom(p: AngiographyParameters, part: str, run: RunDirectory | None) -> list[Clip]:
    """Studies of a part, under names of their own; only training reports are ever copied."""
    draw = angiography_phantom
    if run is not None:
        kept = run.path / "films" / training_code_fingerprint("angiography")[:12]
        draw = Memory(kept, verbose=0).cache(angiography_phantom)
    sizes = {
        "train": p.phantom_studies,
        "validation": max(FEWEST, round(p.validation_fraction * p.phantom_studies)),
        "test": p.phantom_test_studies,
    }
    clips = draw(
        sizes[part],
        (1, p.phantom_views),
        p.frames,
        p.size,
        n_findings=(1, p.phantom_findings),
        share_normal=p.phantom_normal,
        duplicate_rate=p.duplicate_rate if part == "train" else 0.0,
        distinct=part == "test",
        noise=p.phantom_noise,
        difficulty=p.phantom_noise,
        seed=(p.seed if p.data_seed < 0 else p.data_seed) + STREAMS[part],
    )
    return [
        replace(clip, id=f"{part}/{clip.id}", study=f"{part}/{clip.study}", patient=f"{part}/{clip.patient}")
        for clip in clips
    ]


def _fingerprint(clip: Clip) -> str:
    said = json.dumps([clip.id, clip.study, clip.report, repr(clip.stenoses)])
    frames = clip.source.read_bytes() if isinstance(clip.source, Path) else clip.source.tobytes()
    return sha256_of(said, frames)


def read_every_film(parts: ClipParts, parameters: AngiographyParameters) -> int:
    """Read each film that lies in a file, before anything is learnt; returns how many there are.

    Raises `DataError` naming the first that cannot be read.
    """
    clips = [clip for part in PARTS for clip in parts[part] if isinstance(clip.source, Path)]
    for clip in clips:
        clip_dataset([clip], parameters, cache=False)[0]
    return len(clips)


def freeze_parts(parts: ClipParts, run: RunDirectory) -> None:
    """Write the split to the run directory, with hashes of it and of the data.

    Raises:
        ProtocolError: the run directory holds another split: one run, one test set.
    """
    frozen = {part: sorted(clip.id for clip in parts[part]) for part in PARTS}
    frozen |= {"hash": parts.hash, "test_hash": parts.test_hash, "data": parts.data_hash}
    if run.split.exists() and read_json(run.split) != frozen:
        raise ProtocolError(
            f"{run.split} was frozen with other clips or fractions: choose another name with the parameter "
            "'run', or throw this run's results away with --force"
        )
    write_json(run.split, frozen)


def open_tokenizer(parameters: AngiographyParameters, parts: ClipParts, run: RunDirectory) -> Tokenizer:
    """The tokeniser that the parameters name, or one trained on the training reports; kept with the run.

    Raises DataError where the folder holds none.
    """
    p = parameters
    if p.tokenizer:
        tokenizer = load_tokenizer(project_path(p.data_root) / p.tokenizer)
    else:
        tokenizer = train_tokenizer(sorted({clip.report for clip in parts.train}), p.vocabulary)
    save_tokenizer(tokenizer, run.path / "tokenizer")
    return tokenizer


def with_known_reports(clips: Sequence[Clip], fraction: float, seed: int) -> dict[str, bool]:
    """Study to whether its report may be learnt from; a smaller fraction's studies are part of a larger's.

    Raises ParameterError where none is left.
    """
    known = {clip.study: int(sha256_of(clip.study, str(seed))[:8], 16) / 16**8 < fraction for clip in clips}
    if not any(known.values()):
        raise ParameterError(f"report_fraction={fraction:g} leaves no training study with a report: raise it")
    return known


def clip_dataset(clips: Sequence[Clip], parameters: AngiographyParameters, **options: Any) -> ClipDataset:
    """Samples of the clips at the run's size, as they are where no augmentation is given."""
    return ClipDataset(clips, parameters.frames, parameters.size, **options)


def pixel_statistics(clips: Sequence[Clip], parameters: AngiographyParameters) -> tuple[float, float]:
    """Mean and standard deviation of pixels in [0, 1], of up to ``MOST_MEASURED`` clips spread evenly."""
    chosen = clips[:: -(-len(clips) // MOST_MEASURED)]
    videos = [sample["video"] for sample in clip_dataset(chosen, parameters, cache=False)]
    mean = float(np.mean([video.mean() for video in videos]))
    square = float(np.mean([video.square().mean() for video in videos]))
    return round(mean, 4), round(max(square - mean**2, 1e-4) ** 0.5, 4)


def training_loader(
    parameters: AngiographyParameters,
    clips: Sequence[Clip],
    tokenizer: Tokenizer,
    known: Mapping[str, bool],
    tasks: Sequence[str],
    seed: int,
) -> EpochLoader:
    """Batches of random clips, another order in every epoch, that say what ``tasks`` can learn from them.

    All are full: contrast depends on how many there are, and ranks need as many each.
    """
    p = parameters
    dataset = clip_dataset(clips, p, augmentation=ClipAugmentation() if p.augment else None, seed=seed)
    join = partial(
        training_batch, tokenizer=tokenizer, known=known, tasks=tuple(tasks), parameters=parameters
    )
    sampler = MixingRatioSampler(["clip"] * len(dataset), {"clip": 1.0}, p.clips_per_epoch, seed)
    return EpochLoader(dataset, sampler, p.batch_size, join, p.workers, drop_last=True)


def training_batch(
    samples: Sequence[dict[str, Any]],
    tokenizer: Tokenizer,
    known: Mapping[str, bool],
    tasks: Sequence[str],
    parameters: AngiographyParameters,
) -> Batch:
    """A batch for `AngiographyObjective`: clips whose report is known stand first.

    ``id``, list; ``video`` (B, 3, T, S, S); ``n_reports``, how many reports are known; their ``tokens``
    int64 (n_reports, L) and ``report_ids``, equal for equal reports, or None: all count as different;
    ``captions`` int64 (n_reports * r, L'), the rows of a clip's report and of its location tasks one after
    another, ``caption_lengths``, of the longest row of each of these r kinds, and ``prefixes``, how many
    tokens of each row are given; ``valid_units``. L and L' are those of the batch's longest row: what is
    padding in all rows is cut off.

    Raises DataError for a report that is longer than the context.
    """
    p = parameters
    ordered = sorted(samples, key=lambda sample: not known[sample["study"]])
    n_reports = sum(known[sample["study"]] for sample in ordered)
    batch = collate(ordered, tokenizer, p.context)
    captions, prefixes = caption_rows(batch, tokenizer, p.location_tasks)
    kinds = len(captions) // len(ordered)
    captions, prefixes = captions[: kinds * n_reports], prefixes[: kinds * n_reports]
    pairs = n_reports if n_reports > 1 else 0  # one pair alone has nothing to be told from
    counts = {
        "contrastive": pairs,
        "captioning": int(counted_tokens(captions, prefixes).sum()),
        "masked": len(ordered),
        "distillation": pairs,
    }
    return {
        "id": batch["ids"],
        "video": batch["video"],
        "tokens": _unpadded(batch["tokens"][:n_reports]),
        "report_ids": batch["report_ids"][:n_reports] if p.duplicate_aware else None,
        "captions": _unpadded(captions),
        "caption_lengths": [_unpadded(captions[kind::kinds]).shape[1] for kind in range(kinds)],
        "prefixes": prefixes,
        "n_reports": n_reports,
        "valid_units": {task: counts[task] for task in tasks},
    }


def _unpadded(rows: torch.Tensor) -> torch.Tensor:
    """Token rows (B, L), PAD at their ends, without the columns in which all are PAD (which has id 0)."""
    return rows[:, : int((rows != 0).any(dim=0).sum())]


def caption_rows(
    batch: Mapping[str, Any], tokenizer: Tokenizer, location_tasks: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that a captioner learns, and how many tokens of each are given.

    ``batch`` is one of ``collate``. Each clip gives ``[BOS] [CAP] report``, with ``location_tasks`` followed
    by the rows of both location tasks, which are ``[PAD]`` throughout where the clip has no box.
    """
    tokens = batch["tokens"]
    task = torch.full((len(tokens), 1), tokenizer.token_to_id(CAP))
    reports = torch.cat([tokens[:, :1], task, tokens[:, 1:]], dim=1)
    given = torch.full((len(tokens),), 2)
    if not location_tasks:
        return reports, given
    pad = torch.zeros_like(task)
    asked = [torch.cat([batch[f"{name}_tokens"], pad], dim=1) for name in LOCATION_ROWS]
    prefixes = [batch[f"{name}_prompts"] for name in LOCATION_ROWS]
    return torch.stack([reports, *asked], dim=1).flatten(0, 1), torch.stack([given, *prefixes], 1).flatten()
