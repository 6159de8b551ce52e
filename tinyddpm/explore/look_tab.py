"""The tab "Every t": a slider over t, with x_t and what the network and the ideal denoiser make of it."""
from nicegui import ui

from . import drawing as draw
from . import words
from .explorer import whole
from .parts import caption_line, computed, image_text, marked, newest, number_field, on_change, seed_of, slider, tile


def build(explorer):
    T, last = explorer.schedule.T, len(explorer.images) - 1
    with ui.element("div").classes("side"):
        with ui.column().classes("sheet"):
            t = slider("t, how much noise", "look-t", 1, T, min(T, max(1, round(0.3 * T))))
            image = slider(image_text(explorer), "look-image", 0, last, 0)
            seed = number_field("seed of ε", "look-seed")
            told = marked(ui.switch("tell both the class"), "look-class") if explorer.labels is not None else None
        with ui.column().classes("sheet"):
            with ui.element("div").classes("tiles"):
                tiles = {"x0": tile("x₀", "look-x0"), "xt": tile("xₜ", "look-xt"), "network": tile("x̂₀, network", "look-network", draw.COLOURS["network"])}
                if explorer.training:
                    tiles |= {"ideal": tile("x̂₀, ideal", "look-ideal", draw.COLOURS["ideal"]), "mean": tile("mean image", "look-mean")}
            caption = caption_line("look-caption")
            curves = marked(ui.html(sanitize=False), "look-curves").style("width: 100%; max-width: 480px")
            ui.label(words.of_curves(explorer)).classes("quiet")
    curve = {}  # of the image, seed and class that it was computed for: it does not depend on t

    @newest
    async def show():
        at, number, s = whole(t.value, 1, T, 1), whole(image.value, 0, last, 0), seed_of(seed)
        label = int(explorer.labels[number]) if told and told.value else None
        look = await computed(explorer.look, number, at, s, label)
        if (number, s, label) != curve.get("of"):
            curve.update(of=(number, s, label), curve=await computed(explorer.errors, number, s, label))
        for name, place in tiles.items():
            place.image.set_source(draw.picture(getattr(look, name)))
            if name in look.errors:
                place.note.set_text(f"error {look.errors[name]:.4f}")
        kind = "" if not explorer.training else "trained on" if number < explorer.known else "held out"
        tiles["x0"].note.set_text(kind + (f", class {explorer.names[explorer.labels[number]]}" if explorer.labels is not None else ""))
        tiles["xt"].note.set_text(f"t = {at}")
        caption.set_text(words.of_look(explorer, number, at, label is not None))
        curves.set_content(draw.curves(*curve["curve"], at))

    on_change(show, t, image, seed, told)
