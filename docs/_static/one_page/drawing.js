// What the page is drawn with: tiles of a sprite, the U-Net, bars and curves, and a player.
"use strict";

const onePage = { root: document.currentScript.src.replace(/[^/]*$/, ""), sprites: {} };

onePage.at = (name) => document.getElementById(`op-${name}`);

onePage.still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// ---- images -------------------------------------------------------------------------------------

onePage.COLUMNS = 32; // tiles in a row of a sprite

/** Load the sprite of a model, then call `then`. */
onePage.load = (model, then) => {
  if (!onePage.sprites[model]) {
    onePage.sprites[model] = new Image();
    onePage.sprites[model].src = `${onePage.root}${model}.png`;
  }
  const sprite = onePage.sprites[model];
  if (sprite.complete && sprite.naturalWidth) then();
  else sprite.addEventListener("load", then, { once: true });
};

/** Put tile `n` of a model on a canvas; with `minus`, how far it is from that tile. */
onePage.tile = (canvas, model, n, minus = null) => {
  const sprite = onePage.sprites[model];
  const side = onePage.data[model].side;
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const draw = (i, how) => {
    const x = (i % onePage.COLUMNS) * side;
    const y = Math.floor(i / onePage.COLUMNS) * side;
    context.globalCompositeOperation = how;
    context.drawImage(sprite, x, y, side, side, 0, 0, side, side);
  };
  context.clearRect(0, 0, side, side);
  if (n === null) return;
  draw(n, "source-over");
  if (minus !== null) draw(minus, "difference");
};

// ---- numbers ------------------------------------------------------------------------------------

/** .0911 or 0.53: a number as the rest of the site writes it. */
onePage.number = (value, digits = 2) => value.toFixed(digits).replace(/^0\.(?=\d{3})/, ".");

/** Three significant digits. */
onePage.significant = (value) => Number(value.toPrecision(3)).toString();

// ---- drawings -----------------------------------------------------------------------------------

onePage.svg = (tag, attributes, parent) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (parent) parent.appendChild(element);
  return element;
};

/** The U-Net: a bar for each layer, deeper where the resolution is lower, and the skips. */
onePage.network = (svg, model) => {
  const { layers, skips, side } = onePage.data[model];
  const pitch = 240 / layers.length;
  svg.setAttribute("viewBox", "0 0 240 92");
  svg.replaceChildren();
  const place = layers.map(([, , , resolution], i) => {
    const level = Math.log2(side / resolution);
    return { x: (i + 0.5) * pitch, y: 3 + 31 * level, height: 26 - 5 * level };
  });
  const nested = {};
  for (const [from, to] of skips) {
    const { y } = place[to];
    nested[y] = (nested[y] ?? 0) + 1;
    const height = y + 2 + 6 * nested[y];
    const path = `M ${place[from].x} ${height} H ${place[to].x}`;
    onePage.svg("path", { d: path, class: "op-skip" }, svg);
  }
  return layers.map(([name, kind, channels, resolution], i) => {
    const { x, y, height } = place[i];
    const size = { x: x - 0.34 * pitch, y, width: 0.68 * pitch, height, rx: 1.5 };
    const bar = onePage.svg("rect", { ...size, class: "op-layer" }, svg);
    const what = `${name}: ${kind}, ${channels} channels of ${resolution} × ${resolution}`;
    onePage.svg("title", {}, bar).textContent = what;
    return bar;
  });
};

/** Light the layers up to `until` (in the order of the calls), or all from it on, backwards. */
onePage.light = (bars, until, back = false) => {
  bars.forEach((bar, i) => {
    bar.classList.toggle("op-on", !back && i <= until);
    bar.classList.toggle("op-back", back && i >= until);
    bar.classList.toggle("op-now", i === until);
  });
};

/** A bar for each number, all of one scale. `from` is the first that is shown. */
onePage.bars = (svg, values, names, from = 0) => {
  const pitch = 240 / values.length;
  const most = Math.max(...values);
  svg.setAttribute("viewBox", "0 0 240 46");
  svg.replaceChildren();
  onePage.svg("path", { d: "M 0 45.5 H 240", class: "op-axis" }, svg);
  values.forEach((value, i) => {
    if (i < from) return;
    const height = (43 * value) / most;
    const size = { x: (i + 0.16) * pitch, y: 45 - height, width: 0.68 * pitch, height };
    const bar = onePage.svg("rect", { ...size, class: "op-norm" }, svg);
    onePage.svg("title", {}, bar).textContent = `${names[i]}: ${onePage.significant(value)}`;
  });
};

/** Curves over their index, on one scale from `low` to `high`, with dots at `here`. */
onePage.curves = (svg, curves, { low, high, here, height = 84, marks = [] }) => {
  const width = 240;
  const last = curves[0].values.length - 1;
  const x = (i) => 6 + ((width - 12) * i) / last;
  const y = (value) => height - 6 - ((height - 12) * (value - low)) / (high - low);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const rule = (d, name) => onePage.svg("path", { d, class: name }, svg);
  rule(`M 6 ${height - 6} H ${width - 6}`, "op-axis");
  for (const value of marks) rule(`M 6 ${y(value)} H ${width - 6}`, "op-mark");
  rule(`M ${x(here)} 4 V ${height - 6}`, "op-mark");
  for (const { values, name, label, at = last } of curves) {
    const points = values.map((value, i) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`);
    rule(`M ${points.join(" L ")}`, `op-line op-${name}`);
    const dot = { cx: x(here), cy: y(values[here]), r: 3.5, class: `op-dot op-${name}` };
    onePage.svg("circle", dot, svg);
    if (!label) continue;
    const place = { x: x(at), y: y(values[at]) - 5, class: `op-label op-${name}` };
    onePage.svg("text", place, svg).textContent = label;
  }
};

// ---- what is lit --------------------------------------------------------------------------------

/** In a lane, light one step and some of its terms; with `dim`, dim the steps that come later. */
onePage.lit = (lane, step, terms = {}, dim = false) => {
  const steps = [...lane.querySelectorAll("[data-step]")];
  const now = steps.findIndex((element) => element.dataset.step === step);
  steps.forEach((element, i) => {
    element.classList.toggle("op-lit", i === now);
    element.classList.toggle("op-later", dim && i > now);
    for (const term of element.querySelectorAll("[data-term]")) {
      const weight = i === now ? terms[term.dataset.term] : undefined;
      term.classList.toggle("op-lit", weight !== undefined);
      term.style.setProperty("--weight", weight ?? 0);
    }
  });
};

/** Nothing in a lane is dim any more. */
onePage.undim = (lane) => {
  lane.querySelectorAll(".op-later").forEach((step) => step.classList.remove("op-later"));
};

// ---- playing ------------------------------------------------------------------------------------

/**
 * Plays beats: [milliseconds, what to do, fine?]. Where less motion is wanted, fine beats are done
 * at once, and the others last longer.
 */
onePage.Player = class {
  constructor(button, caption, beats, stopped) {
    Object.assign(this, { button, caption, beats, stopped, timer: null });
    button.addEventListener("click", () => (this.playing ? this.stop() : this.play()));
  }

  get playing() {
    return this.timer !== null;
  }

  play() {
    this.sequence = this.beats();
    this.timer = 0;
    this.button.textContent = "Pause";
    this.button.dataset.playing = "";
    this.caption.setAttribute("aria-live", "off"); // it changes too often to be read out
    this.next();
  }

  next() {
    const { value, done } = this.sequence.next();
    if (done) return this.stop();
    const [duration, act, fine] = value;
    act();
    const calm = onePage.still();
    this.timer = setTimeout(() => this.next(), calm ? (fine ? 0 : duration + 600) : duration);
  }

  stop() {
    if (!this.playing) return;
    clearTimeout(this.timer);
    this.timer = null;
    this.button.textContent = "Play";
    delete this.button.dataset.playing;
    this.caption.setAttribute("aria-live", "polite");
    this.stopped();
  }
};
