// The left lane: one training step, forward and back.
"use strict";

onePage.Training = class {
  constructor() {
    const at = onePage.at;
    this.lane = at("training");
    this.slider = at("t");
    this.betas = at("beta");
    this.caption = at("training-caption");
    const [button, beats, stopped] = [at("training-play"), () => this.beats(), () => this.rest()];
    this.player = new onePage.Player(button, this.caption, beats, stopped);
    this.slider.addEventListener("input", () => {
      this.player.stop();
      this.show("noise");
    });
    this.betas.addEventListener("input", () => {
      this.player.stop();
      this.show("update");
    });
  }

  get example() {
    return this.data.examples[this.chosen];
  }

  get i() {
    return Number(this.slider.value);
  }

  get names() {
    return this.data.layers.map(([name]) => name);
  }

  /** Show a model from its first image on. */
  open(model) {
    this.player.stop();
    Object.assign(this, { model, data: onePage.data[model] });
    this.bars = onePage.network(onePage.at("unet"), model);
    this.betas.max = this.data.update.betas.length - 1;
    this.choose(0);
  }

  /** Show an image, at the t that was drawn for it. */
  choose(number) {
    this.chosen = number;
    this.slider.max = this.example.t.length - 1;
    this.slider.value = this.example.drawn;
    this.betas.value = this.data.update.betas.indexOf(this.data.update.beta);
    this.show("noise");
  }

  /** Draw everything, with one step lit. */
  show(step, from = 0) {
    const { at, tile, number } = onePage;
    const { example, i, model, data } = this;
    const guess = example.guess + i;
    for (const name of ["x0", "x02"]) tile(at(name), model, example.x0);
    for (const name of ["xt", "in"]) tile(at(name), model, example.xt + i);
    for (const name of ["guess", "guess2"]) tile(at(name), model, guess);
    tile(at("eps"), model, example.eps);
    tile(at("wrong"), model, guess, example.x0);
    at("signal").textContent = number(example.signal[i]);
    at("noise").textContent = number(example.noise[i]);
    at("t-value").textContent = `t = ${example.t[i]}`;
    this.slider.setAttribute("aria-valuetext", `t = ${example.t[i]} of ${data.T}`);
    at("J").textContent = number(example.J[i], 4);
    at("norm").textContent = onePage.significant(example.norm[i]);
    onePage.bars(at("bars"), example.gradient[i], this.names, from);
    this.showUpdate();
    const back = step === "back" || step === "update";
    onePage.light(this.bars, back ? from : this.bars.length - 1, back);
    onePage.lit(this.lane, step, this.terms(step), this.player.playing);
    this.say(step);
  }

  showUpdate() {
    const { at, number } = onePage;
    const { betas, J, before, beta } = this.data.update;
    const here = Number(this.betas.value);
    const high = Math.min(Math.max(...J), 2 * before);
    const values = J.map((value) => Math.min(value, high));
    const low = Math.min(...J) - 0.15 * (before - Math.min(...J));
    onePage.curves(at("curve"), [{ values, name: "J" }], { low, high, here, marks: [before] });
    at("beta-value").textContent = `β = ${betas[here].toFixed(2)}`;
    const run = betas[here] === beta ? ", the run's" : "";
    this.betas.setAttribute("aria-valuetext", `β = ${betas[here].toFixed(2)}${run}`);
    at("before").textContent = number(before, 4);
    at("after").textContent = number(J[here], 4);
  }

  /** While it plays, light one term of a step's equation alone. */
  point(step, term) {
    onePage.lit(this.lane, step, { [term]: 1 }, true);
  }

  /** The terms of a step's equation, each with how brightly it shines. */
  terms(step) {
    const { signal, noise } = this.example;
    return {
      noise: { xt: 1, signal: signal[this.i], noise: noise[this.i] },
      guess: { guess: 1, network: 1 },
      error: { J: 1, square: 1 },
      back: { grad: 1 },
      update: { theta: 1, beta: 1, grad: 1 },
    }[step];
  }

  say(step) {
    const { number } = onePage;
    const { example, i, data } = this;
    const { M, betas, J, before } = data.update;
    const beta = Number(this.betas.value);
    const after = J[beta];
    const way = after < before ? "falls" : after > before ? "rises" : "stays";
    const gradient = example.gradient[i];
    const most = this.names[gradient.indexOf(Math.max(...gradient))];
    const told = example.label === null ? "" : ` It is told that this is a ${example.label}.`;
    const [signal, noise] = [number(example.signal[i]), number(example.noise[i])];
    const error = number(example.J[i], 4);
    this.caption.textContent = {
      noise:
        `At t = ${example.t[i]}, xₜ = ${signal} · x₀ + ${noise} · ε. Its mean squared distance ` +
        `from x₀ is ${number(example.apart[i], 4)}; that of the guess is ${error}.`,
      guess:
        `${data.parameters.toLocaleString("en")} parameters, θ, turn xₜ and t into ` +
        `the guess x̂₀.${told}`,
      error:
        `J = ${error}, the mean of (x̂₀ − x₀)² over D = ${data.side ** 2} pixels. ` +
        "The brighter a pixel on the right, the further off it is.",
      back:
        "∂J/∂x̂₀ = 2 (x̂₀ − x₀) / D goes back through the layers. A bar is the norm of ∇J in " +
        `one layer's parameters; the longest is that of ${most}.`,
      update:
        `With β = ${betas[beta].toFixed(2)}, J of the mini-batch of ${M} images ${way} from ` +
        `${number(before, 4)} to ${number(after, 4)}.`,
    }[step];
  }

  /** Paused: nothing is dim any more. */
  rest() {
    onePage.undim(this.lane);
  }

  /** A training step in beats, image after image. */
  *beats() {
    const { betas, beta } = this.data.update;
    const run = betas.indexOf(beta);
    for (;;) {
      this.betas.value = 0;
      for (let i = 0; i <= this.example.drawn; i += 1) {
        const show = () => {
          this.slider.value = i;
          this.show("noise");
        };
        yield [i ? 45 : 900, show, i < this.example.drawn];
      }
      for (const term of ["signal", "noise", "xt"]) yield [600, () => this.point("noise", term)];
      for (let i = 0; i < this.bars.length; i += 1) {
        yield [55, () => {
          if (!i) this.show("guess");
          if (!i) this.point("guess", "network");
          onePage.light(this.bars, i);
        }, true];
      }
      yield [900, () => this.show("guess")];
      yield [1600, () => this.show("error")];
      for (let i = this.bars.length - 1; i >= 0; i -= 1) {
        yield [65, () => this.show("back", i), true];
      }
      yield [1200, () => this.show("back")];
      for (let i = 0; i <= run; i += 1) {
        yield [60, () => { this.betas.value = i; this.show("update"); }, true];
      }
      yield [2000, () => this.show("update")];
      yield [0, () => onePage.chooseExample((this.chosen + 1) % this.data.examples.length), true];
    }
  }
};
