"""Markdown to HTML with formulas as MathML, which browsers draw without any library or connection."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

TAG = re.compile(r"<[^>]+>")
# What latex2mathml 3.81 does not know, in words that it does.
KNOWN_AS = {"{aligned}": "{align*}", "{gathered}": "{gather*}", "\\arg\\": "\\operatorname{arg}\\"}


class ReportRenderer(IPythonRenderer):
    """nbconvert's Markdown renderer with MathML, and headings that are collected for the contents."""

    def __init__(self, **options: Any) -> None:
        super().__init__(escape=False, exclude_anchor_links=True, **options)
        self.headings: list[tuple[int, str, str]] = []  # level, id, HTML of the text
        self.taken: set[str] = set()

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        """The page's title is its only level 1, so the rest begin at 2."""
        level = max(2, level)
        name = self._unique(slug(text))
        self.headings.append((level, name, text))
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def block_math(self, body: str) -> str:
        return f'<span class="formula">{to_mathml(body, "block")}</span>'

    def inline_math(self, body: str) -> str:
        return to_mathml(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        alone = name.rstrip("*") in ("equation", "displaymath")
        return self.block_math(body if alone else f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def _unique(self, name: str) -> str:
        candidates = [name, *(f"{name}-{number}" for number in range(2, 100))]
        chosen = next(candidate for candidate in candidates if candidate not in self.taken)
        self.taken.add(chosen)
        return chosen


def render_markdown(source: str, renderer: ReportRenderer | None = None) -> str:
    """HTML of one Markdown text; ``renderer`` collects headings over several."""
    return MarkdownWithMath(renderer=renderer or ReportRenderer()).render(source)


def to_mathml(latex: str, display: str = "inline") -> str:
    """One formula; where it cannot be read, its source as code, marked for ``check_report`` to find."""
    known = " ".join(latex.split())
    for name, substitute in KNOWN_AS.items():
        known = known.replace(name, substitute)
    try:
        return convert(known, display=display)
    except Exception:  # latex2mathml raises a dozen types; the page must still be made
        return f'<code class="formula-error">{html.escape(latex)}</code>'


def slug(text: str) -> str:
    """A heading as an anchor: ``What it means`` -> ``what-it-means``."""
    plain = html.unescape(TAG.sub("", text)).lower()
    return "-".join(re.findall(r"[^\W_]+", plain)) or "section"
