// The front end of mtl/interactive/canvas.py: draws what Python sent, sends back what was pointed at.
// It keeps the view (zoom, pan, keyboard cursor, an unfinished outline) and nothing else.

const POSITIVE = "#0072B2", NEGATIVE = "#D55E00", OUTLINE = "#F0E442"; // as in pictures.py
const LAYERS = ["_image_png", "_instances_png", "_mask_png"]; // from the bottom up
const MOST_ZOOM = 64, ZOOM_STEP = 1.25, DISC = 9, SLIP = 5, WHEEL_NOTCH = 50, PATIENCE = 8000;
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const LOOK_KEYS = [
  ["Wheel, Page Up/Down", "slice of a volume, frame of a film"],
  ["Ctrl+wheel, + and −, 0", "zoom, whole image"],
  ["Space+drag, middle button, arrows", "move the view"],
];
const POINT_KEYS = [
  ["Click", "positive point"],
  ["Right click, Shift+click", "negative point"],
  ["K", "keyboard cursor: arrows move it (Shift: by 10), Enter or P positive, Shift+Enter or N negative"],
  ["Ctrl+Z, Ctrl+Y, Escape", "undo, redo, clear"],
  ["O", "outline: drag around an object; or with K, Enter for each corner and Shift+Enter to close"],
];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Where the image lies in the canvas: CSS pixels per image pixel, and its top left corner. */
class View {
  constructor() {
    Object.assign(this, { scale: 1, left: 0, top: 0, width: 1, height: 1, rows: 1, columns: 1 });
  }
  get whole() { return Math.min(this.width / this.columns, this.height / this.rows); }
  fit() {
    this.scale = this.whole;
    this.left = (this.width - this.columns * this.scale) / 2;
    this.top = (this.height - this.rows * this.scale) / 2;
  }
  resize(width, height) {
    const fitted = this.scale <= this.whole * 1.001;
    this.left += (width - this.width) / 2;
    this.top += (height - this.height) / 2;
    Object.assign(this, { width, height });
    if (fitted || this.scale < this.whole) this.fit();
  }
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const lowest = this.whole, scale = Math.max(lowest, Math.min(Math.max(MOST_ZOOM, lowest), this.scale * factor));
    this.left = px - ((px - this.left) * scale) / this.scale;
    this.top = py - ((py - this.top) * scale) / this.scale;
    this.scale = scale;
    this.move(0, 0);
  }
  move(dx, dy) { // the image stays in sight: centred where it is smaller than the canvas
    const keep = (start, size, room) =>
      size <= room ? (room - size) / 2 : Math.min(room / 2, Math.max(room / 2 - size, start));
    this.left = keep(this.left + dx, this.columns * this.scale, this.width);
    this.top = keep(this.top + dy, this.rows * this.scale, this.height);
  }
  show(y, x) { // move just so far that a pixel is in sight
    const margin = 24, [px, py] = this.at(y, x);
    const by = (p, room) => (p < margin ? margin - p : p > room - margin ? room - margin - p : 0);
    this.move(by(px, this.width), by(py, this.height));
  }
  at(y, x) { return [this.left + (x + 0.5) * this.scale, this.top + (y + 0.5) * this.scale]; }
  place(px, py) { return [(py - this.top) / this.scale - 0.5, (px - this.left) / this.scale - 0.5]; }
  clamp(y, x) {
    const within = (value, size) => Math.max(-0.5, Math.min(size - 0.5, value));
    return [within(y, this.rows), within(x, this.columns)];
  }
  pixel(px, py) { // null outside of the image
    const [y, x] = this.place(px, py).map((value) => Math.round(value) + 0); // no -0
    return y >= 0 && x >= 0 && y < this.rows && x < this.columns ? [y, x] : null;
  }
}

class Canvas {
  constructor(model, el) {
    Object.assign(this, { model, view: new View(), bitmaps: {}, ticket: 0, shown: 0, wheel: 0, ratio: 1 });
    Object.assign(this, { cursor: null, drawing: [], drag: null, space: false, wanted: null, hovered: null });
    this.build(el);
    this.listen();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
    this.watchScreen();
    this.update();
    this.say(this.get("message"), this.get("_failed")); // said before anybody looked
  }

  get(name) { return this.model.get(name); }
  get flat() { return this.get("_shape")[0] === 1; }
  get canPlace() { return this.bitmaps._image_png?.bitmap != null; }

  // ---- the page ----

  button(text, title, act) {
    return make("button", { type: "button", title, onclick: act }, text);
  }

  slider(text, attributes, act) {
    const value = make("output");
    const input = make("input", { type: "range", ...attributes, oninput: () => act(Number(input.value)) });
    const row = make("label", { class: "slider" }, make("span", {}, text), input, value);
    return { row, input, value };
  }

  build(el) {
    const send = (what) => () => this.send({ do: what });
    this.undo = this.button("Undo", "Undo (Ctrl+Z)", send("undo"));
    this.redo = this.button("Redo", "Redo (Ctrl+Y)", send("redo"));
    this.clear = this.button("Clear", "Remove all points (Escape)", send("clear"));
    const out = this.button("−", "Zoom out (−)", () => this.zoom(1 / ZOOM_STEP));
    const zoomIn = this.button("+", "Zoom in (+)", () => this.zoom(ZOOM_STEP));
    out.setAttribute("aria-label", "Zoom out");
    zoomIn.setAttribute("aria-label", "Zoom in");
    this.percent = make("span", { class: "percent" });
    const fit = this.button("Fit", "Show the whole image (0)", () => this.fit());
    this.keyboard = this.button("Keyboard cursor", "Point without a mouse (K)", () => this.toggleCursor());
    this.outlining = this.button("Outline", "Draw around an object (O)", () => this.toggleOutline());
    const group = (name, kind, ...nodes) => make("div", { role: "group", "aria-label": name, class: kind }, ...nodes);
    this.presses = group("Actions", "presses");
    const bar = make("div", { class: "bar", role: "toolbar", "aria-label": "Canvas tools" },
      group("Points", "pointing", this.undo, this.redo, this.clear),
      group("Zoom", "looking", out, this.percent, zoomIn, fit),
      group("Modes", "pointing", this.keyboard, this.outlining), this.presses);

    this.canvas = make("canvas", { tabindex: "0", role: "application", "aria-roledescription": "image to point at" });
    this.stage = make("div", { class: "stage" }, this.canvas);
    this.count = make("h4");
    this.list = make("ol");
    const side = make("section", { class: "points pointing", "aria-label": "Points" }, this.count, this.list);
    this.slice = this.slider(this.sliceName(), { min: 0, step: 1 }, (z) => this.askSlice(z));
    const opacity = (text, name) => this.slider(text, { min: 0, max: 100, step: 5 }, (percent) => {
      this.model.set(name, percent / 100);
      this.model.save_changes();
    });
    this.maskOpacity = opacity("Mask opacity", "mask_opacity");
    this.instanceOpacity = opacity("Instances opacity", "instance_opacity");
    this.status = make("div", { class: "status", role: "status", "aria-live": "polite", "aria-atomic": "true" });
    this.readout = make("div", { class: "readout", "aria-hidden": "true" });
    const row = (kind) => ([key, what]) => [make("dt", { class: kind }, key), make("dd", { class: kind }, what)];
    const help = make("dl", {}, ...POINT_KEYS.flatMap(row("pointing")), ...LOOK_KEYS.flatMap(row("looking")));
    const frame = { class: "mtl-canvas", role: "group", "data-lm-suppress-shortcuts": "true" };
    this.root = make("div", frame, bar, make("div", { class: "middle" }, this.stage, side), this.slice.row,
      make("div", { class: "opacities" }, this.maskOpacity.row, this.instanceOpacity.row),
      make("div", { class: "foot" }, this.status, this.readout),
      make("details", {}, make("summary", {}, "Mouse and keys"), help));
    el.append(this.root);
  }

  // ---- from Python ----

  listen() {
    const model = this.model, on = (names, act) => {
      for (const name of names) model.on(`change:${name}`, act);
      (this.heard ??= []).push(...names.map((name) => [`change:${name}`, act]));
    };
    on([...LAYERS, "_shape", "_shown_slice"], () => this.refreshSoon());
    on(["points", "_can_undo", "_can_redo", "_buttons", "_busy", "mode", "label", "_can_outline", "height",
      "mask_opacity", "instance_opacity", "slice_index", "takes_points"], () => this.update());
    on(["message", "_failed"], () => this.say(this.get("message"), this.get("_failed")));
    on(["_answers"], () => this.answered());
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("keyup", (event) => { if (event.key === " ") this.hold(false); });
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.abandon());
    canvas.addEventListener("pointerenter", () => this.takeKeys());
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("blur", () => this.hold(false));
    canvas.addEventListener("mousedown", (event) => event.preventDefault()); // no autoscroll, no selection
    canvas.addEventListener("contextmenu", (event) => { event.preventDefault(); event.stopPropagation(); });
    canvas.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
  }

  close() {
    this.observer.disconnect();
    this.screen.removeEventListener("change", this.screenChanged);
    clearTimeout(this.patience);
    for (const [name, act] of this.heard) this.model.off(name, act);
  }

  update() {
    const busy = this.get("_busy"), outline = this.get("mode") === "outline", points = this.get("points");
    const [slices, rows, columns] = this.get("_shape");
    this.root.setAttribute("aria-label", this.get("label"));
    this.root.classList.toggle("busy", busy);
    this.root.classList.toggle("look-only", !this.get("takes_points"));
    this.root.setAttribute("aria-busy", String(busy));
    this.canvas.setAttribute("aria-label", `${this.get("label")}, ${columns} wide, ${rows} high` +
      (this.flat ? "" : `, ${this.get("slice_name").split(" ")[0]} ${this.shown} of 0 to ${slices - 1}`));
    this.stage.style.height = `${this.get("height")}px`;
    this.undo.disabled = !this.get("_can_undo");
    this.redo.disabled = !this.get("_can_redo");
    this.clear.disabled = points.length === 0;
    this.outlining.hidden = !this.get("_can_outline");
    this.outlining.setAttribute("aria-pressed", String(outline));
    this.keyboard.setAttribute("aria-pressed", String(this.cursor !== null));
    if (busy) clearTimeout(this.patience); // it says itself that it is at work
    this.updateButtons(busy);
    this.slice.row.hidden = this.flat;
    this.slice.input.max = slices - 1;
    if (this.wanted === null) this.setSlice(this.get("slice_index"));
    for (const [slider, name] of [[this.maskOpacity, "mask"], [this.instanceOpacity, "instance"]]) {
      slider.input.value = Math.round(100 * this.get(`${name}_opacity`));
      slider.value.textContent = `${slider.input.value} %`;
    }
    this.updateList(points);
    this.refreshSoon();
  }

  updateButtons(busy) {
    const names = this.get("_buttons");
    if ([...this.presses.children].map((node) => node.textContent).join("\n") !== names.join("\n"))
      this.presses.replaceChildren(...names.map((name) =>
        this.button(name, name, () => { if (!this.get("_busy")) this.send({ do: "press", button: name }); })));
    for (const node of this.presses.children) node.setAttribute("aria-disabled", String(busy));
  }

  updateList(points) {
    const positive = points.filter((point) => point[3]).length;
    const focused = [...this.list.children].findIndex((item) => item.contains(document.activeElement));
    this.count.textContent = points.length ? `Points: ${positive} +, ${points.length - positive} −` : "No points yet";
    this.list.replaceChildren(...points.map(([z, y, x, label], index) => {
      const where = (this.flat ? "" : `z ${z}, `) + `y ${y}, x ${x}`;
      const show = () => {
        if (z !== this.shown) this.askSlice(z);
        this.view.show(y, x);
        this.draw();
      };
      const sign = make("b", { class: label ? "positive" : "negative" }, label ? "+" : "−");
      const entry = make("button", { type: "button", title: "Show this point", onclick: show }, sign, where);
      entry.setAttribute("aria-label", `Point ${index + 1}, ${label ? "positive" : "negative"}, ${where}: show it`);
      return make("li", {}, entry);
    }));
    if (focused >= 0) (this.list.children[Math.min(focused, points.length - 1)]?.firstChild ?? this.canvas).focus();
    this.list.lastChild?.scrollIntoView?.({ block: "nearest", container: "nearest" });
  }

  sliceName() { return this.get("slice_name").replace(/^./, (first) => first.toUpperCase()); }

  setSlice(z) {
    this.slice.input.value = z;
    this.slice.value.textContent = `${z} of 0–${this.get("_shape")[0] - 1}`;
  }

  refreshSoon() { // several traits change at once: decode them together
    if (this.soon) return;
    this.soon = true;
    queueMicrotask(() => { this.soon = false; this.refresh(); });
  }

  async refresh() {
    const ticket = ++this.ticket, shown = this.get("_shown_slice"), [, rows, columns] = this.get("_shape");
    const decoded = await Promise.all(LAYERS.map((name) => this.decode(name)));
    if (ticket !== this.ticket) return; // something newer is under way
    LAYERS.forEach((name, index) => { this.bitmaps[name] = decoded[index]; });
    const changed = this.shown !== shown;
    this.shown = shown;
    this.maskOpacity.row.hidden = !this.bitmaps._mask_png.bitmap;
    this.instanceOpacity.row.hidden = !this.bitmaps._instances_png.bitmap;
    if (this.view.rows !== rows || this.view.columns !== columns) {
      Object.assign(this.view, { rows, columns });
      this.cursor &&= [Math.floor(rows / 2), Math.floor(columns / 2)];
      this.view.fit();
    }
    if (changed) this.drawing = [];
    if (changed) this.update();
    this.draw();
  }

  async decode(name) {
    const bytes = this.get(name), kept = this.bitmaps[name];
    if (kept && kept.bytes === bytes) return kept;
    if (!bytes || !bytes.byteLength) return { bytes, bitmap: null };
    return { bytes, bitmap: await createImageBitmap(new Blob([bytes], { type: "image/png" })) };
  }

  say(text, failed = false) {
    this.status.textContent = text;
    this.status.classList.toggle("failed", failed);
  }

  // ---- to Python ----

  send(content) {
    clearTimeout(this.patience);
    this.patience = setTimeout(() =>
      this.say("Python has not answered yet: the kernel is busy, or it has stopped.", true), PATIENCE);
    this.model.send(content);
  }

  answered() {
    clearTimeout(this.patience);
    this.say(this.get("message"), this.get("_failed")); // even where it is what was said before
    if (this.wanted === null) return;
    if (this.wanted !== this.get("slice_index") && this.wanted !== this.asked) return this.sendSlice();
    this.wanted = this.asked = null; // there, or Python would not go there
    this.setSlice(this.get("slice_index"));
  }

  askSlice(z) { // one question at a time: a fast wheel skips slices rather than queueing them
    const last = this.get("_shape")[0] - 1, wanted = Math.max(0, Math.min(last, z));
    if (wanted === (this.wanted ?? this.get("slice_index"))) return;
    const waiting = this.wanted !== null;
    this.wanted = wanted;
    this.setSlice(wanted);
    if (!waiting) this.sendSlice();
  }

  sendSlice() {
    this.asked = this.wanted;
    this.send({ do: "slice", index: this.wanted });
  }

  pointAt(what) { // the era tells Python which picture was pointed at
    if (this.get("_busy")) this.say("Still at work: wait, then point again.");
    else this.send({ ...what, z: this.shown, era: this.get("_era") });
  }

  place(pixel, positive) {
    if (!this.canPlace) return;
    if (pixel) this.pointAt({ do: "point", y: pixel[0], x: pixel[1], positive });
    else this.say("Outside of the image: no point set.");
  }

  finishOutline() {
    const vertices = this.drawing;
    this.drawing = [];
    if (vertices.length >= 3) this.pointAt({ do: "outline", vertices });
    else this.say("An outline needs at least three corners: drag around the object.");
    this.draw();
  }

  // ---- mouse ----

  where(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    if (this.drag) return;
    const [px, py] = this.where(event), { button } = event;
    const outline = this.get("mode") === "outline" && button === 0;
    const pans = button === 1 || (button === 0 && (this.space || !this.get("takes_points")));
    const kind = pans ? "pan" : outline ? "outline" : "click";
    if (button > 2 || (kind === "click" && !this.get("takes_points")) || (outline && kind === "outline" && !this.view.pixel(px, py))) return;
    this.drag = { kind, px, py, from: [px, py], id: event.pointerId };
    this.drag.negative = button === 2 || event.shiftKey || event.ctrlKey; // ctrl: a Mac's right click
    this.canvas.setPointerCapture(event.pointerId);
    if (kind === "outline") this.drawing = [this.view.place(px, py)];
    this.shape();
  }

  moved(event) {
    const [px, py] = this.where(event), drag = this.drag;
    this.hover(this.view.pixel(px, py));
    if (!drag || drag.id !== event.pointerId) return;
    if (drag.kind === "pan") this.view.move(px - drag.px, py - drag.py);
    if (drag.kind === "outline") this.lengthen(px, py);
    if (drag.kind !== "click") Object.assign(drag, { px, py });
    if (drag.kind !== "click") this.draw();
  }

  lengthen(px, py) { // a vertex for every pixel of the image or of the screen, whichever is larger
    const [y, x] = this.view.clamp(...this.view.place(px, py)), [y0, x0] = this.drawing.at(-1);
    if (Math.hypot(y - y0, x - x0) >= Math.max(1, 2 / this.view.scale)) this.drawing.push([y, x]);
  }

  up(event) {
    const drag = this.drag;
    if (!drag || drag.id !== event.pointerId) return;
    this.drag = null;
    this.shape();
    if (drag.kind === "outline") this.finishOutline();
    if (drag.kind !== "click") return;
    const [px, py] = this.where(event);
    if (Math.hypot(px - drag.px, py - drag.py) <= SLIP) this.place(this.view.pixel(drag.px, drag.py), !drag.negative);
    else this.say("The pointer moved, so no point was set. Hold Space to move the view.");
  }

  abandon() {
    this.drag = null;
    this.drawing = [];
    this.shape();
    this.draw();
  }

  wheeled(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY)) / 400), ...this.where(event));
    } else if (!this.flat) {
      event.preventDefault();
      const notch = event.deltaMode !== 0 || Math.abs(event.deltaY) >= WHEEL_NOTCH;
      this.wheel = notch ? Math.sign(event.deltaY) * WHEEL_NOTCH : this.wheel + event.deltaY;
      if (Math.abs(this.wheel) < WHEEL_NOTCH) return;
      this.step(Math.sign(this.wheel));
      this.wheel = 0;
    }
  }

  hover(pixel) {
    this.hovered = pixel;
    this.readout.textContent = pixel ? `y ${pixel[0]}, x ${pixel[1]}` : "";
  }

  takeKeys() { // under the pointer keys are meant for the image, unless somebody types elsewhere
    const at = document.activeElement, ours = this.root.contains(at) && !at.matches("input");
    if (!at || at === document.body || ours) this.canvas.focus({ preventScroll: true });
  }

  hold(down) {
    this.space = down;
    this.shape();
  }

  shape() {
    const pans = this.space || this.drag?.kind === "pan" || !this.get("takes_points");
    this.canvas.style.cursor = pans ? (this.drag ? "grabbing" : "grab") : "crosshair";
  }

  // ---- keys ----

  key(event) {
    const everywhere = this.get("takes_points") ? this.everywhere(event) : null;
    const act = everywhere ?? (event.target === this.canvas ? this.onCanvas(event) : null);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  everywhere(event) {
    const key = event.key.toLowerCase(), control = event.ctrlKey || event.metaKey;
    if (control && key === "z") return () => this.send({ do: event.shiftKey ? "redo" : "undo" });
    if (control && key === "y") return () => this.send({ do: "redo" });
    if (key === "escape") return () => this.escape();
    return null;
  }

  onCanvas(event) {
    const { key, shiftKey } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return null;
    if (key in ARROWS) return () => this.arrow(ARROWS[key], shiftKey);
    const looking = {
      "+": () => this.zoom(ZOOM_STEP), "=": () => this.zoom(ZOOM_STEP), "-": () => this.zoom(1 / ZOOM_STEP),
      0: () => this.fit(), " ": () => this.hold(true), pageup: () => this.step(-1), pagedown: () => this.step(1),
    };
    const pointing = {
      k: () => this.toggleCursor(), enter: () => this.enter(shiftKey),
      p: () => this.atCursor(true), n: () => this.atCursor(false),
    };
    const keys = this.get("takes_points") ? { ...looking, ...pointing } : looking;
    if (this.get("takes_points") && this.get("_can_outline")) keys.o = () => this.toggleOutline();
    if (this.flat && key.startsWith("Page")) return null;
    return keys[key.toLowerCase()];
  }

  escape() {
    if (this.drawing.length) {
      this.abandon();
      this.say("Outline abandoned.");
    } else this.send({ do: "clear" });
  }

  arrow([down, right], far) {
    if (!this.cursor) {
      this.view.move(-right * 40, -down * 40);
      return this.draw();
    }
    const by = far ? 10 : 1, within = (value, size) => Math.max(0, Math.min(size - 1, value));
    this.cursor = [within(this.cursor[0] + down * by, this.view.rows), within(this.cursor[1] + right * by, this.view.columns)];
    this.view.show(...this.cursor);
    this.say(`Cursor at y ${this.cursor[0]}, x ${this.cursor[1]}.`);
    this.draw();
  }

  enter(shift) {
    if (this.get("mode") !== "outline") return this.atCursor(!shift);
    if (shift) return this.finishOutline();
    if (!this.cursor) return this.toggleCursor();
    this.drawing.push([...this.cursor]);
    this.say(`Corner ${this.drawing.length} at y ${this.cursor[0]}, x ${this.cursor[1]}; Shift+Enter closes the outline.`);
    this.draw();
  }

  atCursor(positive) {
    if (this.cursor) this.place(this.cursor, positive);
    else this.toggleCursor();
  }

  toggleCursor() {
    const { view } = this, centre = view.clamp(...view.place(view.width / 2, view.height / 2)).map(Math.round);
    this.cursor = this.cursor ? null : view.clamp(...centre).map((v) => Math.max(0, Math.floor(v + 0.5)));
    if (this.cursor) this.cursor = [Math.min(view.rows - 1, this.cursor[0]), Math.min(view.columns - 1, this.cursor[1])];
    const keys = "Arrows move it, with Shift by 10 pixels; Enter sets a positive, Shift+Enter a negative point.";
    this.say(this.cursor ? `Keyboard cursor at y ${this.cursor[0]}, x ${this.cursor[1]}. ${keys}` : "Keyboard cursor off.");
    this.canvas.focus({ preventScroll: true });
    this.update();
  }

  toggleOutline() {
    const mode = this.get("mode") === "outline" ? "points" : "outline";
    this.drawing = [];
    this.model.set("mode", mode);
    this.model.save_changes();
    this.say(mode === "outline" ? "Outline: drag around an object." : "Points: click on the image.");
    this.update();
  }

  step(by) { if (!this.flat) this.askSlice((this.wanted ?? this.get("slice_index")) + by); }

  // ---- drawing ----

  zoom(factor, px, py) {
    this.view.zoom(factor, px, py);
    this.draw();
  }

  fit() {
    this.view.fit();
    this.draw();
  }

  watchScreen() { // the browser's zoom or another screen changes how many pixels a CSS pixel has
    this.screen = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    this.screenChanged = () => { this.resize(); this.watchScreen(); };
    this.screen.addEventListener("change", this.screenChanged, { once: true });
  }

  resize() {
    const { clientWidth, clientHeight } = this.stage;
    if (!clientWidth || !clientHeight) return;
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * this.ratio);
    this.canvas.height = Math.round(clientHeight * this.ratio);
    this.view.resize(clientWidth, clientHeight);
    this.draw();
  }

  draw() {
    const pen = this.canvas.getContext("2d"), { view, ratio } = this;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, view.width, view.height);
    pen.imageSmoothingEnabled = view.scale * ratio < 1;
    const opacity = { _image_png: 1, _instances_png: this.get("instance_opacity"), _mask_png: this.get("mask_opacity") };
    for (const name of LAYERS) {
      const bitmap = this.bitmaps[name]?.bitmap;
      if (!bitmap) continue;
      pen.globalAlpha = opacity[name];
      pen.drawImage(bitmap, view.left, view.top, view.columns * view.scale, view.rows * view.scale);
    }
    pen.globalAlpha = 1;
    this.drawPoints(pen);
    this.drawOutline(pen);
    if (this.cursor) this.drawCursor(pen);
    this.percent.textContent = `${Math.round(100 * view.scale)} %`;
  }

  drawPoints(pen) { // sign and colour both tell positive from negative
    for (const [z, y, x, label] of this.get("points")) {
      if (z !== this.shown) continue;
      const [px, py] = this.view.at(y, x);
      pen.beginPath();
      pen.arc(px, py, DISC, 0, 2 * Math.PI);
      pen.fillStyle = label ? POSITIVE : NEGATIVE;
      pen.fill();
      this.stroke(pen, "white", 1.5);
      pen.beginPath();
      pen.moveTo(px - 5, py);
      pen.lineTo(px + 5, py);
      if (label) pen.moveTo(px, py - 5);
      if (label) pen.lineTo(px, py + 5);
      this.stroke(pen, "white", 2.2);
    }
  }

  drawOutline(pen) {
    if (!this.drawing.length) return;
    pen.beginPath();
    for (const [y, x] of this.drawing) pen.lineTo(...this.view.at(y, x));
    this.stroke(pen, "black", 4);
    this.stroke(pen, OUTLINE, 2);
  }

  drawCursor(pen) {
    const [px, py] = this.view.at(...this.cursor), arm = Math.max(14, this.view.scale), gap = Math.max(4, this.view.scale / 2);
    pen.beginPath();
    for (const [right, down] of Object.values(ARROWS)) {
      pen.moveTo(px + right * gap, py + down * gap);
      pen.lineTo(px + right * (gap + arm), py + down * (gap + arm));
    }
    this.stroke(pen, "black", 4);
    this.stroke(pen, "white", 2);
  }

  stroke(pen, colour, width) {
    Object.assign(pen, { strokeStyle: colour, lineWidth: width, lineCap: "round", lineJoin: "round" });
    pen.stroke();
  }
}

function render({ model, el }) {
  const canvas = new Canvas(model, el);
  return () => canvas.close();
}

export default { render };
