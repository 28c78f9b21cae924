"""A hash of the code that training depends on, so that weights of other code are not taken for its own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mtl.files import sha256_of

_PACKAGE = Path(__file__).resolve().parents[1]
#: What one study is made of, no other study ever imports.
_STUDIES = ("angiography", "brain_mri", "em", "histology")
#: What a study's validation score, which picks checkpoints, is made of beside them.
_SELECTS = {"em": ("inference/em", "evaluation/em")}
_TRAINS = ("datasets", "targets", "models", "losses", "training", "studies")
#: Modules that only look at what was trained, or make parameters, which are told of anyway:
#: a change of theirs makes no weights stale.
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
    "answers.py",
    "alarms.py",
    "click_arms.py",
    "target_benchmarks.py",
    "target_peers.py",
    "peeling_peer.py",
    "discriminative_peers.py",
    "decoding_benchmarks.py",
    "made_embeddings.py",
    "click_benchmarks.py",
    "window_benchmarks.py",
)


@cache
def training_code_fingerprint(study: str) -> str:
    """SHA-256 over names and contents of the modules that a study's data, model and training are made of.

    Modules and packages that carry another study's name are left out: its weights are no concern of theirs.
    """
    others = {name for name in _STUDIES if name != study}
    rooms = (*_TRAINS, *_SELECTS.get(study, ()))
    files = (file.relative_to(_PACKAGE) for room in rooms for file in (_PACKAGE / room).rglob("*.py"))
    kept = [
        file
        for file in sorted(files)
        if file.name not in _SHOWS_ONLY and others.isdisjoint(file.with_suffix("").parts)
    ]
    return sha256_of(*(part for file in kept for part in (str(file), (_PACKAGE / file).read_bytes())))
