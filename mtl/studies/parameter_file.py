"""Writing a parameter file: flat YAML with a header comment, only what differs from the defaults."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import yaml

from mtl.files import write_text
from mtl.studies.parameters import StudyParameters


def write_parameter_file(
    path: Path,
    parameters: StudyParameters,
    header: Sequence[str],
    leave_out: Collection[str] = ("output_root",),
) -> str:
    """Write a file that ``StudyParameters.from_yaml`` reads back, atomically; returns its text.

    Args:
        header: lines of the comment on top: what it is for, the command, expected minutes and scores.
        leave_out: fields that the file does not set, whatever they are.
    """
    differing = parameters.model_dump(exclude_defaults=True, exclude=set(leave_out) | {"run"})
    values = {"run": parameters.run} | differing
    comment = "".join(f"# {line}\n" for line in header)
    text = comment + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)
    write_text(path, text)
    return text
