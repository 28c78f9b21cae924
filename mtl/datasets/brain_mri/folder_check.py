"""What a data folder holds and what is wrong with it: behind ``mtl data check PATH``."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mtl.datasets.brain_mri import kaggle, lgg
from mtl.datasets.brain_mri.layouts import Layout, find_layouts, open_layout
from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.datasets.brain_mri.npz import load_npz
from mtl.datasets.brain_mri.slices import Finding, Source, is_positive
from mtl.datasets.near_duplicates import near_duplicate_pairs
from mtl.datasets.pictures import grey_of, open_picture, picture_files
from mtl.errors import DataError

SEVERITIES = ("error", "warning", "note")
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP"}
FORMATS |= {".tif": "TIFF", ".tiff": "TIFF"}


@dataclass(frozen=True)
class PartReport:
    """One data set: its layout, its figures as (what, value) rows, and its findings."""

    layout: Layout
    facts: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class FolderReport:
    """Everything below one folder; ``ok`` unless there is an error among the findings."""

    path: Path
    parts: tuple[PartReport, ...]

    @property
    def findings(self) -> list[Finding]:
        """All findings, errors first."""
        every = [finding for part in self.parts for finding in part.findings]
        return sorted(every, key=lambda finding: SEVERITIES.index(finding.severity))

    @property
    def ok(self) -> bool:
        """Whether training could start."""
        return all(finding.severity != "error" for finding in self.findings)

    def facts_table(self) -> pd.DataFrame:
        """What the folder holds: columns data set, layout, what, value."""
        rows = [(part.layout.name, part.layout.kind, *fact) for part in self.parts for fact in part.facts]
        return pd.DataFrame(rows, columns=["data set", "layout", "what", "value"])

    def findings_table(self) -> pd.DataFrame:
        """What is wrong with it, errors first: columns severity, data set, where, what; may be empty."""
        rows = [
            (finding.severity, part.layout.name, *_shown(finding, part.layout.path))
            for severity in SEVERITIES
            for part in self.parts
            for finding in part.findings
            if finding.severity == severity
        ]
        return pd.DataFrame(rows, columns=["severity", "data set", "where", "what"])

    def to_text(self) -> str:
        """A table to be read in a terminal."""
        lines = [f"{self.path}: {len(self.parts)} data set{'s' * (len(self.parts) != 1)}"]
        for part in self.parts:
            lines += ["", f"{part.layout.name} ({part.layout.kind} layout) in {part.layout.path}"]
            width = max((len(what) for what, _ in part.facts), default=0)
            lines += [f"  {what:<{width}}  {value}" for what, value in part.facts]
            ordered = sorted(part.findings, key=lambda finding: SEVERITIES.index(finding.severity))
            lines += [_line(finding, part.layout.path) for finding in ordered]
        counts = Counter(finding.severity for finding in self.findings)
        total = ", ".join(f"{counts[s]} {s}{'s' * (counts[s] != 1)}" for s in SEVERITIES)
        return "\n".join([*lines, "", total])


def check_folder(path: str | Path) -> FolderReport:
    """Recognise the data sets at or below ``path``, read all of them, and list counts and problems.

    Raises `DataError` where the folder is missing or nothing in it is known (with the layouts that are).
    """
    return FolderReport(Path(path), tuple(_check_part(layout) for layout in find_layouts(path)))


def _check_part(layout: Layout) -> PartReport:
    checks = {"kaggle": _check_kaggle, "lgg": _check_lgg, "npz": _check_npz}
    facts, findings = checks[layout.kind](layout.path) if layout.kind in checks else ([], [])
    try:
        source = open_layout(layout)
    except DataError as error:
        if str(error) not in {finding.message for finding in findings}:  # said of the file already
            findings.append(Finding("error", str(layout.path), str(error)))
        return PartReport(layout, tuple(facts), tuple(findings))
    findings += source.problems
    if layout.kind == "kaggle":
        findings += _given_groups_apart(source)
    damaged = any(finding.severity == "error" for finding in findings)
    findings += [] if damaged else _unreadable(source)
    return PartReport(layout, tuple(_counts(source) + facts), tuple(findings))


def _counts(source: Source) -> list[tuple[str, str]]:
    slices = source.slices
    positive = [item for item in slices if item.cls]
    masks = sum(item.has_mask for item in positive)
    return [
        ("slices", f"{len(slices)} ({len(positive)} with tumour, {len(slices) - len(positive)} without)"),
        ("patients or groups", f"{len({item.group for item in slices})}"),
        (
            "tumour masks",
            f"{masks} of {len(positive)}; unknown for {sum(not item.has_mask for item in slices)}",
        ),
    ]


def _unreadable(source: Source) -> list[Finding]:
    """Slices that training would stop at."""
    found, rule = [], getattr(source, "min_tumor_pixels", 1)
    for item in source.slices:
        try:
            image, mask = source.read(item)
            BrainNormalisation().normalise(image)
        except DataError as error:
            found.append(Finding("error", item.id, str(error)))
            continue
        if mask is not None and is_positive(mask, rule) != item.cls:
            found.append(
                Finding(
                    "error", item.id, f"labelled {item.cls}, its mask has {np.count_nonzero(mask)} pixels"
                )
            )
    return found


def _check_kaggle(folder: Path) -> tuple[list[tuple[str, str]], list[Finding]]:
    inner = folder / kaggle.FOLDER if (folder / kaggle.FOLDER).is_dir() else folder
    files = [
        path for label in kaggle.LABELS if (inner / label).is_dir() for path in picture_files(inner / label)
    ]
    modes, sizes, findings = Counter[str](), [], []
    for path in files:
        try:
            picture = open_picture(path)
        except DataError as error:
            findings.append(Finding("error", str(path), str(error)))
            continue
        modes[f"{picture.format} {picture.mode}"] += 1
        sizes.append(picture.size)
        findings += _picture_findings(path, picture)
    findings += _same_stem(files) + _same_bytes(files)
    facts = [("pictures", ", ".join(f"{count} {mode}" for mode, count in modes.most_common()))]
    if sizes:
        small, large = min(sizes, key=np.prod), max(sizes, key=np.prod)
        facts.append(("sizes", f"{small[0]}x{small[1]} to {large[0]}x{large[1]} pixels"))
    return facts, findings


def _picture_findings(path: Path, picture: Image.Image) -> Iterable[Finding]:
    expected = FORMATS.get(path.suffix.lower())
    if picture.format != expected:
        yield Finding(
            "warning", str(path), f"named {path.suffix} but is {picture.format}: read by its content"
        )
    grey = grey_of(picture)
    if grey.min() == grey.max():
        yield Finding("error", str(path), "every pixel is the same: there is no brain in it")


def _same_stem(files: list[Path]) -> list[Finding]:
    twins: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in files:
        twins[path.parent.name, path.stem.lower()].append(path)
    text = "one stem, several files ({}): masks are paired by name and extension"
    return [
        Finding("warning", str(paths[0]), text.format(", ".join(path.name for path in paths)))
        for paths in twins.values()
        if len(paths) > 1
    ]


def _same_bytes(files: list[Path]) -> list[Finding]:
    copies: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        copies[hashlib.sha256(path.read_bytes()).hexdigest()].append(path)
    findings = []
    for paths in copies.values():
        if len({path.parent.name for path in paths}) > 1:
            names = ", ".join(f"{path.parent.name}/{path.name}" for path in paths)
            findings.append(Finding("error", str(paths[0]), f"the same file in both classes: {names}"))
        elif len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            findings.append(Finding("note", str(paths[0]), f"exact copies, kept in one group: {names}"))
    return findings


def _given_groups_apart(source: kaggle.KaggleTumor) -> list[Finding]:
    """Near copies that groups.csv keeps in different groups."""
    if not (source.extras / "groups.csv").is_file():
        return [Finding("note", str(source.extras), "no groups.csv: near-duplicate groups were computed")]
    try:
        pictures = [kaggle.head_thumbnail(source.path_of(item)) for item in source.slices]
    except DataError:
        return []
    found = []
    for first, second, correlation in near_duplicate_pairs(pictures).itertuples(index=False):
        one, other = source.slices[first], source.slices[second]
        if one.group != other.group:
            text = f"near copy of {other.id} (correlation {correlation:.2f}), but groups.csv keeps them apart"
            found.append(Finding("warning", one.id, text))
    return found


def _check_lgg(folder: Path) -> tuple[list[tuple[str, str]], list[Finding]]:
    try:
        files = lgg.case_slices(folder)
    except DataError:
        return [], []  # opening the source reports it
    cases: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        cases[path.parent.name].append(path)
    findings = [finding for paths in cases.values() for finding in _case_findings(paths)]
    gaps = [case for case, paths in cases.items() if _has_gaps(paths)]
    if gaps:
        text = f"slice numbers are not contiguous in {len(gaps)} of {len(cases)} cases, e.g. {gaps[0]}"
        findings.append(Finding("note", str(folder), text))
    places = Counter(lgg.institution(patient) for patient in {lgg.patient_of(case) for case in cases})
    facts = [
        ("cases", f"{len(cases)}"),
        ("institutions", ", ".join(f"{n} {p}" for p, n in sorted(places.items()))),
    ]
    return facts, findings


def _case_findings(paths: list[Path]) -> list[Finding]:
    """Sequences that are copies of FLAIR throughout a case."""
    case = paths[0].parent
    try:
        stack = np.stack([lgg.read_channels(path) for path in paths])
    except (DataError, ValueError) as error:
        return [Finding("error", str(case), f"its slices cannot be stacked: {error}")]
    copies = [lgg.CHANNELS[other] for other in (0, 2) if np.array_equal(stack[..., other], stack[..., 1])]
    if not copies:
        return []
    text = f"channels equal: {' and '.join(copies)} missing, filled with FLAIR"
    return [Finding("warning", str(case), text)]


def _has_gaps(paths: list[Path]) -> bool:
    numbers = [lgg.slice_number(path) for path in paths]
    return numbers != list(range(numbers[0], numbers[0] + len(numbers)))


def _check_npz(folder: Path) -> tuple[list[tuple[str, str]], list[Finding]]:
    files, findings, shapes = sorted(folder.rglob("*.npz")), [], Counter[str]()
    for path in files:
        try:
            shapes["x".join(map(str, load_npz(path)["image"].shape))] += 1
        except DataError as error:
            findings.append(Finding("error", str(path), str(error)))
    return [("shapes", ", ".join(f"{count} of {shape}" for shape, count in shapes.most_common()))], findings


def _line(finding: Finding, root: Path) -> str:
    where, message = _shown(finding, root)
    return f"  {finding.severity:<8} {where}: {message}"


def _shown(finding: Finding, root: Path) -> tuple[str, str]:
    """Place and message, with files named from the data set on."""
    inside = (f"{root}/", f"{root.parent}/")
    where, message = finding.where, finding.message
    for prefix in inside:
        where, message = where.removeprefix(prefix), message.replace(prefix, "")
    message = message.removeprefix(f"{where}: ")
    return f"{root.parent.name}/" if where == str(root.parent) else where, message
