// The landing page: eight garments are drawn, once, and again when asked.
"use strict";

(() => {
  const model = "fashion";
  const { t, samples } = onePage.data[model].chain;
  const row = document.getElementById("landing-row");
  const value = document.getElementById("landing-t");
  const button = document.getElementById("landing-again");
  const canvases = samples.map(() => row.appendChild(document.createElement("canvas")));
  const FRAME = 170; // milliseconds for each stride: four seconds in all
  let timer;

  const show = (j) => {
    samples.forEach(({ xt }, i) => onePage.tile(canvases[i], model, xt + j));
    value.textContent = `t = ${t[j]}`;
  };

  const draw = (j = 0) => {
    clearTimeout(timer);
    show(j);
    if (j < t.length - 1) timer = setTimeout(draw, j ? FRAME : 700, j + 1);
  };

  button.addEventListener("click", () => draw());
  onePage.load(model, () => (onePage.still() ? show(t.length - 1) : draw()));
})();
