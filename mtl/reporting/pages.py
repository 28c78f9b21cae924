"""What a notebook says about itself: title, question, answer, contents, the facts of its run."""

from __future__ import annotations

import base64
import datetime
import html
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtl.files import read_json

QUESTION = re.compile(r"\*\*Question[.:]?\*\*[.:]?\s*(.+?)(?:\n\s*\n|\Z)", re.DOTALL)
TITLE = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)
MARKERS = "papermill-error-cell-tag"
THUMBNAIL_WIDTH = 560


@dataclass
class Page:
    """The parts of a report, as its template wants them."""

    title: str
    question: str = ""  # Markdown
    answer: list[Any] = field(default_factory=list)  # outputs of the headline cell but its pictures
    pictures: list[Any] = field(default_factory=list)
    wide: bool = False  # the first picture is more than twice as wide as high
    contents: list[tuple[int, str, str]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    failure: dict[str, Any] | None = None


def describe_notebook(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Title and question as plain text, for records and cards."""
    title, question, _ = split_opening(notebook)
    return {"title": plain_text(title), "question": plain_text(question)}


def split_opening(notebook: Mapping[str, Any]) -> tuple[str, str, str]:
    """Title, question and what else the first Markdown cell says (Markdown)."""
    cells = (c for c in notebook["cells"] if c["cell_type"] == "markdown" and not marker(c))
    text = "".join(next(cells, {"source": ""})["source"])
    title, question = TITLE.search(text), QUESTION.search(text)
    rest = text
    for found in (title, question):
        rest = rest.replace(found[0], "\n\n", 1) if found else rest
    return (title[1] if title else "Untitled"), (question[1].strip() if question else ""), rest.strip()


def marker(cell: Mapping[str, Any]) -> bool:
    """True for the cells that papermill puts beside a failure."""
    return MARKERS in cell.get("metadata", {}).get("tags", [])


def tagged(cell: Mapping[str, Any], tag: str) -> bool:
    return tag in cell.get("metadata", {}).get("tags", [])


def is_picture(output: Mapping[str, Any]) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def picture_size(output: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height in CSS pixels: what the notebook said, else the PNG's own."""
    said = output.get("metadata", {}).get("image/png", {})
    if said.get("width") and said.get("height"):
        return int(said["width"]), int(said["height"])
    data = output.get("data", {}).get("image/png")
    if not data:
        return None
    head = base64.b64decode("".join(data)[:64])
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def run_facts(report: Path, notebook: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Study, run, date, commit, device and time of the run that ``report`` belongs to."""
    run = report.resolve().parent.parent
    provenance = read_json(run / "provenance.json") if (run / "provenance.json").exists() else {}
    recorded = read_json(run / "run.json") if (run / "run.json").exists() else {}
    papermill = notebook.get("metadata", {}).get("papermill", {})
    when = papermill.get("end_time") or papermill.get("start_time")
    found = {
        "Study": recorded.get("study") or provenance.get("study") or run.parent.name,
        "Run": recorded.get("run") or run.name,
        "Date": readable_date(when) if when else "",
        "Commit": _text(provenance, "git_commit", "commit"),
        "Device": _text(provenance, "device", "hardware"),
        "Wall time": readable_seconds(papermill["duration"]) if papermill.get("duration") else "",
    }
    return [(name, value) for name, value in found.items() if value]


def _text(record: Mapping[str, Any], *names: str) -> str:
    """The first of ``names`` that is there; of a nested record, its name or its parts."""
    value = next((record[name] for name in names if record.get(name)), "")
    if isinstance(value, Mapping):
        parts = [value[key] for key in ("name", "commit", "gpu", "cpu", "device") if value.get(key)]
        value = parts[0] if parts else ", ".join(str(part) for part in value.values())
    return str(value)


def readable_date(moment: str) -> str:
    """``21 November 2026, 14:05 UTC``."""
    when = datetime.datetime.fromisoformat(moment)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def readable_seconds(seconds: float) -> str:
    """``42 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def plain_text(markdown: str) -> str:
    """Markdown or HTML without its marks, on one line."""
    text = re.sub(r"<[^>]+>", "", markdown)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(html.unescape(re.sub(r"[*`$]+|\\(?=\W)", "", text)).split())


def answer_sentence(outputs: list[Any]) -> str:
    """The first sentence of prose that the headline cell shows."""
    for output in outputs:
        data = output.get("data", {})
        text = plain_text("".join(data.get("text/markdown", "")).strip().split("\n\n")[0])
        if text:
            return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)[0]
    return ""


def thumbnail(output: Mapping[str, Any]) -> str:
    """A picture downsized to a small WebP, as a data URI."""
    from PIL import Image

    kind = next(k for k in ("image/png", "image/jpeg") if k in output["data"])
    picture = Image.open(io.BytesIO(base64.b64decode("".join(output["data"][kind])))).convert("RGBA")
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    flat.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
    target = io.BytesIO()
    flat.save(target, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(target.getvalue()).decode()
