"""A hash of the code that training depends on, so that weights of other code are not taken for its own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mtl.files import sha256_of

_PACKAGE = Path(__file__).resolve().parents[1]
_TRAINS = ("datasets", "targets", "models", "losses", "training", "studies")
#: Modules of ``studies`` that only look at what was trained, or make parameters, which are told of anyway:
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
)


@cache
def training_code_fingerprint() -> str:
    """SHA-256 over names and contents of the modules that data, model, loss and training are made of."""
    files = sorted(file for room in _TRAINS for file in (_PACKAGE / room).rglob("*.py"))
    kept = [file for file in files if file.name not in _SHOWS_ONLY]
    return sha256_of(
        *(part for file in kept for part in (str(file.relative_to(_PACKAGE)), file.read_bytes()))
    )
