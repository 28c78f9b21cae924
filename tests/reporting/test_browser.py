"""What people see: a report and the gallery in a real browser, at a desk, on a phone, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_notebooks import code, headline, picture, save, shown, text

from mtl.reporting.gallery import write_gallery
from mtl.reporting.html import export_report
from mtl.reporting.status import edit_status

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def report(run_directory: Path) -> Path:
    wide = "<table><tr>" + "".join(f"<td>column {i} with words</td>" for i in range(30)) + "</tr></table>"
    cells = [
        text("# A title that is long enough to wrap on a phone\n\n**Question.** Does it hold?"),
        *[text(f"## Part {i}\n\n" + "Words. " * 60 + "$$" + "+".join(["x_i"] * 60) + "$$") for i in range(3)],
        code("x = '" + "long " * 60 + "'", shown("text/html", wide)),
        headline(shown("text/markdown", "It does."), picture()),
    ]
    notebook = save(run_directory / "notebooks" / "01_data.ipynb", *cells)
    with edit_status(run_directory) as record:
        record["notebooks"]["01_data"] = {"status": "ok", "title": "Data"}
        record["notebooks"]["02_long"] = {
            "status": "failed",
            "title": "L",
            "failure": {"ename": "E" * 200, "evalue": "x"},
        }
    write_gallery(run_directory.parents[1])
    return export_report(notebook, run_directory / "reports" / "01_data.html")


def look(browser, path: Path, size: dict, **options):
    page = browser.new_page(viewport=size, **options)
    page.asked, page.faults = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.faults.append(message.text))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("which", ["report", "gallery"])
def test_pages_fit_and_ask_for_nothing(browser, report: Path, which: str, size: dict) -> None:
    path = report if which == "report" else report.parents[3] / "index.html"
    write_gallery(report.parents[3])
    page = look(browser, path, size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert [url for url in page.asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.faults == []
    assert all(page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)"))


def test_question_answer_and_picture_are_on_the_first_screen(browser, report: Path) -> None:
    page = look(browser, report, DESK)
    for selector in ("h1", ".question", ".answer .says", ".answer img"):
        box = page.locator(selector).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= DESK["height"]


def test_all_code_opens_and_closes_at_once(browser, report: Path) -> None:
    page = look(browser, report, DESK)
    counts = lambda: page.evaluate("document.querySelectorAll('details.code[open]').length")  # noqa: E731
    assert counts() == 0
    page.get_by_role("button", name="Show all code").click()
    assert counts() == 2
    page.get_by_role("button", name="Hide all code").click()
    assert counts() == 0


def test_without_scripts_code_can_still_be_opened(browser, report: Path) -> None:
    page = look(browser, report, DESK, java_script_enabled=False)
    assert page.locator("#all-code").is_hidden()
    page.locator("details.code summary").first.click()
    assert page.locator("details.code pre").first.is_visible()


def test_paper_shows_no_code_and_no_cut_picture(browser, report: Path) -> None:
    page = look(browser, report, DESK)
    page.emulate_media(media="print")
    assert page.locator("details.code").first.is_hidden() and page.locator("nav").first.is_hidden()
    assert page.locator("figure").first.evaluate("e => getComputedStyle(e).breakInside") == "avoid"
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_report_can_be_reached_by_keyboard(browser, report: Path) -> None:
    write_gallery(report.parents[3])
    page = look(browser, report.parents[3] / "index.html", DESK)
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.card') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url(report.as_uri())
    assert page.title().startswith("A title")
