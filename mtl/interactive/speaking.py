"""A widget that says what happened, and that no error in a caller's function can stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anywidget
import traitlets

from mtl.errors import MtlError


class SpeakingWidget(anywidget.AnyWidget):
    """What widgets with an aria-live region share.

    ``message`` is what the region says. An error in a caller's function becomes the message, and is kept in
    ``last_error`` (None where the last call went well): ``raise w.last_error`` shows where it came from.
    """

    message = traitlets.Unicode("").tag(sync=True)
    _failed = traitlets.Bool(False).tag(sync=True)
    _busy = traitlets.Bool(False).tag(sync=True)
    _answers = traitlets.Int(0).tag(sync=True)

    last_error: Exception | None = None

    def say(self, text: str) -> None:
        """Show ``text`` in the widget and have it read out."""
        with self.hold_sync():
            self.message, self._failed = text, False

    def _call(self, announced: str, callback: Callable[[Any], str | None] | None, argument: Any) -> None:
        """Say what happens and run a caller's function; a text that it returns is said."""
        self.say(announced)
        if callback is None:
            return
        with self._at_work(announced.rstrip(".") + " failed"):
            text = callback(argument)
            if text and self.last_error is None:  # an error on the way must not be talked over
                self.say(str(text))

    @contextmanager
    def _at_work(self, what: str) -> Iterator[None]:
        """Busy meanwhile; an error becomes the message and does not leave."""
        outer, self._busy = self._busy, True
        try:
            if not outer:
                self.last_error = None
            yield
        except Exception as error:  # a caller's function may raise anything; the notebook has to go on
            self.fail(error, what)
        finally:
            self._busy = outer

    def fail(self, error: Exception, what: str) -> None:
        """Show ``what`` went wrong and why, and keep the error in ``last_error``."""
        self.last_error = error
        name = "" if isinstance(error, MtlError) else f"{type(error).__name__}: "
        with self.hold_sync():
            self.message, self._failed = f"{what}: {name}{error}", True

    def _answer(self, deeds: Mapping[str, Callable[[dict[str, Any]], Any]], content: dict[str, Any]) -> None:
        """Do what the browser asked for: ``content["do"]`` names one of ``deeds``."""
        try:
            deeds[content["do"]](content)
        except Exception as error:  # from a page that is out of date: say so, and go on
            self.fail(error, "Not done")
        self._answers += 1
