"""``outputs/index.html``: every report of every run on one page, filling up as notebooks finish."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from mtl.files import file_lock, read_json, write_text
from mtl.reporting.claims import format_figure
from mtl.reporting.metrics_file import NAME as METRICS
from mtl.reporting.pages import readable_date, readable_seconds
from mtl.reporting.status import NAME as STATUS
from mtl.reporting.status import UNFINISHED

TEMPLATES = Path(__file__).with_name("templates")
REFRESH_SECONDS = 5
FIGURES_PER_CARD = 3
SAID = {
    "ok": "done",
    "failed": "failed",
    "dead": "kernel died",
    "running": "running",
    "waiting": "waiting",
    "skipped": "not run",
}


@dataclass
class Card:
    """One report, as the gallery shows it."""

    name: str
    status: str
    title: str
    text: str = ""  # the answer, or the question while there is none
    link: str = ""
    thumbnail: str = ""
    alt: str = ""
    figures: list[tuple[str, str, str, str]] = field(default_factory=list)  # label, value, interval, source
    note: str = ""


@dataclass
class Run:
    """One run directory with its cards, in the order of the notebooks."""

    study: str
    run: str
    date: str
    cards: list[Card]

    @property
    def done(self) -> int:
        return sum(card.status == "ok" for card in self.cards)

    @property
    def busy(self) -> bool:
        return any(card.status in UNFINISHED for card in self.cards)

    @property
    def title(self) -> str:
        return study_title(self.study)

    @property
    def when(self) -> str:
        return readable_date(self.date) if self.date else ""


def write_gallery(outputs_root: str | Path) -> Path:
    """Write ``<outputs_root>/index.html`` from the records of all runs below it; returns its path."""
    root = Path(outputs_root)
    target = root / "index.html"
    with file_lock(target):
        write_text(target, gallery_html(find_runs(root)))
    return target


@contextlib.contextmanager
def galleries_kept_current(roots: Iterable[Path]) -> Iterator[None]:
    """The gallery of each outputs folder is written before and after, also after an exception."""
    roots = list(roots)
    for root in roots:
        write_gallery(root)
    try:
        yield
    finally:
        for root in roots:
            write_gallery(root)


def gallery_html(runs: list[Run]) -> str:
    """The page itself; it reloads every few seconds while anything is running."""
    loader = jinja2.FileSystemLoader([TEMPLATES / "gallery", TEMPLATES / "report"])
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("gallery.html.j2").render(
        runs=runs,
        said=SAID,
        refresh=REFRESH_SECONDS if any(run.busy for run in runs) else None,
        done=sum(run.done for run in runs),
        total=sum(len(run.cards) for run in runs),
    )


def find_runs(root: Path) -> list[Run]:
    """Runs with a record, by study, the latest first within a study."""
    records = sorted(root.glob(f"*/*/{STATUS}"))
    runs = [read_run(path.parent, root) for path in records]
    runs = sorted((run for run in runs if run.cards), key=lambda run: run.date, reverse=True)
    return sorted(runs, key=lambda run: run.study)


def read_run(run_directory: Path, root: Path) -> Run:
    record = read_json(run_directory / STATUS)
    metrics = read_json(run_directory / METRICS) if (run_directory / METRICS).exists() else {}
    names = sorted(name for name, e in record["notebooks"].items() if e.get("kind") != "point")
    cards = [make_card(name, record["notebooks"][name], run_directory, root, metrics) for name in names]
    started = max((e.get("started", "") for e in record["notebooks"].values()), default="")
    return Run(run_directory.parent.name, run_directory.name, started, cards)


def make_card(
    name: str, entry: Mapping[str, Any], run_directory: Path, root: Path, metrics: Mapping[str, Any]
) -> Card:
    """What the record, the report's own card and metrics.json say of one notebook."""
    report = run_directory / "reports" / f"{name}.html"
    beside = report.with_suffix(".card.json")
    made = read_json(beside) if beside.exists() and report.exists() else {}
    status = entry.get("status", "waiting")
    good, readable = status == "ok", report.exists() and status not in UNFINISHED
    return Card(
        name=name,
        status=status,
        title=entry.get("title") or made.get("title") or name,
        text=(made.get("answer") if good else "") or entry.get("question", ""),
        link=quote(report.relative_to(root).as_posix()) if readable else "",
        thumbnail=made.get("thumbnail", "") if good else "",
        alt=made.get("alt", ""),
        figures=headline_figures(section_of(name, metrics)) if good else [],
        note=note_of(entry),
    )


def section_of(name: str, metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The section of metrics.json that notebook ``02_warm_up`` writes: that name, or ``warm_up``."""
    bare = re.sub(r"^\d+[_-]", "", name)
    key = next((k for k in (name, bare) if k in metrics), "")
    return key, metrics.get(key, {})


def headline_figures(section: tuple[str, Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Label, value, interval and source of the section's ``headline`` entries."""
    key, values = section
    figures = []
    for index, entry in enumerate(values.get("headline", [])[:FIGURES_PER_CARD]):
        text = format_figure(entry["value"])
        value, _, interval = text.partition(" (")
        source = f"{METRICS}#/{key}/headline/{index}/value"
        figures.append((entry["label"], value, interval.removeprefix("95 % CI ").rstrip(")"), source))
    return figures


def note_of(entry: Mapping[str, Any]) -> str:
    """A line on how it went: time, cell, or what failed."""
    status, failure = entry.get("status"), entry.get("failure", {})
    if status == "ok":
        return readable_seconds(entry["seconds"]) if "seconds" in entry else ""
    if status == "running":
        cells = f"cell {entry['cell']} of {entry['cells']}" if "cell" in entry and "cells" in entry else ""
        return cells or "starting"
    if failure:
        where = f"cell {failure['cell'] + 1}: " if "cell" in failure else ""
        said = next(iter(failure.get("evalue", "").splitlines()), "")[:140]  # some errors say nothing
        return f"{where}{failure.get('ename', '')}" + (f": {said}" if said else "")
    return entry.get("reason", "")


def study_title(study: str) -> str:
    """``brain_mri`` -> ``Brain MRI``."""
    known = {"mri": "MRI", "em": "Electron microscopy"}
    words = " ".join(known.get(word, word) for word in study.split("_"))
    return words[:1].upper() + words[1:]
