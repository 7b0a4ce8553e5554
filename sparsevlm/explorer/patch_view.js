// Draws what scene.py describes. All meaning is decided in Python; this file only paints, and
// reports what was clicked. Traits: scene (in), position (both ways). Messages: patches, word.

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "html") node.innerHTML = value; // escaped in Python
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
};

class Panel {
  constructor(view, spec, number) {
    Object.assign(this, { view, spec, number });
    const [width, height] = view.scene.size;
    this.canvas = make("canvas", {
      tabindex: 0, role: "application", "data-key": `canvas ${number}`, style: `--ratio: ${width / height}`,
      "aria-label": `${spec.title}: patches; arrow keys move, Enter forces a patch`,
      onpointerdown: (event) => { this.canvas.setPointerCapture(event.pointerId); view.from = this.find(event); view.point(this, view.from); },
      onpointermove: (event) => view.point(this, this.find(event)),
      onpointerup: (event) => this.choose(view.from, this.find(event)),
      onpointerleave: () => { view.from = null; view.point(this, view.cursor); },
      onkeydown: (event) => this.key(event),
      onblur: () => { if (!view.building) { view.cursor = null; view.point(this, null); } },
    });
    this.caption = make("figcaption");
    this.scale = make("div", { class: "sv-scale" });
    this.note = make("div", { class: "sv-note" });
    const words = spec.words.map((word, index) => make("button", {
      type: "button", class: `sv-word${word.rates ? " rates" : ""}`, title: word.hint, style: `--share: ${Math.round(6 + 44 * word.share)}%`,
      "data-key": `word ${number} ${index}`, "aria-pressed": String(word.rates), disabled: spec.switchable ? false : "", onclick: () => view.model.send({ type: "word", index }),
    }, word.text));
    const totals = spec.totals.map(([name, value, hint]) => make("span", { title: hint, tabindex: 0 }, make("b", {}, value), ` ${name}`));
    const text = !words.length ? "" : make("div", { class: "sv-text" },
      make("h5", {}, spec.switchable ? "Framed words rate; click one to change it" : "The bluer a word, the more relevant to the picture"),
      make("div", { class: "sv-words" }, ...words), make("div", { class: "sv-answer", html: spec.answer }), make("div", { class: "sv-totals" }, ...totals));
    this.node = make("figure", { style: `--accent: ${spec.color}` }, make("h4", { title: spec.title }, spec.title),
      make("div", { class: "sv-see" }, make("div", { class: "sv-canvas" }, this.canvas, this.note), this.caption, this.scale), text);
  }

  rectangle(token) { return this.view.scene.rectangles[token]; }

  at(x, y) {
    const found = this.view.scene.rectangles.findIndex((r) => r && x >= r[0] && x < r[0] + r[2] && y >= r[1] && y < r[1] + r[3]);
    return found < 0 ? null : found;
  }

  // The patch under the pointer; while dragging, the nearest one inside the picture.
  find(event) {
    const box = this.canvas.getBoundingClientRect();
    const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const inside = place.map((v) => (this.view.from === null ? v : Math.max(0, Math.min(0.9999, v))));
    return this.at(...inside.map((v, i) => v * this.view.scene.size[i]));
  }

  key(event) {
    const { view } = this;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    view.cursor ??= view.hover ?? this.at(view.scene.size[0] / 2, view.scene.size[1] / 2) ?? 0;
    const [x, y, w, h] = this.rectangle(view.cursor);
    if (step) view.point(this, (view.cursor = this.at(x + w / 2 + step[0] * w, y + h / 2 + step[1] * h) ?? view.cursor));
    else if (event.key === "Enter" || event.key === " ") this.choose(view.cursor, view.cursor);
    else if (event.key === "[" || event.key === "]") view.step(event.key === "[" ? -1 : 1);
    else return;
    event.preventDefault();
    event.stopPropagation(); // Jupyter has keys of its own
  }

  // Patches of the rectangle between two of them.
  between(first, last) {
    const [a, b] = [this.rectangle(first), this.rectangle(last)];
    const inside = (r) => r && [0, 1].every((i) => r[i] >= Math.min(a[i], b[i]) - 0.1 && r[i] <= Math.max(a[i], b[i]) + 0.1);
    return [...this.view.scene.rectangles.keys()].filter((token) => inside(this.rectangle(token)));
  }

  choose(first, last) {
    this.view.from = null;
    if (first === null || last === null || !this.spec.editable) return;
    this.view.model.send({ type: "patches", first, tokens: this.between(first, last) });
  }

  // A token's place on the canvas, on whole pixels, so that no seams show between neighbours.
  pixels(token) {
    const r = this.rectangle(token);
    if (!r) return null;
    const [left, top] = [r[0], r[1]].map((v) => Math.round(v * this.zoom));
    return [left, top, Math.round((r[0] + r[2]) * this.zoom) - left, Math.round((r[1] + r[3]) * this.zoom) - top];
  }

  draw() {
    const { view, spec } = this, { size } = view.scene, position = view.model.get("position");
    const width = Math.round(this.canvas.clientWidth * (window.devicePixelRatio || 1));
    if (!width || !view.image.complete) return;
    this.zoom = width / size[0];
    this.canvas.width = width;
    this.canvas.height = Math.round(size[1] * this.zoom);
    const context = (this.context = this.canvas.getContext("2d"));
    context.imageSmoothingEnabled = this.zoom < 2;
    context.drawImage(view.image, 0, 0, this.canvas.width, this.canvas.height);
    const kept = [];
    spec.codes[spec.at[position]].forEach((code, token) => {
      const place = this.pixels(token);
      if (!place) return;
      const [x, y, w, h] = place;
      const [fill, dot, outlined] = spec.palette[code];
      if (fill) { context.fillStyle = fill; context.fillRect(x, y, w, h); }
      if (dot) { context.beginPath(); context.arc(x + w / 2, y + h / 2, Math.min(w, h) * 0.17, 0, 2 * Math.PI); context.fillStyle = dot; context.fill(); }
      if (outlined) kept.push(token);
    });
    this.outline(kept, [["#1a1a1a", Math.max(1, width / 300)]]);
    spec.sinks[position].forEach((token) => this.sign(this.pixels(token), "◎", "#d55e00", 1.3));
    this.forced(spec.keep, "+", "#007a57");
    this.forced(spec.drop, "×", "#b00020");
    const groups = spec.groups[spec.snapshot[position]], group = groups[view.hover];
    if (group !== undefined && view.from === null) {
      this.outline(Object.keys(groups).filter((token) => groups[token] === group).map(Number), [["#ffffff", 5], ["#000000", 2.5]]);
      const [x, y, w, h] = this.pixels(view.hover);
      this.sign([Math.max(2.2 * w, Math.min(x, width - 3.2 * w)), y < 2 * h ? y + 1.3 * h : y - 1.3 * h, w, h], `group ${group}`, "#000000", Math.max(0.9, 13 / h));
    }
    if (view.hover !== null) this.outline([view.hover], [["#ffffff", 5], ["#0072b2", 2.5]]);
    if (view.from !== null && view.hover !== null && spec.editable) this.outline(this.between(view.from, view.hover), [["#ffffff", 5], ["#d55e00", 3]]);
    this.caption.textContent = spec.captions[position];
    this.note.textContent = spec.notes[position];
    const [low, high] = spec.scales[position];
    this.scale.replaceChildren(...(high ? [low, make("i"), high] : []));
  }

  // The border of a region; an edge that two of its patches share is inside and not drawn.
  outline(tokens, strokes) {
    const edges = new Map();
    for (const [x, y, w, h] of tokens.map((token) => this.pixels(token)).filter(Boolean))
      for (const edge of [[x, y, x + w, y], [x, y + h, x + w, y + h], [x, y, x, y + h], [x + w, y, x + w, y + h]])
        edges.set(edge.join(), edges.has(edge.join()) ? null : edge);
    this.context.beginPath();
    for (const [a, b, c, d] of [...edges.values()].filter(Boolean)) { this.context.moveTo(a, b); this.context.lineTo(c, d); }
    for (const [strokeStyle, lineWidth] of strokes) { Object.assign(this.context, { strokeStyle, lineWidth, lineCap: "square" }); this.context.stroke(); }
  }

  // Forced patches are framed; a sign says how at the upper left corner of each region of them.
  forced(tokens, text, color) {
    this.outline(tokens, [["#ffffff", 5], [color, 2.5]]);
    const places = tokens.map((token) => this.pixels(token)).filter(Boolean);
    const ends = new Set(places.flatMap(([x, y, w, h]) => [[x + w, y].join(), [x, y + h].join()]));
    for (const [x, y, w, h] of places) if (!ends.has([x, y].join())) this.sign([x - w / 2, y - h / 2, w, h], text, color, 1.6);
  }

  sign(place, text, fillStyle, share) {
    if (!place) return;
    const centre = [place[0] + place[2] / 2, place[1] + place[3] / 2];
    Object.assign(this.context, { font: `bold ${place[3] * share}px sans-serif`, textAlign: "center", textBaseline: "middle", lineWidth: 3, strokeStyle: "#ffffff", fillStyle });
    this.context.strokeText(text, ...centre);
    this.context.fillText(text, ...centre);
  }
}

class View {
  constructor(model, root) {
    Object.assign(this, { model, root, panels: [], cursor: null, hover: null, from: null });
    this.observer = new ResizeObserver(() => this.draw());
    this.moved = () => { this.slider.value = model.get("position"); this.draw(); };
    this.rebuilt = () => this.build();
    model.on("change:position", this.moved);
    model.on("change:scene", this.rebuilt);
    this.build();
  }

  build() {
    this.scene = this.model.get("scene");
    if (!this.scene.panels) return;
    const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    if (!(this.hover < this.scene.rectangles.length)) this.hover = this.cursor = null;
    this.building = true; // a node that goes loses the focus, which is not the user's doing
    this.image = new Image();
    this.image.onload = () => this.draw();
    this.image.src = this.scene.image;
    const last = this.scene.positions - 1;
    this.slider = make("input", { type: "range", min: 0, max: last, value: this.model.get("position"), "aria-label": "layer", "data-key": "slider", oninput: () => this.step(0, Number(this.slider.value)) });
    this.output = make("output");
    const stages = this.scene.stages.map((p) => make("span", { style: `left: ${(100 * p) / last}%`, title: `tokens are pruned ${this.scene.labels[p].split(":")[0]}` }, "✂"));
    this.panels = this.scene.panels.map((spec, number) => new Panel(this, spec, number));
    this.status = make("div", { class: "sv-status", "aria-live": "polite" });
    const keys = this.scene.legend.map(([fill, dot, text, outlined]) => make("span", {}, !fill ? "" :
      make("i", { class: outlined ? "outlined" : "", style: `background: ${fill}; ${fill.startsWith("linear") ? "width: 6em" : ""}` }, dot ? make("b", { style: `background: ${dot}` }) : ""), text));
    this.root.replaceChildren(make("div", { class: "sv-explorer" },
      make("div", { class: "sv-slider" }, make("label", {}, "layer"), make("div", {}, this.slider, make("div", { class: "sv-stages" }, ...stages)), this.output),
      make("div", { class: `sv-panels n${this.panels.length}` }, ...this.panels.map((panel) => panel.node)),
      make("div", { class: "sv-legend" }, ...keys, make("em", {}, this.scene.marker)), this.status));
    this.observer.disconnect();
    this.panels.forEach((panel) => this.observer.observe(panel.canvas));
    if (focused) this.root.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
    this.building = false;
    this.draw();
  }

  // One patch is pointed at in all panels; the one under the pointer tells its history.
  point(panel, token) {
    if (token === this.hover && this.from === null) return;
    this.hover = token;
    const drags = this.from !== null && token !== null && token !== this.from;
    const many = drags && panel.spec.editable ? `release to force ${panel.between(this.from, token).length} patches · ` : "";
    const spec = panel.spec.words.length ? panel.spec : this.panels[panel.number + 1]?.spec ?? panel.spec;
    this.say(token === null ? "" : `${many}${spec.info[token]}`);
    this.draw();
  }

  step(by, to = this.model.get("position") + by) {
    this.model.set("position", Math.max(0, Math.min(this.scene.positions - 1, to)));
    this.model.save_changes();
  }

  say(text) { this.status.textContent = text || "Point at a patch to read what became of it; click or drag to force it to stay or go."; }

  draw() {
    // Jupyter's own keys stay out: Enter would open the cell.
    (this.root.closest(".sv-controls") ?? this.root).setAttribute("data-lm-suppress-shortcuts", "");
    this.output.textContent = this.scene.labels[this.model.get("position")];
    this.panels.forEach((panel) => panel.draw());
    if (!this.status.textContent) this.say("");
  }

  close() {
    this.observer.disconnect();
    this.model.off("change:position", this.moved);
    this.model.off("change:scene", this.rebuilt);
  }
}

export default { render({ model, el }) { const view = new View(model, el); return () => view.close(); } };
