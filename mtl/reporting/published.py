"""Results worth keeping: small tracked files, and the README's table made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mtl.errors import DataError
from mtl.files import read_json, write_json, write_text
from mtl.reporting.claims import format_figure
from mtl.reporting.metrics_file import read_metrics
from mtl.reporting.status import read_status

START, END = "<!-- results:start -->", "<!-- results:end -->"
LIMIT_BYTES = 1_000_000
FIELDS = ("study", "run", "title", "rows", "command", "date", "hardware")
ROW_FIELDS = ("stage", "source", "metric", "estimate")


def publish(
    run_directory: str | Path,
    published_dir: str | Path,
    sections: Iterable[str] | None = None,
    **details: str,
) -> Path:
    """Copy ``rows`` of the named sections of metrics.json to ``<published_dir>/<study>_<run>.json``.

    Without names: every section whose name begins with ``published``, one a notebook.
    Each section holds ``{"title", "rows": [{"stage", "source", "metric", "estimate"}]}``; ``details`` may
    set or override ``title, command, date, hardware``, which else come from the section and provenance.json.
    Raises ``DataError`` where something is missing, or where all published files would exceed 1 MB.
    """
    run, target = Path(run_directory), Path(published_dir)
    if read_status(run).get("status") != "ok":
        raise DataError(f"{run}: only a run whose notebooks are all ok is published; run it again")
    if sections is None:
        sections = [name for name in read_metrics(run) if name.startswith("published")] or ["published"]
    chosen = [read_metrics(run, section) for section in sections]
    provenance = read_json(run / "provenance.json") if (run / "provenance.json").exists() else {}
    record = {
        "study": run.parent.name,
        "run": run.name,
        "title": next((s["title"] for s in chosen if s.get("title")), run.name),
        "command": provenance.get("command", f"mtl run {run.parent.name} --params {run.name}"),
        "date": str(provenance.get("date", ""))[:10],
        "hardware": hardware_text(provenance.get("hardware", "")),
        **details,
        "rows": [row for section in chosen for row in section.get("rows", [])],
    }
    check_record(record, f"{run}/metrics.json")
    path = target / f"{record['study']}_{record['run']}.json"
    others = sum(f.stat().st_size for f in target.rglob("*") if f.is_file() and f != path)
    write_json(path, record)
    if others + path.stat().st_size > LIMIT_BYTES:
        size = others + path.stat().st_size
        path.unlink()
        raise DataError(f"{target} would hold {size:,} bytes; at most {LIMIT_BYTES:,} are tracked")
    return path


def results_table_text(published_dir: str | Path) -> str:
    """The README's results as Markdown: a table per published run, its command and machine below."""
    parts = []
    for path in sorted(Path(published_dir).glob("*.json")):
        record = read_json(path)
        check_record(record, str(path))
        parts.append(_section(record))
    return "\n\n".join(parts) if parts else "Nothing has been published yet."


def write_results_table(readme: str | Path, published_dir: str | Path) -> bool:
    """Put the table between the markers of the README; returns whether the file changed."""
    before = Path(readme).read_text(encoding="utf-8")
    after = with_results(before, results_table_text(published_dir), str(readme))
    if after != before:
        write_text(readme, after)
    return after != before


def with_results(text: str, table: str, name: str = "README.md") -> str:
    """``text`` with ``table`` between its markers; ``DataError`` where they are not there once, in order."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise DataError(f"{name} must hold {START!r} and then {END!r}, once each")
    head, rest = text.split(START)
    return f"{head}{START}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def check_record(record: Mapping[str, Any], name: str) -> None:
    """``DataError`` naming the field that a published record lacks."""
    missing = [field for field in FIELDS if not record.get(field)]
    for index, row in enumerate(record.get("rows") or []):
        missing += [f"rows[{index}].{field}" for field in ROW_FIELDS if row.get(field) in (None, "")]
    if missing:
        raise DataError(f"{name}: no {', '.join(missing[:5])}")


def hardware_text(hardware: Any) -> str:
    """``2 cores of Intel Xeon`` or the GPU's name, from provenance.json's record."""
    if not isinstance(hardware, Mapping):
        return str(hardware)
    if hardware.get("gpu"):
        return str(hardware["gpu"])
    cores = f"{hardware['cores']} cores of " if hardware.get("cores") else ""
    return f"{cores}{hardware.get('cpu', 'unknown processor')}"


def _section(record: Mapping[str, Any]) -> str:
    """Stages as rows, source and metric as columns; rows with ``in_table`` false stay in the file only."""
    rows = [row for row in record["rows"] if row.get("in_table", True)]
    columns = list(dict.fromkeys((row["source"], row["metric"]) for row in rows))
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    cells = {(row["stage"], row["source"], row["metric"]): _short(row["estimate"]) for row in rows}
    lines = [
        f"### {record['title']}",
        "",
        "| | " + " | ".join(f"{source}: {metric}" for source, metric in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    lines += [
        f"| {stage} | " + " | ".join(cells.get((stage, *column), "–") for column in columns) + " |"
        for stage in stages
    ]
    made = f"`{record['command']}` on {record['hardware']}, {record['date']}; in brackets 95 % intervals."
    return "\n".join([*lines, "", made])


def _short(estimate: Mapping[str, Any]) -> str:
    value, interval, ends = format_figure(estimate).partition(" (95 % CI ")
    return f"{value} [{ends.rstrip(')').replace(' to ', ', ')}]" if interval else value
