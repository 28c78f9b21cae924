"""The report page: one file, first screen, formulas, alt texts, no network, no noise."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_output
from small_notebooks import code, headline, picture, png, printed, save, shown, text

from mtl.files import read_json, write_json
from mtl.reporting.html import export_report
from mtl.reporting.mathml import render_markdown, slug, to_mathml

OPENING = text("# Both at *once*\n\n**Question.** Does it pay,\nor not?\n\nMore on that.")
ANSWER = shown("text/markdown", "It pays. More than one sentence.")


@pytest.fixture
def page(run_directory: Path):
    def make(*cells, **options) -> BeautifulSoup:
        notebook = save(run_directory / "notebooks" / "a.ipynb", *cells)
        report = export_report(notebook, run_directory / "reports" / "a.html", **options)
        return BeautifulSoup(report.read_text(encoding="utf-8"), "html.parser")

    return make


def test_first_screen_holds_title_question_answer_picture_and_facts(page, run_directory: Path) -> None:
    record = {"git_commit": "abc123", "hardware": {"cpu": "Xeon", "cores": 2, "gpu": None}}
    write_json(run_directory / "provenance.json", record)
    soup = page(OPENING, text("## Data"), code("x"), headline(ANSWER, picture()))
    first = soup.select_one("header.first")
    assert soup.html["lang"] == "en" and soup.title.get_text() == "Both at once"
    assert first.h1.get_text() == "Both at once"
    assert "Does it pay, or not?" in " ".join(first.select_one(".question").get_text().split())
    assert "It pays." in first.select_one(".answer").get_text()
    assert first.select_one(".answer img")["alt"] == "A grey square."
    facts = {dt.get_text(): dt.find_next("dd").get_text() for dt in first.select(".facts dt")}
    assert facts == {"Commit": "abc123", "Device": "Xeon"}
    assert "brain_mri" in first.select_one(".eyebrow").get_text()
    assert "More on that." in soup.main.get_text()


def test_headline_is_not_repeated(page) -> None:
    soup = page(OPENING, headline(ANSWER, picture()))
    assert soup.get_text().count("It pays.") == 1 and len(soup.find_all("img")) == 1
    assert "at the top" in soup.main.get_text()


def test_contents_follow_the_headings_and_lead_to_them(page) -> None:
    soup = page(OPENING, text("## Data & more\n\n### Sources"), text("## Data & more"), text("# Late"))
    links = [a["href"] for a in soup.select("nav li a")]
    assert links == ["#data-more", "#sources", "#data-more-2", "#late"]
    assert all(soup.find(id=link[1:]) for link in links)
    assert len(soup.find_all("h1")) == 1


def test_code_is_folded_and_highlighted(page) -> None:
    soup = page(OPENING, code("def f():\n    return 1"), code("epochs = 3", tags=("injected-parameters",)))
    blocks = soup.select("details.code")
    assert [b.summary.get_text() for b in blocks] == ["Code", "Parameters of this run"]
    assert not any(block.has_attr("open") for block in blocks)
    assert blocks[0].select_one(".highlight .k").get_text() == "def"


def test_formulas_become_mathml_in_cells_and_outputs_but_not_in_code(page) -> None:
    output = shown("text/markdown", "so $\\beta$ holds")
    soup = page(OPENING, text("Here $x_i$ and\n\n$$\\sum_k \\alpha_k$$\n\nand `$y$`"), code("1", output))
    assert [m["display"] for m in soup.find_all("math")] == ["inline", "block", "inline"]
    assert soup.find("code", string="$y$") is not None
    assert "\\alpha" not in soup.main.get_text()


def test_every_picture_keeps_its_alt_size_caption_and_source(page) -> None:
    output = picture("Two curves.", width=45, height=30, caption="Their caption", source="metrics.json")
    figure = page(OPENING, code("1", output)).figure
    assert figure.img["alt"] == "Two curves." and (figure.img["width"], figure.img["height"]) == ("45", "30")
    assert figure.figcaption.get_text() == "Their caption" and figure["data-source"] == "metrics.json"
    assert base64.b64decode(figure.img["src"].split(",")[1]).startswith(b"\x89PNG")


def test_stderr_errors_progress_bars_and_scripts_are_left_out(page) -> None:
    widget = "application/vnd.jupyter.widget-view+json"
    bar = new_output(
        "display_data", data={widget: {"model_id": "1"}, "text/plain": " 10%|# | 1/10 [00:01, 2it/s]"}
    )
    error = new_output("error", ename="ValueError", evalue="no", traceback=["Trace"])
    html = shown("text/html", "<b>kept</b><script src='https://cdn.example/x.js'></script>")
    soup = page(OPENING, code("1", printed("warned!", "stderr"), bar, error, html))
    body = soup.main.get_text()
    assert "warned!" not in body and "Trace" not in body and "interactive" not in body
    assert "kept" in body and "cdn.example" not in str(soup)


def test_widgets_become_stills(page) -> None:
    widget = "application/vnd.jupyter.widget-view+json"
    view = new_output("display_data", data={widget: {"model_id": "1"}, "text/plain": "Slider()"})
    still = new_output("display_data", data={widget: {"model_id": "2"}, "image/png": png()})
    soup = page(OPENING, code("1", view, still))
    assert "interactive view" in soup.select_one("p.still").get_text()
    assert len(soup.main.find_all("img")) == 1


def test_tables_scroll_and_align_by_what_they_hold(page) -> None:
    table = (
        '<div><style scoped>.x{}</style><table border="1" class="dataframe"><thead><tr><th>who</th><th>n</th>'
        "</tr></thead><tbody><tr><td>a</td><td>1.5</td></tr><tr><td>b</td><td>–</td></tr></tbody></table></div>"
    )
    soup = page(OPENING, code("1", shown("text/html", table)))
    assert soup.select_one(".scroll")["tabindex"] == "0"
    assert [cell["class"] for cell in soup.select("tbody tr")[0].find_all("td")] == [["text"], ["num"]]
    assert [cell["class"] for cell in soup.select("thead th")] == [["text"], ["num"]]
    assert "scoped" not in str(soup.main)


def test_nothing_comes_from_the_network(page) -> None:
    soup = page(OPENING, text("A [link](https://doi.org/x)."), headline(ANSWER, picture()))
    assert not soup.select("script[src], iframe, link:not([href^='data:'])")
    assert "url(" not in soup.style.get_text() and "http" not in soup.script.get_text()


def test_a_failed_notebook_says_so_first(page) -> None:
    failure = {"cell": 1, "ename": "ValueError", "evalue": "image <x> is NaN", "source": "train()"}
    error = new_output("error", ename="ValueError", evalue="no", traceback=["\x1b[31mTrace\x1b[0m"])
    soup = page(OPENING, code("train()", error), failure=failure)
    said = soup.select_one("header.first .failure").get_text()
    assert "cell 2" in said and "image <x> is NaN" in said and "train()" in said
    assert soup.select_one("pre.traceback").get_text() == "Trace"


def test_a_card_for_the_gallery_lies_beside(page, run_directory: Path) -> None:
    page(OPENING, headline(ANSWER, picture("Dots.")))
    card = read_json(run_directory / "reports" / "a.card.json")
    assert (card["title"], card["answer"], card["alt"]) == ("Both at once", "It pays.", "Dots.")
    assert base64.b64decode(card["thumbnail"].split(",")[1])[8:12] == b"WEBP"


@pytest.mark.parametrize("opening", [text("No heading at all."), code("x = 1")])
def test_a_notebook_without_title_still_makes_a_page(page, opening) -> None:
    assert page(opening).h1.get_text() == "Untitled"


def test_formula_that_cannot_be_read_is_marked() -> None:
    assert "formula-error" in to_mathml(r"\left( x", "inline")
    assert "math" not in to_mathml(r"\left( x", "inline").replace("formula", "")


@pytest.mark.parametrize("name", ["align", "align*", "aligned", "cases"])
def test_several_lines_become_a_table(name: str) -> None:
    html = render_markdown(f"$$\\begin{{{name}}}a &= b \\\\ c &= d\\end{{{name}}}$$")
    assert html.count("<mtr>") == 2 and "&</mi>" not in html


def test_bare_environments_are_formulas() -> None:
    html = render_markdown(
        "\\begin{align}a &= b \\\\ c &= d\\end{align}\n\n\\begin{equation}x\\end{equation}"
    )
    assert html.count('display="block"') == 2 and "begin" not in html


def test_slugs() -> None:
    assert slug("What <em>it</em> &amp; means?") == "what-it-means"
    assert slug("!!") == "section"
