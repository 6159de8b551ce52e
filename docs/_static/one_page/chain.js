// The right lane: the chain backwards, from noise to an image.
"use strict";

onePage.Chain = class {
  constructor() {
    const at = onePage.at;
    this.lane = at("chain");
    this.slider = at("stride");
    this.caption = at("chain-caption");
    const [button, beats, stopped] = [at("chain-play"), () => this.beats(), () => this.rest()];
    this.player = new onePage.Player(button, this.caption, beats, stopped);
    this.slider.addEventListener("input", () => {
      this.player.stop();
      this.show("mix");
    });
  }

  get sample() {
    return this.data.samples[this.chosen];
  }

  /** Which stride, from 0; the last one leads to x_0. */
  get j() {
    return Number(this.slider.value);
  }

  get strides() {
    return this.data.c1.length;
  }

  /** Show a model from its first image on. */
  open(model) {
    this.player.stop();
    Object.assign(this, { model, data: onePage.data[model].chain });
    this.bars = onePage.network(onePage.at("c-unet"), model);
    this.slider.max = this.strides - 1;
    this.slider.value = Math.round(0.4 * this.strides);
    this.choose(0);
  }

  choose(number) {
    this.chosen = number;
    this.film();
    this.show("mix");
  }

  /** The strip below: every third x_t, and x̂_0 under each. */
  film() {
    const film = onePage.at("film");
    film.replaceChildren();
    const { xt, guess } = this.sample;
    for (let j = 0; j < this.strides; j += 3) {
      const cell = document.createElement("button");
      cell.type = "button";
      cell.dataset.stride = j;
      cell.setAttribute("aria-label", `go to t = ${this.data.t[j]}`);
      for (const number of [xt + j, guess + j]) {
        onePage.tile(cell.appendChild(document.createElement("canvas")), this.model, number);
      }
      cell.append(this.data.t[j]);
      cell.addEventListener("click", () => {
        this.player.stop();
        this.slider.value = j;
        this.show("mix");
      });
      film.appendChild(cell);
    }
  }

  /** Draw everything, with one step lit; with `dim`, what comes later is dim. */
  show(step, dim = false) {
    const { at, tile, number } = onePage;
    const { sample, j, model, data } = this;
    const last = j === this.strides - 1;
    for (const name of ["c-in", "c-xt"]) tile(at(name), model, sample.xt + j);
    for (const name of ["c-guess", "c-guess2"]) tile(at(name), model, sample.guess + j);
    tile(at("z"), model, last ? null : sample.z + j);
    tile(at("xs"), model, sample.xt + j + 1);
    for (const name of ["c1", "c2", "sigma"]) at(name).textContent = `${number(data[name][j])} ·`;
    const [t, s] = [data.t[j], data.t[j + 1]];
    at("stride-value").textContent = `t = ${t} → s = ${s}`;
    this.slider.setAttribute("aria-valuetext", `from t = ${t} to s = ${s}`);
    for (const cell of at("film").children) {
      const near = Math.floor(j / 3) === cell.dataset.stride / 3;
      if (near) cell.setAttribute("aria-current", "true");
      else cell.removeAttribute("aria-current");
    }
    onePage.curves(at("weights"), [
      { values: data.c1, name: "c1", label: "c₁", at: Math.round(0.72 * this.strides) },
      { values: data.c2, name: "c2", label: "c₂", at: 2 },
      { values: data.sigma, name: "sigma", label: "σ", at: 5 },
    ], { low: 0, high: 1, here: j, height: 72 });
    onePage.light(this.bars, this.bars.length - 1);
    const { c1, c2, sigma } = data;
    const terms = {
      guess: { guess: 1, network: 1 },
      mix: { xs: 1, c1: c1[j], c2: c2[j], sigma: sigma[j] },
      repeat: { xt: 1 },
    }[step];
    onePage.lit(this.lane, step, terms, dim);
    this.caption.textContent = this.words(last);
  }

  words(last) {
    const { number } = onePage;
    const { data, sample, j } = this;
    const [t, s] = [data.t[j], data.t[j + 1]];
    const where = `Stride ${j + 1} of ${this.strides}, from t = ${t} to s = ${s}.`;
    if (last) return `${where} No noise is added: x₀ is x̂₀ itself.`;
    const left = number(sample.left[j], 4);
    return `${where} The guess x̂₀ is ${left} (mean square) from the image at the end.`;
  }

  /** Paused: nothing is dim any more. */
  rest() {
    onePage.undim(this.lane);
  }

  /** The chain in beats: the first strides slowly, term by term, the others in a row. */
  *beats() {
    const from = this.j === this.strides - 1 ? 0 : this.j;
    for (let j = from; j < this.strides; j += 1) {
      const slow = j < from + 2;
      yield [slow ? 300 : 0, () => {
        this.slider.value = j;
        this.show("guess", slow);
        onePage.lit(this.lane, "guess", { network: 1 }, slow);
      }, true];
      for (let i = 0; i < this.bars.length; i += slow ? 1 : 3) {
        yield [slow ? 40 : 16, () => onePage.light(this.bars, i), true];
      }
      yield [slow ? 700 : 90, () => this.show("guess", slow), !slow];
      yield [slow ? 300 : 160, () => this.show("mix")];
      if (!slow) continue;
      for (const term of ["c1", "c2", "sigma", "xs"]) {
        yield [550, () => onePage.lit(this.lane, "mix", { [term]: 1 })];
      }
      yield [700, () => this.show("repeat")];
    }
  }
};
