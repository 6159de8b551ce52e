// The choice of the model and of the images, and the start.
"use strict";

(() => {
  const { at, data } = onePage;
  const training = new onePage.Training();
  const chain = new onePage.Chain();

  /** Radio buttons in a fieldset; `label(i)` returns what stands beside each. */
  const choices = (fieldset, values, label, chosen) => {
    for (const old of fieldset.querySelectorAll("label")) old.remove();
    values.forEach((value, i) => {
      const choice = document.createElement("label");
      const radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: fieldset.id, value, checked: i === 0 });
      radio.addEventListener("change", () => chosen(value));
      choice.append(radio, label(i));
      fieldset.appendChild(choice);
    });
  };

  /** A tile to choose by. */
  const picture = (model, n, title) => {
    const canvas = document.createElement("canvas");
    onePage.tile(canvas, model, n);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    return canvas;
  };

  onePage.chooseExample = (number) => {
    const radio = at("example").querySelectorAll("input")[number];
    radio.checked = true;
    training.choose(number);
  };

  let asked = "";
  const show = (model) => {
    if (model !== asked) return; // another was asked for while this one was on its way
    const { examples, chain: drawn } = data[model];
    const followed = drawn.samples.filter((sample) => "guess" in sample);
    const first = (i) => picture(model, examples[i].x0, `image ${i + 1}`);
    const end = (i) => picture(model, followed[i].xt + drawn.c1.length, `image ${i + 1}`);
    choices(at("example"), [...examples.keys()], first, (i) => {
      training.player.stop();
      training.choose(i);
    });
    choices(at("sample"), [...followed.keys()], end, (i) => {
      chain.player.stop();
      chain.choose(i);
    });
    training.open(model);
    chain.open(model);
    at("training").inert = at("chain").inert = false;
    at("training").dataset.ready = model;
  };

  const open = (model) => {
    asked = model;
    onePage.load(model, () => show(model));
  };

  at("training").inert = at("chain").inert = true; // until there is something to show
  choices(at("model"), Object.keys(data), (i) => Object.keys(data)[i], open);
  open(Object.keys(data)[0]);
})();
