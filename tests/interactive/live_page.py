"""A page with the real canvas.js on a small model whose messages go to a real widget in this process."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from mtl.interactive import canvas
from mtl.interactive.canvas import CanvasWidget

FRONT_END = Path(canvas.__file__).parent
ADDRESS = "http://canvas.test/"
LEFT_OUT = ("_model", "_view", "_dom", "_anywidget", "_esm", "_css", "layout", "tabbable", "tooltip")
PAGE = """<!doctype html><meta charset="utf-8">
<link rel="stylesheet" href="canvas.css">
<style>body { margin: 12px; font-family: sans-serif; background: BACK }</style>
<div id="here" style="width: WIDTHpx"></div>
<script type="module">
import front from "./canvas.js";
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const state = {}, heard = {}, pending = {};
window.sent = [];
window.take = (news) => {              // as the real model: all values first, then the events
  const changed = [];
  for (const [name, value] of Object.entries(news)) {
    const packed = value !== null && typeof value === "object" && "base64" in value;
    state[name] = packed ? bytes(value.base64) : value;
    changed.push(name);
  }
  for (const name of changed) for (const act of heard[name] ?? []) act();
};
const model = {
  get: (name) => state[name],
  set: (name, value) => {
    state[name] = pending[name] = value;
    for (const act of heard[name] ?? []) act();
  },
  save_changes: () => {
    const news = { ...pending };
    for (const name in pending) delete pending[name];
    toPython("set", news);
  },
  send: (content) => { window.sent.push(content); toPython("send", content); },
  on: (event, act) => { (heard[event.slice(7)] ??= []).push(act); },
  off: (event, act) => { heard[event.slice(7)] = heard[event.slice(7)].filter((a) => a !== act); },
};
window.take(await toPython("start", null));
window.close_view = front.render({ model, el: document.getElementById("here") });
window.listeners = () => Object.values(heard).flat().length;
window.ready = true;
</script>"""


class LivePage:
    """A browser page and the widget behind it; ``page`` is Playwright's."""

    def __init__(self, browser: Any, widget: CanvasWidget, width: int = 760, **options: Any) -> None:
        self.widget, self.faults, self._known = widget, [], {}
        self.page = browser.new_page(viewport={"width": width + 24, "height": 720}, **options)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self._heard(message.text))
        self.page.expose_function("toPython", self._to_python)
        dark = options.get("color_scheme") == "dark"
        html = PAGE.replace("WIDTH", str(width)).replace("BACK", "#16191d" if dark else "white")
        self.page.route(f"{ADDRESS}**", lambda route: self._serve(route, html))
        self.page.goto(ADDRESS)
        self.page.wait_for_function("window.ready")
        self.settle()

    def _heard(self, text: str) -> None:
        if "getImageData" not in text:  # the tests read pixels, the page does not
            self.faults.append(text)

    def _serve(self, route: Any, html: str) -> None:
        name = route.request.url.removeprefix(ADDRESS)
        kinds = {"": "text/html", "canvas.js": "text/javascript", "canvas.css": "text/css"}
        if name not in kinds:
            route.fulfill(status=204 if name == "favicon.ico" else 404)
        else:
            route.fulfill(body=(FRONT_END / name).read_text() if name else html, content_type=kinds[name])

    def _to_python(self, kind: str, content: Any) -> dict[str, Any] | None:
        if kind == "start":
            return self._news()
        if kind == "set":
            self.widget.set_state(content)
        else:
            self.widget._handle_custom_msg(content, [])
        return None

    def _news(self) -> dict[str, Any]:
        """The synced traits that changed since the page was told last."""
        state = {k: v for k, v in self.widget.get_state().items() if not k.startswith(LEFT_OUT)}
        news = {k: v for k, v in state.items() if k not in self._known or self._known[k] != v}
        self._known = state
        return {
            k: {"base64": base64.b64encode(v).decode()} if isinstance(v, bytes) else v
            for k, v in news.items()
        }

    def settle(self) -> None:
        """Hand Python's changes to the page until nothing is under way, and wait until they are drawn."""
        for _ in range(20):
            self.page.wait_for_timeout(30)
            news = self._news()
            if not news:
                return
            self.page.evaluate("(news) => window.take(news)", news)
        raise AssertionError("the page and the widget never come to rest")

    @property
    def canvas(self) -> Any:
        """The canvas element."""
        return self.page.locator("canvas")

    @property
    def status(self) -> str:
        """What the live region says."""
        return self.page.locator("[aria-live=polite]").inner_text()

    def at(self, fx: float, fy: float) -> tuple[float, float]:
        """Page coordinates of a place in the canvas, in fractions of its width and height."""
        box = self.canvas.bounding_box()
        return round(box["x"] + fx * box["width"]), round(box["y"] + fy * box["height"])

    def colour(self, x: float, y: float) -> tuple[int, ...]:
        """RGBA that the canvas shows at page coordinates."""
        box = self.canvas.bounding_box()
        script = """([x, y]) => { const c = document.querySelector("canvas"), r = window.devicePixelRatio;
            return [...c.getContext("2d").getImageData(x * r, y * r, 1, 1).data]; }"""
        return tuple(self.page.evaluate(script, [x - box["x"], y - box["y"]]))

    def click(self, x: float, y: float, **options: Any) -> None:
        """A real click, and what comes of it."""
        self.page.mouse.click(x, y, **options)
        self.settle()

    def press(self, key: str) -> None:
        """A real key, and what comes of it."""
        self.page.keyboard.press(key)
        self.settle()
