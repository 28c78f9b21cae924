"""``metrics.json``: the one file that every figure in a report's prose is read from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl.errors import MissingArtefactError
from mtl.files import file_lock, read_json, write_json

NAME = "metrics.json"


def write_metrics(run_directory: str | Path, section: str, values: Mapping[str, Any]) -> None:
    """Replace one section of ``<run_directory>/metrics.json``, under a lock and atomically.

    A figure that is not a number becomes ``{"value": null, "reason": ...}``, so that the report says
    "not defined" instead of printing ``nan``. Objects with ``to_dict`` (``Estimate``) and NumPy scalars
    are taken as they are. Raises ``TypeError`` naming the key for anything else that JSON cannot hold.

    The key ``headline`` is for the gallery: a list of ``{"label": text, "value": number or estimate}``.
    """
    path = Path(run_directory) / NAME
    plain = _plain(values, section)
    _check_headline(plain.get("headline", []), section)
    with file_lock(path):
        sections = read_json(path) if path.exists() else {}
        sections[section] = plain
        write_json(path, sections)


def read_metrics(run_directory: str | Path, section: str | None = None) -> dict[str, Any]:
    """All sections, or one; ``MissingArtefactError`` where the file or the section is not there."""
    path = Path(run_directory)
    path = path if path.suffix == ".json" else path / NAME
    if not path.exists():
        raise MissingArtefactError(f"{path} is not there: run the notebooks of this run first (mtl run)")
    try:
        sections = read_json(path)
    except json.JSONDecodeError as error:
        raise MissingArtefactError(f"{path} is not valid JSON ({error}): run its notebooks again") from error
    if section is None:
        return sections
    if section not in sections:
        raise MissingArtefactError(
            f"{path} has no section {section!r} (it holds: {', '.join(sections) or 'nothing'}): "
            f"run the notebook that writes it"
        )
    return sections[section]


def _plain(value: Any, path: str) -> Any:
    """``value`` as JSON types; ``path`` is where it stands, for the error message."""
    if hasattr(value, "to_dict") and not isinstance(value, Mapping):
        value = value.to_dict()
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"value": None, "reason": _why(value)}
    if isinstance(value, Mapping):
        return _plain_mapping(value, path)
    if isinstance(value, list | tuple):
        return [_plain(entry, f"{path}[{index}]") for index, entry in enumerate(value)]
    raise TypeError(
        f"metrics: {path} is a {type(value).__name__}; expected numbers, text, lists, dicts or an Estimate"
    )


def _plain_mapping(value: Mapping[Any, Any], path: str) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"metrics: {path} has the key {key!r} ({type(key).__name__}); expected text")
    broken = {k: v for k, v in value.items() if isinstance(v, float) and not math.isfinite(v)}
    if broken and "value" in value:  # an estimate: keep its shape, say why it is empty
        reason = value.get("reason") or "; ".join(f"{key} is {_why(v)}" for key, v in broken.items())
        value = {**value, **dict.fromkeys(broken), "reason": reason}
    return {key: _plain(entry, f"{path}.{key}") for key, entry in value.items()}


def _check_headline(entries: Any, section: str) -> None:
    for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        shaped = isinstance(entry, dict) and isinstance(entry.get("label"), str) and "value" in entry
        value = entry.get("value") if shaped else []
        if isinstance(value, list) or (isinstance(value, dict) and "value" not in value):
            wanted = '{"label": text, "value": number, text or estimate}'
            raise TypeError(f"metrics: {section}.headline[{index}] is {entry!r}; expected {wanted}")


def _why(value: float) -> str:
    return "not a number" if math.isnan(value) else "infinite"
