"""Prose whose figures are read from files: nobody types a result into a sentence.

Every figure becomes ``<data class="claim" value="0.912" data-source="metrics.json#/joint/auc">0.91</data>``,
which reads as plain text in JupyterLab and lets ``mtl.reporting.check`` compare page and file.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from IPython.display import HTML, Markdown

from mtl.errors import MissingArtefactError
from mtl.files import read_json
from mtl.reporting.metrics_file import NAME

if TYPE_CHECKING:
    import pandas

PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_][\w.\-/ ]*)(?::([^{}]*))?\}")
MATH_OR_CODE = re.compile(r"(\$\$.*?\$\$|\$[^$\n]+\$|`[^`]*`)", re.DOTALL)


def claim(
    text: str, metrics: Mapping[str, Any] | str | Path, references: str | Path | None = None
) -> Markdown:
    """A Markdown display of ``text`` with each ``{path.in.metrics}`` replaced by its figure.

    An estimate reads "0.93 (95 % CI 0.90 to 0.95)". A format may follow a colon: a Python format
    (``{auc:.1%}``), ``value`` (without the interval), ``full`` (with the number of units), ``p``
    (a p value), ``text`` (as it stands). ``{references.KEY}`` is read from params/references.yaml.
    Nothing is replaced within ``$math$`` and `` `code` ``. Raises ``KeyError`` naming path and file.
    """
    values, source = _load(metrics)
    pieces = MATH_OR_CODE.split(text)
    render = _renderer(values, source, references)
    return Markdown("".join(p if i % 2 else PLACEHOLDER.sub(render, p) for i, p in enumerate(pieces)))


def reference(key: str, path: str | Path | None = None) -> Markdown:
    """A literature figure with its citation, from params/references.yaml (``value, what, citation, url``)."""
    entry = _reference_entry(key, path)
    figure = _data(entry["value"], f"references.yaml#/{key}", "")
    cited = html.escape(str(entry["citation"]))
    link = f'<a href="{html.escape(entry["url"])}">{cited}</a>' if entry.get("url") else cited
    what = f"{html.escape(str(entry['what']))} " if entry.get("what") else ""
    return Markdown(f"{what}{figure} ({link})")


def reference_value(key: str, path: str | Path | None = None) -> Any:
    """The bare figure of ``reference``, for what is computed from it. Raises ``KeyError``."""
    return _reference_entry(key, path)["value"]


def show_table(
    table: pandas.DataFrame,
    source: str,
    caption: str | None = None,
    index: bool = True,
    if_empty: str | None = None,
) -> HTML:
    """A table with its source (``"metrics.json#/joint"`` or a file's name) and a caption.

    Numbers are right-aligned with as many digits as their column needs; estimates show their interval.
    ``if_empty``: said in place of a table without rows.
    """
    if not source:
        raise ValueError("show_table needs the source of its figures, e.g. source='metrics.json#/joint'")
    if if_empty is not None and table.empty:
        return HTML(f'<p data-source="{html.escape(source)}">{html.escape(if_empty)}</p>')
    frame = table.reset_index() if index and table.index.name else table
    numeric = [_is_numeric(frame[column]) for column in frame.columns]
    align = ["text-align:right" if n else "text-align:left" for n in numeric]
    head = "".join(f'<th style="{a}" scope="col">{_cell(c)}</th>' for c, a in zip(frame, align, strict=True))
    columns = [_column(frame[column]) for column in frame.columns]
    rows = "".join(
        "<tr>" + "".join(f'<td style="{a}">{cell}</td>' for cell, a in zip(row, align, strict=True)) + "</tr>"
        for row in zip(*columns, strict=True)
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return HTML(
        f'<div class="mtl-table" data-source="{html.escape(source)}"><table class="dataframe">'
        f"{title}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def format_figure(value: Any, style: str = "") -> str:
    """A number, estimate, text or null as a reader wants it; ``style`` as in ``claim``."""
    if value is None:
        return "not defined"
    if isinstance(value, Mapping) and "value" in value:
        return _format_estimate(value, style)
    if isinstance(value, bool | str) or style == "text":
        return str(value)
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is neither a number, text, null nor an estimate")
    if style == "p":
        return f"{value:.3f}" if value >= 0.001 else "< 0.001"
    return format(value, style) if style not in ("", "value", "full") else _number(value)


def _format_estimate(estimate: Mapping[str, Any], style: str) -> str:
    value, low, high = _bounds(estimate)
    if value is None:
        return f"not defined ({estimate.get('reason', 'no reason recorded')})"
    digits = _digits_for_interval(value, low, high)
    write: Callable[[float], str] = lambda x: format(x, style if style.startswith(".") else f".{digits}f")  # noqa: E731
    if low is None or high is None or style == "value":
        return write(value)
    units = f", {_counted(estimate['n'], estimate.get('unit') or 'unit')}" if style == "full" else ""
    return f"{write(value)} (95 % CI {write(low)} to {write(high)}{units})"


def _bounds(estimate: Mapping[str, Any]) -> list[float | None]:
    """Value and interval; what is NaN (a table's way to say missing) counts as not there."""
    found = [estimate.get(key) for key in ("value", "low", "high")]
    return [None if number is None or math.isnan(number) else number for number in found]


def _counted(n: int, unit: str) -> str:
    return f"{n:,} {unit}" if n == 1 or unit.endswith("s") else f"{n:,} {unit}s"


def _digits_for_interval(value: float, low: float | None, high: float | None) -> int:
    """Two decimals, or as many as keep the ends apart, and an end that is not 0 from reading as 0."""
    if low is None or high is None or high <= low:
        return 2 if abs(value) < 10 else 1
    fewest = 2 if abs(value) < 10 else 0
    digits = int(min(6, max(fewest, math.ceil(-math.log10(high - low)) + 1)))
    while digits < 4 and any(end and not round(end, digits) for end in (low, high)):
        digits += 1
    return digits


def _number(value: int | float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 0.1:
        return f"{value:.2f}" if size < 10 else f"{value:.1f}"
    return f"{value:.2g}"


def _renderer(
    values: Mapping[str, Any], source: str, references: str | Path | None
) -> Callable[[re.Match[str]], str]:
    def render(match: re.Match[str]) -> str:
        path, style = match[1].strip(), match[2] or ""
        if path.startswith("references."):
            key = path.removeprefix("references.")
            return _data(_reference_entry(key, references)["value"], f"references.yaml#/{key}", style)
        keys = _find(values, path.split("."))
        if keys is None:
            raise KeyError(f"{path!r} is not in {source} (top level: {', '.join(values) or 'empty'})")
        value: Any = values
        for key in keys:
            value = value[int(key)] if isinstance(value, list) else value[key]
        return _data(value, f"{Path(source).name}#/" + "/".join(map(_pointer, keys)), style)

    return render


def _find(values: Any, parts: list[str]) -> list[str] | None:
    """The keys that lead along ``parts``; a key may itself hold dots (``rho_0.5``)."""
    if not parts:
        return []
    for taken in range(len(parts), 0, -1):
        key = ".".join(parts[:taken])
        known = (
            key.isdigit() and int(key) < len(values)
            if isinstance(values, list)
            else (isinstance(values, Mapping) and key in values)
        )
        if known:
            rest = _find(values[int(key)] if isinstance(values, list) else values[key], parts[taken:])
            if rest is not None:
                return [key, *rest]
    return None


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _data(value: Any, source: str, style: str) -> str:
    raw = value.get("value") if isinstance(value, Mapping) else value
    raw_text = "" if raw is None else str(raw)
    figure, bracket, rest = html.escape(format_figure(value, style)).partition(" (")
    rest = rest.replace("95 % CI ", "95\u00a0%\u00a0CI\u00a0")
    return (
        f'<data class="claim" value="{html.escape(raw_text)}" data-source="{html.escape(source)}">'
        f"<strong>{figure}</strong>{bracket}{rest}</data>"
    )


def _load(metrics: Mapping[str, Any] | str | Path) -> tuple[Mapping[str, Any], str]:
    if isinstance(metrics, Mapping):
        return metrics, NAME
    path = Path(metrics)
    path = path / NAME if path.is_dir() else path
    if not path.exists():
        raise MissingArtefactError(f"{path} is not there: the notebook that writes it has not run")
    return read_json(path), str(path)


def _reference_entry(key: str, path: str | Path | None) -> dict[str, Any]:
    """One entry of references.yaml; looked for in params/ of this folder or one above it."""
    here = Path.cwd()
    places = [Path(path)] if path else [p / "params" / "references.yaml" for p in (here, *here.parents)]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise MissingArtefactError(f"{places[0]} is not there: literature figures come from this file")
    entries = yaml.safe_load(found.read_text(encoding="utf-8")) or {}
    if key not in entries:
        raise KeyError(f"{key!r} is not in {found} (it holds: {', '.join(entries) or 'nothing'})")
    for needed in ("value", "citation"):
        if needed not in entries[key]:
            raise KeyError(f"{key}.{needed} is not in {found}")
    return entries[key]


def _is_numeric(column: pandas.Series) -> bool:
    kinds = [v for v in column if v is not None]
    return bool(kinds) and all(
        isinstance(v, Mapping) or (hasattr(v, "__float__") and not isinstance(v, bool | str)) for v in kinds
    )


def _column(column: pandas.Series) -> list[str]:
    """The cells of one column as HTML, floats with the same number of decimals throughout."""
    floats = [abs(v) for v in column if isinstance(v, float) and math.isfinite(v) and v != 0]
    decimals = max(0, min(4, 2 - math.floor(math.log10(max(floats))))) if floats else 0
    decimals = min(decimals, 3)
    return [f"{v:,.{decimals}f}" if isinstance(v, float) and math.isfinite(v) else _cell(v) for v in column]


def _cell(value: Any) -> str:
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if hasattr(value, "item"):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, Mapping):
        return _estimate_cell(value)
    return html.escape(format_figure(value) if isinstance(value, int | float) else str(value))


def _estimate_cell(estimate: Mapping[str, Any]) -> str:
    """The value, and its interval small below it, so that a table of estimates stays narrow."""
    value, low, high = _bounds(estimate)
    if value is None:
        return f'<span title="{html.escape(estimate.get("reason", "not defined"))}">–</span>'
    digits = min(_digits_for_interval(value, low, high), 3)
    if low is None or high is None:
        return f"{value:.{digits}f}"
    interval = f"{low:.{digits}f} to {high:.{digits}f}"
    return f'{value:.{digits}f}<br><small style="color:#55606b;white-space:nowrap">{interval}</small>'
