// The landing page: eight garments are drawn, once, and again when asked.
"use strict";

(() => {
  const model = "fashion";
  const { t, samples } = onePage.data[model].chain;
  const row = document.getElementById("landing-row");
  const value = document.getElementById("landing-t");
  const button = document.getElementById("landing-again");
  row.hidden = document.getElementById("landing-under").hidden = false; // as without JavaScript
  const canvases = samples.map(() => row.appendChild(document.createElement("canvas")));
  // Milliseconds for each stride, 4.5 seconds in all. The first ones look alike.
  const pause = (j) => (j === 0 ? 700 : j < 9 ? 90 : 190);
  let timer;

  const show = (j) => {
    samples.forEach(({ xt }, i) => onePage.tile(canvases[i], model, xt + j));
    value.textContent = `t = ${t[j]}`;
  };

  const draw = (j = 0) => {
    clearTimeout(timer);
    show(j);
    if (j < t.length - 1) timer = setTimeout(draw, pause(j), j + 1);
  };

  button.addEventListener("click", () => draw());
  onePage.load(model, () => (onePage.still() ? show(t.length - 1) : draw()));
})();
