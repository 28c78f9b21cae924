"""Small notebooks, made by hand, to report on."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def png(width: int = 60, height: int = 40) -> str:
    """A PNG in base64."""
    target = io.BytesIO()
    Image.effect_noise((width, height), 50).save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()


def picture(alt: str | None = "A grey square.", **said: object) -> nbformat.NotebookNode:
    """A displayed picture, with an alternative text unless ``alt`` is None."""
    metadata = {"image/png": {**({"alt": alt} if alt is not None else {}), **said}}
    return new_output("display_data", data={"image/png": png(), "text/plain": "<figure>"}, metadata=metadata)


def shown(kind: str, text: str) -> nbformat.NotebookNode:
    return new_output("display_data", data={kind: text, "text/plain": "<object>"})


def printed(text: str, stream: str = "stdout") -> nbformat.NotebookNode:
    return new_output("stream", name=stream, text=text)


def code(source: str, *outputs: nbformat.NotebookNode, tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def text(source: str) -> nbformat.NotebookNode:
    return new_markdown_cell(source)


def headline(*outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return code("answer()", *outputs, tags=("headline",))


def save(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells), metadata=KERNEL), path)
    return path
