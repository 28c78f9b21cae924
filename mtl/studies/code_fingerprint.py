"""A hash of the code that training depends on, so that weights of other code are not taken for its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from mtl.files import sha256_of

_PACKAGE = Path(__file__).resolve().parents[1]
#: What one study is made of, no other study ever imports.
_STUDIES = ("angiography", "brain_mri", "em", "histology")
#: What a study's validation score, which picks checkpoints, is made of beside them.
_SELECTS = {
    "angiography": ("evaluation/angiography/ranking.py",),
    "em": (
        "inference/em", "inference/segments.py",
        "evaluation/em", "evaluation/contingency.py", "evaluation/objects.py",
    ),
    "histology": ("inference/histology/prediction.py", "evaluation/segmentation.py"),
}  # fmt: skip
_TRAINS = ("datasets", "targets", "models", "losses", "training", "studies")
#: What makes instances of the outputs of a study's networks, tunes how, and scores them.
_DECODES = {
    "angiography": (
        "inference/angiography", "evaluation/angiography", "studies/angiography/scoring.py",
        "studies/angiography/data.py",
    ),
    "em": (
        "inference/em", "inference/segments.py", "evaluation/em", "evaluation/contingency.py",
        "evaluation/objects.py", "studies/em/decodings.py", "studies/em/tiled_decoding.py",
        "studies/em/prediction.py", "studies/em/segmentation.py",
    ),
    "histology": (
        "inference/histology", "inference/segments.py", "evaluation/histology", "evaluation/contingency.py",
        "evaluation/objects.py", "evaluation/calibration.py", "evaluation/segmentation.py",
        "studies/histology/scoring.py",
    ),
}  # fmt: skip
#: What the simulated turns of annotating and training are made of beside training and decoding.
_ANNOTATION_LOOP = (
    "evaluation/histology/simulated_annotator.py", "studies/histology/annotation_loop.py",
    "studies/histology/annotation_rounds.py",
)  # fmt: skip
#: Modules of studies that only look at what was trained, or make parameters, which are told of anyway, and
#: others by their path: a change of theirs makes no weights stale.
_SHOWS_ONLY = (
    "published.py",
    "model_card.py",
    "provenance.py",
    "explanation.py",
    "forecast.py",
    "explanation_cases.py",
    "randomised.py",
    "calibration.py",
    "production.py",
    "benchmarks.py",
    "inference_benchmarks.py",
    "training_benchmarks.py",
    "parameter_file.py",
    "methods.py",
    "clicks.py",
    "segmentation.py",
    "segmentation_scores.py",
    "worst_objects.py",
    "labelled_share.py",
    "shown_parts.py",
    "answers.py",
    "ablation_answers.py",
    "mode_losses.py",
    "evaluation/em/alarms.py",
    "evaluation/em/click_arms.py",
    "evaluation/em/click_curves.py",
    "evaluation/em/simulated_user.py",
    "inference/em/click_fields.py",
    "inference/em/click_session.py",
    "inference/em/clicks_to_mask.py",
    "inference/em/label_edits.py",
    "inference/em/label_zarr.py",
    "inference/em/proofreading.py",
    "inference/em/target_masks.py",
    "target_benchmarks.py",
    "target_peers.py",
    "peeling_peer.py",
    "discriminative_peers.py",
    "decoding_benchmarks.py",
    "made_embeddings.py",
    "trained_embeddings.py",
    "click_benchmarks.py",
    "window_benchmarks.py",
    "scoring.py",
    "comparison.py",
    "clip_in_depth.py",
    "masked_evaluation.py",
    "loss_comparison.py",
    "annotation_loop.py",
    "annotation_rounds.py",
    "annotation_by_hand.py",
    "annotation_clicks.py",
    "demos.py",
    "demo_answers.py",
    "panel_cases.py",
    "player_clips.py",
    "proofreading.py",
    "loss_toys.py",
    "map_benchmarks.py",
    "loss_benchmarks.py",
    "loss_peers.py",
    "generation_benchmarks.py",
    "generation_peers.py",
    "contrastive_benchmarks.py",
    "contrastive_peers.py",
    "masked_benchmarks.py",
    "masked_peers.py",
    "evaluation/histology/simulated_annotator.py",
    "evaluation/histology/summary.py",
)


@cache
def training_code_fingerprint(study: str) -> str:
    """SHA-256 over names and contents of the modules that a study's data, model and training are made of.

    Modules and packages that carry another study's name are left out: its weights are no concern of theirs.
    """
    others = {name for name in _STUDIES if name != study}
    rooms = (*_TRAINS, *_SELECTS.get(study, ()))
    kept = [
        file
        for file in _files(rooms)
        if not _shows_only(file) and others.isdisjoint(file.with_suffix("").parts)
    ]
    return _hash(kept)


@cache
def decoding_code_fingerprint(study: str) -> str:
    """SHA-256 over names and contents of the modules that a study's instances are made and scored by."""
    return _hash(_decoding_files(study))


@cache
def annotation_loop_fingerprint() -> str:
    """SHA-256 over names and contents of the modules that simulate annotating, and of those that decode."""
    return _hash([*_decoding_files("histology"), *_files(_ANNOTATION_LOOP)])


def _decoding_files(study: str) -> list[Path]:
    return [file for file in _files(_DECODES[study]) if file.as_posix() not in _SHOWS_ONLY]


def _files(rooms: Iterable[str]) -> list[Path]:
    """Modules in folders, or named themselves, relative to the package; sorted."""
    places = [_PACKAGE / room for room in rooms]
    files = (file for place in places for file in ([place] if place.suffix else place.rglob("*.py")))
    return sorted(file.relative_to(_PACKAGE) for file in files)


def _shows_only(file: Path) -> bool:
    return file.as_posix() in _SHOWS_ONLY or (file.parts[0] == "studies" and file.name in _SHOWS_ONLY)


def _hash(files: Iterable[Path]) -> str:
    return sha256_of(*(part for file in files for part in (str(file), (_PACKAGE / file).read_bytes())))
