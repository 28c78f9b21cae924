"""Progress of a stage: a bar with ETA where a person looks on, a heartbeat file where a batch runs.

``mtl run`` sets ``MTL_HEARTBEAT`` to a file for each notebook; the loop then keeps one line of JSON
there (what runs, how far it is) instead of drawing bars that nobody sees.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mtl.files import write_json

HEARTBEAT_VARIABLE = "MTL_HEARTBEAT"
_SECONDS_BETWEEN_BEATS = 2.0


class NotebookBar(tqdm):
    """A bar as the text of one output that is replaced, and emptied at the end.

    tqdm's own bar of a notebook is a widget: closed, it leaves "model not found" where the notebook is opened
    again, and in Voila.
    """

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """What tqdm calls with every new text."""
        from IPython.display import display

        shown = display({"text/plain": ""}, raw=True, display_id=True)
        return lambda text: shown.update({"text/plain": text}, raw=True)


def _in_kernel() -> bool:
    """Whether a notebook runs this; the package of kernels may be imported elsewhere, too."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


class StageProgress:
    """Counts optimiser steps of one stage.

    Args:
        label: what is shown, e.g. ``fold 2 of 5, joint``.
        total: steps of the stage.
        done: steps that an interrupted run had made.
        show: false on all ranks but the first.
        on_step: called with ``(done, total)`` after every step; then no bar is drawn here.
    """

    def __init__(
        self,
        label: str,
        total: int,
        done: int = 0,
        show: bool = True,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        self.label, self.total, self.done, self.on_step = label, total, done, on_step
        heartbeat = os.environ.get(HEARTBEAT_VARIABLE)
        self._heartbeat = Path(heartbeat) if heartbeat and show else None
        self._last_beat = 0.0
        visible = show and self._heartbeat is None and on_step is None
        bar = {"total": total, "initial": done, "desc": label, "unit": "step", "leave": False}
        bar["disable"] = not visible
        in_notebook = {"file": io.StringIO(), "ascii": False}
        self._bar = NotebookBar(**bar, **in_notebook) if _in_kernel() else tqdm(**bar)

    def advance(self) -> None:
        """One optimiser step was made."""
        self.done += 1
        self._bar.update(1)
        if self.on_step is not None:
            self.on_step(self.done, self.total)
        now = time.monotonic()
        if self._heartbeat is not None and now - self._last_beat > _SECONDS_BETWEEN_BEATS:
            self._last_beat = now
            write_json(self._heartbeat, {"label": self.label, "done": self.done, "total": self.total})

    def close(self) -> None:
        """Remove the bar and the heartbeat."""
        self._bar.close()
        if self._heartbeat is not None:
            self._heartbeat.unlink(missing_ok=True)
