"""Each demo in JupyterLab and in Voila: real clicks, and what they did to the pixels and on the disk."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from notebook_servers import PATIENCE, ROOT, run_all_cells, served, wait_for
from PIL import Image

from mtl.interactive.app import DEMOS, write_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
STATUS = ".mtl-canvas [aria-live=polite]"
#: From the release of the button to the last frame that changed the canvas (first the point, then the mask)
#: before a second without a change: milliseconds.
STOPWATCH = """canvas => canvas.addEventListener("pointerup", () => {
  const small = new OffscreenCanvas(canvas.width / 3, canvas.height / 3);
  const pen = small.getContext("2d", { willReadFrequently: true });
  const look = () => {
    pen.clearRect(0, 0, small.width, small.height);
    pen.drawImage(canvas, 0, 0, small.width, small.height);
    return pen.getImageData(0, 0, small.width, small.height).data.join();
  };
  const start = performance.now();
  let shown = look(), changed = null;
  const watch = () => {
    const now = performance.now(), seen = look();
    if (seen !== shown) [shown, changed] = [seen, now - start];
    if (changed === null || now - start - changed < 1000) requestAnimationFrame(watch);
    else canvas.dataset.milliseconds = changed;
  };
  requestAnimationFrame(watch);
}, { once: true })"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smoke runs of all studies that the demos made for themselves."""
    root = tmp_path_factory.mktemp("outputs")
    command = [sys.executable, "-m", "mtl.cli", "run", "demos", "--params", "smoke", "--no-preflight"]
    command += ["-p", f"output_root={root}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def canvas_colour(page: Any, fx: float, fy: float) -> list[int]:
    """RGBA of the canvas, in fractions of its size."""
    script = "(c, [x, y]) => [...c.getContext('2d').getImageData(x * c.width, y * c.height, 1, 1).data]"
    return page.locator(".mtl-canvas canvas").last.evaluate(script, [fx, fy])


def picture_of(page: Any) -> str:
    return page.locator(".mtl-canvas canvas").last.evaluate("c => c.toDataURL()")


def click_canvas(page: Any, fx: float, fy: float, **options: Any) -> None:
    canvas = page.locator(".mtl-canvas canvas").last
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    canvas.click(position={"x": fx * box["width"], "y": fy * box["height"]}, **options)


def said(page: Any) -> str:
    return page.locator(STATUS).last.inner_text()


def until_said(page: Any, text: str) -> None:
    wait_for(lambda: text in said(page), 60, page, f"{text!r} was never said; last: {said(page)!r}")


def upload(page: Any, file: dict[str, Any]) -> None:
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Upload a slice or volume").last.click()
    chosen.value.set_files(file)


def lines_of(journal: Path) -> int:
    return len(journal.read_text().splitlines()) if journal.exists() else 0


# ---------------------------------------------------------------------- what is done with each page


def proofread(page: Any, run: Path) -> None:
    """Click on a voxel, see the mask; remove the object that is there, and undo that."""
    page.locator(".mtl-canvas canvas").last.wait_for(timeout=PATIENCE)
    newest = max((run / "proofreading").glob("*/*/by_hand"), key=lambda folder: folder.stat().st_mtime)
    journal = newest / "journal.jsonl"
    done, canvas = lines_of(journal), page.locator(".mtl-canvas canvas").last
    canvas.evaluate(STOPWATCH)
    click_canvas(page, 0.45, 0.5)
    until_said(page, "Positive point 1")
    wait_for(
        lambda: canvas.get_attribute("data-milliseconds"), 30, page, "no pixel changed where it was clicked"
    )
    print(f"click to pixel: {float(canvas.get_attribute('data-milliseconds')):.0f} ms")
    page.get_by_role("button", name="Remove").last.click()
    wait_for(lambda: "removed" in said(page) or "does not exist" in said(page), 60, page, said(page))
    removed = "removed" in said(page)
    assert lines_of(journal) == done + removed
    page.get_by_role("button", name="Undo action").last.click()
    until_said(page, "Undone" if removed else "no action")


def annotate(page: Any, run: Path) -> None:
    """Click on what is proposed, or accept all of another tile; train; undo."""
    page.locator(".mtl-canvas canvas").last.wait_for(timeout=PATIENCE)
    journal = run / "annotations" / "by_hand" / "journal.jsonl"
    done, before = lines_of(journal), picture_of(page)
    click_canvas(page, 0.5, 0.5)
    wait_for(lambda: any(t in said(page) for t in ("Accepted", "Added", "Not done")), 60, page, said(page))
    if "Not done" in said(page):
        page.get_by_role("button", name="Next tile").last.click()
        until_said(page, "Tile")
        page.get_by_role("button", name="Accept all").last.click()
        wait_for(lambda: "Accepted" in said(page) or "failed" in said(page), 60, page)
    assert lines_of(journal) > done, said(page)
    wait_for(lambda: picture_of(page) != before, 30, page)
    page.get_by_role("button", name="Train").last.click()
    until_said(page, "Trained")
    page.get_by_role("button", name="Undo action").last.click()
    until_said(page, "Undone")


def look_at_slices(page: Any, run: Path) -> None:
    """Choose another slice, upload a good picture and a bad file."""
    figures = page.locator("figure img")
    figures.first.wait_for(timeout=PATIENCE)
    first = figures.first.get_attribute("src")
    page.locator(".widget-dropdown select").last.select_option(index=1)
    wait_for(lambda: figures.first.get_attribute("src") != first, 60, page)
    target = io.BytesIO()
    grey = np.random.default_rng(0).integers(100, 200, (64, 64)) * (np.hypot(*(np.mgrid[:64, :64] - 32)) < 24)
    Image.fromarray(grey.astype(np.uint8)).save(target, "png")
    upload(page, {"name": "mine.png", "mimeType": "image/png", "buffer": target.getvalue()})
    page.get_by_text("mine.png: ").first.wait_for(timeout=60_000)
    assert figures.count() == 3
    upload(page, {"name": "notes.png", "mimeType": "image/png", "buffer": b"hello"})
    page.get_by_role("alert").filter(has_text="notes.png").wait_for(timeout=60_000)
    assert page.get_by_text("Not a medical device").count()


def play(page: Any, run: Path) -> None:
    """Play the clip, switch between attention and picture."""
    page.locator(".mtl-canvas canvas").last.wait_for(timeout=PATIENCE)
    assert page.get_by_text("Written:").count()
    before = picture_of(page)
    page.get_by_role("button", name="picture", exact=True).last.click()
    wait_for(lambda: picture_of(page) != before, 60, page)
    label = page.locator(".mtl-canvas canvas").last.get_attribute("aria-label")
    page.locator(".jupyter-widget-play button, .widget-play button").first.click()
    wait_for(lambda: page.locator(".mtl-canvas canvas").last.get_attribute("aria-label") != label, 60, page)


FLOWS: dict[str, Callable[[Any, Path], None]] = {
    "em": proofread,
    "histology": annotate,
    "brain_mri": look_at_slices,
    "angiography": play,
}


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    yield opened
    opened.close()


@pytest.mark.parametrize("host", ["voila", "lab"])
@pytest.mark.parametrize("study", sorted(DEMOS))
def test_a_demo_is_clicked(page: Any, outputs: Path, tmp_path: Path, study: str, host: str) -> None:
    run = outputs / study / "smoke"
    notebook = write_page(study, run)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with served(host, notebook, tmp_path) as address:
        page.goto(address, timeout=PATIENCE)
        if host == "lab":
            run_all_cells(page)
        FLOWS[study](page, run)
        shots = Path(os.environ.get("MTL_SCREENSHOTS", tmp_path))
        page.screenshot(path=shots / f"demo_{study}_{host}.png", full_page=host == "voila")
    outside = [url for url in asked if "127.0.0.1" not in url and not url.startswith(("data:", "blob:"))]
    assert outside == [], "the page works without the network"


@pytest.mark.parametrize(("study", "host"), [("em", "voila"), ("em", "lab"), ("histology", "voila")])
def test_a_killed_kernel_loses_no_accepted_action(
    page: Any, outputs: Path, tmp_path: Path, study: str, host: str
) -> None:
    run = outputs / study / "smoke"
    with served(host, write_page(study, run), tmp_path) as address:
        page.goto(address, timeout=PATIENCE)
        if host == "lab":
            run_all_cells(page)
        page.locator(".mtl-canvas canvas").last.wait_for(timeout=PATIENCE)
        if study == "em":
            click_canvas(page, 0.45, 0.5)
            until_said(page, "Positive point 1")
            page.get_by_role("button", name="Accept").last.click()
            wait_for(lambda: any(t in said(page) for t in ("accepted:", "replaced:")), 60, page, said(page))
        else:
            page.get_by_role("button", name="Accept all").last.click()
            until_said(page, "Accepted")
        journal = max(run.rglob("by_hand/**/journal.jsonl"), key=lambda path: path.stat().st_mtime)
        kept = journal.read_text()
        assert kept.endswith("}\n")
        kill_kernels()
        page.goto("about:blank")
        page.goto(address, timeout=PATIENCE)
        if host == "lab":
            run_all_cells(page)
        page.locator(".mtl-canvas canvas").last.wait_for(timeout=PATIENCE)
        wait_for(lambda: "are there from before" in said(page), 60, page, "nothing is said of what was kept")
        assert journal.read_text() == kept
        shots = Path(os.environ.get("MTL_SCREENSHOTS", tmp_path))
        page.screenshot(path=shots / f"reopened_{study}_{host}.png", full_page=host == "voila")


def kill_kernels() -> None:
    """SIGKILL to every kernel below this process."""
    children = psutil.Process().children(recursive=True)
    kernels = [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]
    assert kernels, "no kernel was found"
    for kernel in kernels:
        kernel.kill()
    psutil.wait_procs(kernels, timeout=20)


def test_runs_of_the_demos_say_what_they_stood_on(outputs: Path) -> None:
    record = json.loads((outputs / "demos" / "smoke" / "run.json").read_text())
    assert {entry["status"] for entry in record["notebooks"].values()} == {"ok"}
