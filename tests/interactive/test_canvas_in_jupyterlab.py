"""The canvas in JupyterLab itself: a click reaches the kernel, and its mask comes back to the pixels."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from notebook_servers import run_all_cells, served, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CELL = """
import json, pathlib
import numpy as np
from mtl.interactive.canvas import CanvasWidget

def on_points(points):
    pathlib.Path("points.json").write_text(json.dumps(points))
    mask = np.zeros((3, 30, 40), bool)
    mask[:, :, :20] = bool(points)
    return mask

w = CanvasWidget(np.full((3, 30, 40), 128, np.uint8), "grey volume", on_points=on_points, height=300)
w
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a JupyterLab in an empty folder with one notebook, and that folder."""
    folder = tmp_path_factory.mktemp("lab")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)], metadata=kernel), folder / "w.ipynb"
    )
    with served("lab", folder / "w.ipynb", folder) as address:
        yield address, folder


def colour(page: Any, fx: float, fy: float) -> list[int]:
    """RGBA of the canvas, in fractions of its size."""
    return page.locator(".mtl-canvas canvas").evaluate(
        "(c, [x, y]) => [...c.getContext('2d').getImageData(x * c.width, y * c.height, 1, 1).data]", [fx, fy]
    )


def points(folder: Path) -> list[list[int]]:
    file = folder / "points.json"
    return json.loads(file.read_text() or "[]") if file.exists() else []


def until_idle(page: Any) -> None:
    page.locator(".mtl-canvas[aria-busy=false]").wait_for()


def test_clicks_and_keys_in_jupyterlab(browser, lab, tmp_path) -> None:
    address, folder = lab
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    shots = Path(os.environ.get("MTL_SCREENSHOTS", tmp_path))
    run_all_cells(page)
    canvas = page.locator(".mtl-canvas canvas")
    canvas.wait_for(timeout=120_000)
    wait_for(lambda: colour(page, 0.5, 0.5) == [128, 128, 128, 255], 30, page)
    box = canvas.bounding_box()

    canvas.click(position={"x": 0.6 * box["width"], "y": 0.5 * box["height"]})
    wait_for(lambda: len(points(folder)) == 1, 30, page)
    wait_for(lambda: colour(page, 0.4, 0.3) != [128, 128, 128, 255], 30, page)
    until_idle(page)
    assert points(folder)[0][0] == 0 and points(folder)[0][3] == 1
    assert "Positive point 1" in page.locator(".mtl-canvas [aria-live]").inner_text()

    canvas.click(button="right", position={"x": 0.45 * box["width"], "y": 0.5 * box["height"]})
    wait_for(lambda: len(points(folder)) == 2, 30, page)
    assert points(folder)[1][3] == 0 and page.locator(".lm-Menu").count() == 0  # no menu of JupyterLab

    cells = page.locator(".jp-Cell").count()
    canvas.focus()
    page.keyboard.press("k")
    for key, labels in (("Enter", [1, 0, 1]), ("Control+z", [1, 0]), ("Shift+Enter", [1, 0, 0])):
        until_idle(page)  # a point is refused while the last one is at work
        page.keyboard.press(key)  # which means something else to JupyterLab
        wait_for(lambda labels=labels: [point[3] for point in points(folder)] == labels, 30, page)
    assert page.locator(".jp-Cell").count() == cells and canvas.is_visible()

    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, 100)
    label = re.compile("slice 1 of 0 to 2")
    wait_for(lambda: label.search(canvas.get_attribute("aria-label") or ""), 30, page)
    page.screenshot(path=shots / "canvas_jupyterlab.png")
    assert [url for url in asked if "127.0.0.1" not in url and not url.startswith(("data:", "blob:"))] == []
    page.close()
