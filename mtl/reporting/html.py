"""One self-contained HTML file from one executed notebook: works offline, in print and on a phone."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from nbconvert.exporters.html import HTMLExporter
from nbconvert.exporters.templateexporter import TemplateExporter
from nbformat import NotebookNode

from mtl.files import write_json, write_text
from mtl.reporting.mathml import ReportRenderer, render_markdown, to_mathml
from mtl.reporting.pages import (
    Page,
    answer_sentence,
    is_picture,
    marker,
    picture_size,
    plain_text,
    run_facts,
    split_opening,
    tagged,
    thumbnail,
)

TEMPLATES = Path(__file__).with_name("templates")
WIDGET = "application/vnd.jupyter.widget-view+json"
SHOWN = ("image/svg+xml", "text/html", "text/markdown", "image/png", "image/jpeg", "text/latex", WIDGET)
PROGRESS = re.compile(r"\d+%\||it/s|s/it")
SCRIPT = re.compile(r"<script\b.*?</script>|<style scoped>.*?</style>", re.DOTALL | re.IGNORECASE)
NUMBER = re.compile(r"\s*[-+−–]?[\d.,\s]*\d[\d.,]*(e[-+]?\d+)?\s*%?(\s*\(.*\))?\s*|–|-|NaN|nan|")


def export_report(notebook: str | Path, report: str | Path, failure: dict[str, Any] | None = None) -> Path:
    """Write the report of an executed notebook, and a card for the gallery beside it.

    ``failure``: what run.json says of a notebook that failed; shown above the rest.
    """
    source, report = Path(notebook), Path(report)
    body, page = report_html(nbformat.read(source, as_version=4), report, failure)
    write_text(report, body)
    described = {"title": plain_text(page.title), "answer": answer_sentence(page.answer)}
    raster = next((p for p in page.pictures if {"image/png", "image/jpeg"} & set(p["data"])), None)
    picture = {"thumbnail": thumbnail(raster), "alt": alt_text(raster)} if raster else {}
    write_json(report.with_suffix(".card.json"), {**described, **picture})
    return report


def report_html(
    notebook: NotebookNode, report: Path, failure: dict[str, Any] | None = None
) -> tuple[str, Page]:
    """The page's HTML, and its parts."""
    notebook = copy.deepcopy(notebook)
    page = prepare(notebook, report, failure)
    body, _ = ReportExporter().from_notebook_node(notebook, resources={"page": page})
    return body, page


class ReportExporter(HTMLExporter):
    """nbconvert's HTML exporter with the template of this package and no network."""

    template_name = "report"
    extra_template_basedirs = [str(TEMPLATES)]
    require_js_url = mathjax_url = jquery_url = mermaid_js_url = jupyter_widgets_base_url = ""

    def default_filters(self) -> Any:
        yield from super().default_filters()
        yield "render_markdown", render_markdown
        yield "best_type", best_type
        yield "alt_text", alt_text
        yield "picture_size", picture_size
        yield "tidy_html", tidy_html
        yield "block_formula", lambda latex: to_mathml(latex.strip().strip("$"), "block")

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **options: Any) -> Any:
        """As the base class, without its second parse of the whole page (it only fills in alt texts)."""
        from nbconvert.filters.highlight import Highlight2HTML

        resources = self._init_resources(resources)
        self.register_filter("highlight_code", Highlight2HTML(pygments_lexer="ipython3", parent=self))
        return TemplateExporter.from_notebook_node(self, nb, resources, **options)


def prepare(notebook: NotebookNode, report: Path, failure: dict[str, Any] | None) -> Page:
    """Change ``notebook`` into what the body shows, and take out what the first screen shows."""
    notebook.cells = [cell for cell in notebook.cells if not marker(cell)]
    title, question, rest = split_opening(notebook)
    facts = notebook.metadata.get("mtl_facts") or run_facts(report, notebook)
    page = Page(title=title, question=question, facts=facts, failure=failure)
    first = next((cell for cell in notebook.cells if cell.cell_type == "markdown"), None)
    if first is not None:
        first.source = rest
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = clean_outputs(cell.outputs, keep_errors=failure is not None)
            if tagged(cell, "headline"):
                page.answer = [o for o in cell.outputs if not is_picture(o)]
                page.pictures = [o for o in cell.outputs if is_picture(o)]
                cell.outputs, cell.metadata["moved_to_top"] = [], bool(page.answer or page.pictures)
    page.contents = render_cells(notebook)
    size = picture_size(page.pictures[0]) if page.pictures else None
    page.wide = bool(size and size[0] > 2.0 * size[1])
    return page


def render_cells(notebook: NotebookNode) -> list[tuple[int, str, str]]:
    """Render the Markdown cells in place; returns the contents (level, anchor, text)."""
    renderer = ReportRenderer()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            renderer.attachments = cell.get("attachments", {})
            cell["html"] = render_markdown(cell.source, renderer)
    deep = len(renderer.headings) <= 14
    return [entry for entry in renderer.headings if entry[0] == 2 or (deep and entry[0] == 3)]


def clean_outputs(outputs: list[NotebookNode], keep_errors: bool = False) -> list[NotebookNode]:
    """Without stderr, progress bars, figures' own captions in Lab; neighbouring prints joined."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name != "stdout" or not output.text.strip():
                continue
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
                continue
        elif output.output_type == "error":
            if not keep_errors:
                continue
        elif _is_progress(output) or output.get("metadata", {}).get("mtl_caption") or not output.data:
            continue
        kept.append(output)
    return kept


def _is_progress(output: NotebookNode) -> bool:
    return WIDGET in output.get("data", {}) and bool(PROGRESS.search(output.data.get("text/plain", "")))


def best_type(output: NotebookNode) -> str:
    """The MIME type to show: a picture where a widget has one, rich before plain."""
    kinds = output.data.keys()
    shown = [kind for kind in SHOWN if kind in kinds]
    stills = [kind for kind in shown if kind.startswith("image/")]
    return (stills if WIDGET in kinds and stills else [*shown, "text/plain"])[0]


def alt_text(output: NotebookNode) -> str:
    """The alternative text that the notebook gave with a picture; empty where it gave none."""
    entries = [v.get("alt") for k, v in output.get("metadata", {}).items() if k.startswith("image/")]
    return next((entry for entry in entries if entry), "")


def tidy_html(fragment: str) -> str:
    """An HTML output without scripts, its tables scrollable and aligned by what their columns hold."""
    fragment = SCRIPT.sub("", fragment)
    if "<table" not in fragment:
        return fragment
    soup = BeautifulSoup(fragment, "html.parser")
    for table in soup.find_all("table"):
        table.attrs.pop("border", None)
        align_columns(table)
        caption = table.find("caption")
        label = caption.get_text(" ", strip=True) if caption else "Table"
        region = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": label}
        table.wrap(soup.new_tag("div", attrs=region))
    return str(soup)


def align_columns(table: Any) -> None:
    """Mark the cells of number columns ``num`` and of others ``text``."""
    rows = [row.find_all(["th", "td"]) for row in table.select("tbody tr")]
    head = table.select("thead tr")
    for row in head:
        row.attrs.pop("style", None)
    if not rows or len({len(row) for row in rows}) != 1:
        return
    for index in range(len(rows[0])):
        column = [row[index] for row in rows]
        numeric = all(NUMBER.fullmatch(cell.get_text()) for cell in column) and column[0].name == "td"
        for line in head:
            cells = line.find_all(["th", "td"])
            column += cells[index : index + 1] if len(cells) == len(rows[0]) else []
        for cell in column:
            cell["class"] = [*cell.get("class", []), "num" if numeric else "text"]
