"""What may not stand in a report: figures without a source, pictures without words, calls to the network."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import yaml
from bs4 import BeautifulSoup, NavigableString, Tag

from mtl.files import read_json
from mtl.reporting.pages import marker, tagged

# A decimal number or a percentage, but no version ("2.13.0"), no identifier ("v1.5") and no date.
FIGURE = re.compile(r"(?<![\w.\-/])[-+−]?(?:\d+(?:[.,]\d+)*\s?%|\d+\.\d+(?:[eE][-+]?\d+)?)(?![\w]|\.\d|-\d)")
CONFIDENCE = re.compile(r"\b9[059]\s?%\s(?=CI|confidence|interval|upper|lower|bound)")  # a level, no result
QUIET_TAGS = ("code", "pre", "script", "style", "math", "data", "svg", "nav", "kbd", "samp")
BY_SRC = ("img", "script", "iframe", "source", "video", "audio", "embed", "track")
LOADERS = {**dict.fromkeys(BY_SRC, "src"), "link": "href", "object": "data", "image": "href", "use": "href"}
CSS_URL = re.compile(r"url\(\s*['\"]?(?!data:|#)([^)'\"]+)|@import\s+['\"]?([^'\";]+)", re.IGNORECASE)
SCRIPT_URL = re.compile(r"https?://[^\s'\"]+|\bimport\(")
RAW = re.compile(
    r"^\s*(?:\{['\"]\w|\[\{|<[\w.]+(?: object)? at 0x|(?:tensor|array|Parameter|defaultdict|Namespace)\("
    r"|\w+\((?:\w+=.{0,60}, ){2})",
    re.MULTILINE,
)
NOISE = re.compile(r"Traceback \(most recent call last\)|^\w*Warning:|: \w*Warning:", re.MULTILINE)
NO_ALT = ("", "no description has been provided for this image")


def check_report(report: str | Path) -> list[str]:
    """Every problem of one HTML report, in words; empty where it may be shown.

    Also read, where they lie in the run directory: the executed notebook (what it wrote to stderr), and
    metrics.json (whether the page still says what the file says).
    """
    path = Path(report)
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    problems = [
        *picture_problems(soup),
        *network_problems(soup),
        *noise_problems(soup),
        *figure_problems(soup),
        *claim_problems(soup, path.resolve().parent.parent),
    ]
    executed = path.resolve().parent.parent / "notebooks" / f"{path.stem}.ipynb"
    return problems + (notebook_problems(executed) if executed.exists() else [])


def picture_problems(soup: BeautifulSoup) -> list[str]:
    problems = []
    if not soup.select("header.first img"):
        problems.append("no picture on the first screen: the headline cell shows none")
    for number, image in enumerate(soup.find_all("img"), 1):
        alt = str(image.get("alt", "")).strip()
        if alt.lower() in NO_ALT:
            problems.append(f"picture {number} has no alternative text")
        source = str(image.get("src", ""))
        if not _is_picture(source):
            problems.append(f"picture {number} is missing or broken: src={source[:60]!r} (alt: {alt[:60]!r})")
    return problems


def network_problems(soup: BeautifulSoup) -> list[str]:
    """Whatever a browser would fetch; plain links that a reader may follow are allowed."""
    problems = []
    for name, attribute in LOADERS.items():
        for element in soup.find_all(name):
            for key in {attribute, "srcset", "xlink:href", "poster"} & set(element.attrs):
                value = str(element[key]).strip()
                if value and not value.startswith(("data:", "#")):
                    problems.append(f"<{name} {key}> loads {value[:100]}")
    styles = [style.get_text() for style in soup.find_all("style")]
    styles += [str(element["style"]) for element in soup.select("[style]")]
    for style in styles:
        problems += [f"CSS loads {(m[1] or m[2]).strip()[:100]}" for m in CSS_URL.finditer(style)]
    for script in soup.find_all("script"):
        problems += [f"script names {m[0]}" for m in SCRIPT_URL.finditer(script.get_text())]
    return problems


def noise_problems(soup: BeautifulSoup) -> list[str]:
    """Tracebacks, warnings, raw objects, formulas that could not be read."""
    problems = []
    for block in soup.select("pre.stdout, pre.plain, pre.traceback"):
        text = block.get_text()
        first = text.strip().splitlines()[0][:90] if text.strip() else ""
        if NOISE.search(text) or "traceback" in block.get("class", []):
            problems.append(f"traceback or warning: {first!r}")
        elif "plain" in block.get("class", []) or RAW.search(text):
            problems.append(f"raw object instead of prose or a table: {first!r}")
    problems += [f"formula not understood: {f.get_text()!r}" for f in soup.select("code.formula-error")]
    problems += [
        f"formula with an unknown command: {element.get_text()!r}"
        for element in soup.select("math mi, math mo")
        if element.get_text().startswith("\\") and len(element.get_text()) > 1
    ]
    return problems


def figure_problems(soup: BeautifulSoup) -> list[str]:
    """Decimals and percentages in prose or printed output that no ``data-source`` stands behind."""
    problems = []
    for text in _prose(soup):
        for figure in figures_in(str(text)):
            around = " ".join((text.parent or text).get_text(" ").split())
            at = max(0, around.find(figure) - 40)
            problems.append(f"number without a source: {figure!r} in {around[at : at + 100]!r}")
    for number, table in enumerate(soup.find_all("table"), 1):
        if not _sourced(table) and any(figures_in(cell.get_text()) for cell in table.find_all("td")):
            problems.append(f"table {number} holds numbers but no source: use show_table(..., source=...)")
    return problems


def claim_problems(soup: BeautifulSoup, run_directory: Path) -> list[str]:
    """Claims without a source, and claims that say something else than their file."""
    problems = []
    for claim in soup.find_all("data"):
        source, value = str(claim.get("data-source", "")), str(claim.get("value", ""))
        if not source:
            problems.append(f"claim {claim.get_text()!r} has no data-source")
            continue
        name, _, pointer = source.partition("#")
        file = run_directory / name
        if name.endswith(".json") and pointer and file.exists():
            found = resolve_pointer(read_json(file), pointer)
            found = found.get("value") if isinstance(found, dict) else found
            if ("" if found is None else str(found)) != value:
                problems.append(f"claim {value!r} is {found!r} in {source}")
    return problems


def check_markdown_source(notebook: str | Path) -> list[str]:
    """Decimals and percentages typed into Markdown cells; those in ``$math$`` and `` `code` `` may stay."""
    problems = []
    for index, cell in enumerate(nbformat.read(notebook, as_version=4).cells):
        if cell.cell_type != "markdown":
            continue
        for figure in figures_in(strip_math_and_code(cell.source)):
            problems.append(f"cell {index}: {figure!r} typed into prose; use claim() or reference()")
    return problems


def notebook_problems(executed: str | Path) -> list[str]:
    """stderr, errors and missing figures of an executed notebook."""
    problems = []
    for index, cell in enumerate(nbformat.read(executed, as_version=4).cells):
        if cell.cell_type != "code" or marker(cell):
            continue
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr" and output.text.strip():
                first = output.text.strip().splitlines()[0]
                problems.append(f"cell {index} writes to stderr: {first[:90]!r}")
            if output.output_type == "error":
                problems.append(f"cell {index} ends with {output.ename}")
        pictured = any(k.startswith("image/") for o in cell.outputs for k in o.get("data", {}))
        drawn = re.search(r"\bshow_figure\(", cell.source)
        if drawn and not pictured and not tagged(cell, "optional-figure"):
            problems.append(f"cell {index} calls show_figure but shows no picture")
    return problems


def check_references(path: str | Path) -> list[str]:
    """Entries of references.yaml that lack a value or a citation."""
    entries = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    return [
        f"{key} has no {needed}"
        for key, entry in entries.items()
        for needed in ("value", "citation")
        if not isinstance(entry, dict) or entry.get(needed) in (None, "")
    ]


def figures_in(text: str) -> list[str]:
    """Decimals and percentages in a piece of text; the level of an interval ("95 % CI") is none."""
    return [match[0].strip() for match in FIGURE.finditer(CONFIDENCE.sub("", text))]


def strip_math_and_code(markdown: str) -> str:
    """Markdown without fenced code, code spans, formulas, HTML tags and the addresses of links."""
    code = (r"```.*?```", r"~~~.*?~~~", r"`[^`]*`")
    formulas = (r"\$\$.*?\$\$", r"\$[^$\n]+\$", r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}")
    marks = (r"<data\b.*?</data>", r"<[^>]+>", r"\]\([^)]*\)")
    for pattern in (*code, *formulas, *marks):
        markdown = re.sub(pattern, " ", markdown, flags=re.DOTALL)
    return markdown


def resolve_pointer(value: Any, pointer: str) -> Any:
    """The entry at a JSON pointer (RFC 6901); None where there is none."""
    for part in pointer.strip("/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return value


def _prose(soup: BeautifulSoup) -> Iterator[NavigableString]:
    for text in soup.find_all(string=True):
        if type(text) is not NavigableString or not text.strip():
            continue
        parents = [parent for parent in text.parents if isinstance(parent, Tag)]
        printed = any("stdout" in parent.get("class", []) for parent in parents)
        quiet = any(p.name in QUIET_TAGS or p.name == "table" for p in parents) and not printed
        if not quiet and not any(_has_source(parent) for parent in parents):
            yield text


def _sourced(element: Tag) -> bool:
    return _has_source(element) or any(_has_source(parent) for parent in element.parents)


def _has_source(element: Tag) -> bool:
    return bool(element.get("data-source"))


def _is_picture(source: str) -> bool:
    """True for a data URI that holds an image (by its first bytes)."""
    if not source.startswith("data:image/") or ";base64," not in source:
        return False
    try:
        head = base64.b64decode(source.split(";base64,", 1)[1], validate=True)
    except ValueError:
        return False
    starts = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF8")
    return head.startswith(starts) and len(head) > 60 or b"<svg" in head[:2000]


def check_run(run_directory: str | Path) -> dict[str, list[str]]:
    """Problems of every report of a run, by report; metrics.json must be readable."""
    run_directory = Path(run_directory)
    found = {path.name: check_report(path) for path in sorted((run_directory / "reports").glob("*.html"))}
    try:
        if (run_directory / "metrics.json").exists():
            read_json(run_directory / "metrics.json")
    except json.JSONDecodeError as error:
        found["metrics.json"] = [f"not valid JSON: {error}"]
    return {name: problems for name, problems in found.items() if problems}
