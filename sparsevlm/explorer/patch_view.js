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
    Object.assign(this, { view, spec, number, cursor: null, from: null, hover: null });
    this.canvas = make("canvas", {
      tabindex: 0, role: "application", "aria-label": `${spec.title}: patches; arrow keys move, Enter forces a patch`,
      onpointerdown: (event) => (this.from = this.find(event)),
      onpointermove: (event) => this.point(this.find(event)),
      onpointerup: (event) => this.choose(this.from, this.find(event)),
      onpointerleave: () => { this.from = null; this.point(this.cursor); },
      onkeydown: (event) => this.key(event),
      onblur: () => { this.cursor = null; this.point(null); },
    });
    this.caption = make("figcaption");
    this.layer = make("div", { class: "sv-layer" });
    const words = spec.words.map((word, index) => make("button", {
      type: "button", class: `sv-word${word.rates ? " rates" : ""}`, title: word.hint, style: `background: rgba(0, 114, 178, ${0.06 + 0.34 * word.share})`,
      "aria-pressed": String(word.rates), disabled: spec.switchable ? false : "", onclick: () => view.model.send({ type: "word", index }),
    }, (word.rates ? "●\u2009" : "") + word.text));
    this.node = make("figure", { style: `--accent: ${spec.color}` },
      make("h4", {}, spec.title), make("div", { class: "sv-words" }, ...words),
      this.canvas, this.caption, this.layer, make("div", { class: "sv-totals" }, spec.totals),
      make("div", { class: "sv-answer", html: spec.answer }));
  }

  rectangle(token) { return this.view.scene.rectangles[token]; }

  at(x, y) {
    const found = this.view.scene.rectangles.findIndex((r) => r && x >= r[0] && x < r[0] + r[2] && y >= r[1] && y < r[1] + r[3]);
    return found < 0 ? null : found;
  }

  find(event) {
    const box = this.canvas.getBoundingClientRect();
    const [width, height] = this.view.scene.size;
    return this.at(((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height);
  }

  middle() { return this.at(this.view.scene.size[0] / 2, this.view.scene.size[1] / 2) ?? 0; }

  move(token) { if (token !== null) this.point((this.cursor = token)); }

  point(token) {
    if (token === this.hover) return;
    this.hover = token;
    this.view.say(token === null ? "" : `${this.spec.title}: ${this.spec.info[token]}`);
    this.draw();
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    this.cursor ??= this.hover ?? this.middle();
    const [x, y, w, h] = this.rectangle(this.cursor);
    if (step) this.move(this.at(x + w / 2 + step[0] * w, y + h / 2 + step[1] * h));
    else if (event.key === "Enter" || event.key === " ") this.choose(this.cursor, this.cursor);
    else if (event.key === "[" || event.key === "]") this.view.step(event.key === "[" ? -1 : 1);
    else return;
    event.preventDefault();
    event.stopPropagation(); // Jupyter has keys of its own
  }

  choose(first, last) {
    this.from = null;
    if (first === null || last === null || !this.spec.editable) return;
    const [a, b] = [this.rectangle(first), this.rectangle(last)];
    const inside = (r) => r && [0, 1].every((i) => r[i] >= Math.min(a[i], b[i]) - 0.1 && r[i] <= Math.max(a[i], b[i]) + 0.1);
    const tokens = [...this.view.scene.rectangles.keys()].filter((token) => inside(this.rectangle(token)));
    this.view.model.send({ type: "patches", first, tokens });
  }

  // A token's place on the canvas, on whole pixels, so that no seams show between neighbours.
  pixels(token) {
    const r = this.rectangle(token);
    if (!r) return null;
    const [left, top] = [r[0], r[1]].map((v) => Math.round(v * this.scale));
    return [left, top, Math.round((r[0] + r[2]) * this.scale) - left, Math.round((r[1] + r[3]) * this.scale) - top];
  }

  draw() {
    const { scene: { size }, image } = this.view;
    const position = this.view.model.get("position");
    const width = Math.round(this.canvas.clientWidth * (window.devicePixelRatio || 1));
    if (!width || !image.complete) return;
    this.scale = width / size[0];
    this.canvas.width = width;
    this.canvas.height = Math.round(size[1] * this.scale);
    const context = (this.context = this.canvas.getContext("2d"));
    context.imageSmoothingEnabled = this.scale < 2;
    context.drawImage(image, 0, 0, this.canvas.width, this.canvas.height);
    const edges = new Map();
    this.spec.codes[this.spec.at[position]].forEach((code, token) => {
      const place = this.pixels(token);
      if (!place) return;
      const [x, y, w, h] = place;
      const [fill, dot, outlined] = this.spec.palette[code];
      if (fill) { context.fillStyle = fill; context.fillRect(x, y, w, h); }
      if (dot) { context.beginPath(); context.arc(x + w / 2, y + h / 2, Math.min(w, h) * 0.17, 0, 2 * Math.PI); context.fillStyle = dot; context.fill(); }
      // An edge that two outlined patches share is inside the region and not drawn.
      if (outlined) for (const edge of [[x, y, x + w, y], [x, y + h, x + w, y + h], [x, y, x, y + h], [x + w, y, x + w, y + h]])
        edges.set(edge.join(), edges.has(edge.join()) ? null : edge);
    });
    context.beginPath();
    for (const [a, b, c, d] of [...edges.values()].filter(Boolean)) { context.moveTo(a, b); context.lineTo(c, d); }
    Object.assign(context, { strokeStyle: "#1a1a1a", lineWidth: Math.max(1, width / 300), lineCap: "square" });
    context.stroke();
    this.spec.sinks[position].forEach((token) => this.sign(this.pixels(token), "◎", "#d55e00", 1.3));
    this.spec.keep.forEach((token) => this.sign(this.pixels(token), "+", "#007a57", 0.7));
    this.spec.drop.forEach((token) => this.sign(this.pixels(token), "×", "#b00020", 0.7));
    const groups = this.spec.groups[this.spec.snapshot[position]];
    const companions = Object.keys(groups).filter((token) => groups[token] === groups[this.hover]);
    companions.forEach((token) => this.frame(this.pixels(token), [["#000000", 1.5]]));
    if (this.hover !== null) this.frame(this.pixels(this.hover), [["#ffffff", 5], ["#0072b2", 2.5]]);
    this.caption.textContent = this.spec.captions[position];
    this.layer.textContent = this.spec.layers[position];
  }

  frame(place, strokes) {
    for (const [strokeStyle, lineWidth] of place ? strokes : []) {
      Object.assign(this.context, { strokeStyle, lineWidth });
      this.context.strokeRect(...place);
    }
  }

  sign(place, text, fillStyle, share = 1) {
    if (!place) return;
    const centre = [place[0] + place[2] / 2, place[1] + place[3] / 2];
    Object.assign(this.context, { font: `bold ${place[3] * share}px sans-serif`, textAlign: "center", textBaseline: "middle", lineWidth: 4, strokeStyle: "#ffffff", fillStyle });
    this.context.strokeText(text, ...centre);
    this.context.fillText(text, ...centre);
  }
}

class View {
  constructor(model, root) {
    Object.assign(this, { model, root, panels: [] });
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
    this.image = new Image();
    this.image.onload = () => this.draw();
    this.image.src = this.scene.image;
    const last = this.scene.positions - 1;
    this.slider = make("input", { type: "range", min: 0, max: last, value: this.model.get("position"), "aria-label": "layer", oninput: () => this.step(0, Number(this.slider.value)) });
    this.output = make("output");
    const stages = this.scene.stages.map((p) => make("span", { style: `left: ${(100 * p) / last}%`, title: `pruned ${this.scene.labels[p]}` }, "✂"));
    this.panels = this.scene.panels.map((spec, number) => new Panel(this, spec, number));
    this.status = make("div", { class: "sv-status", "aria-live": "polite" });
    const keys = this.scene.legend.map(([fill, dot, text, outlined]) => make("span", {}, !fill ? "" :
      make("i", { class: outlined ? "outlined" : "", style: `background: ${fill}; ${fill.startsWith("linear") ? "width: 6em" : ""}` }, dot ? make("b", { style: `background: ${dot}` }) : ""), text));
    this.root.replaceChildren(make("div", { class: "sv-explorer" },
      make("div", { class: "sv-slider" }, make("label", {}, "layer"), make("div", {}, this.slider, make("div", { class: "sv-stages" }, ...stages)), this.output),
      make("div", { class: `sv-panels n${this.panels.length}` }, ...this.panels.map((panel) => panel.node)),
      this.status, make("div", { class: "sv-legend" }, ...keys, make("em", {}, this.scene.marker))));
    this.observer.disconnect();
    this.panels.forEach((panel) => this.observer.observe(panel.canvas));
    this.draw();
  }

  step(by, to = this.model.get("position") + by) {
    this.model.set("position", Math.max(0, Math.min(this.scene.positions - 1, to)));
    this.model.save_changes();
  }

  say(text) { this.status.textContent = text || "Point at a patch to read what became of it; click or drag to force it."; }

  draw() {
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
