"""The tab "Every t": a slider over t, with x_t and the guesses of network and ideal denoiser."""

from nicegui import ui

from ..types import Array
from . import drawing as draw, words
from .explorer import Explorer, Look
from .inputs import whole
from .parts import (
    Tile,
    caption_line,
    computed,
    image_of,
    image_slider,
    marked,
    newest,
    number_field,
    on_change,
    seed_of,
    slider,
    tile,
)


class LookTab:
    """The tab. Making one puts it on the page."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.T = explorer, explorer.schedule.T
        # The errors over t do not depend on t: (image, seed, label), and the curve of these.
        self.of: tuple[int, int, int | None] | None = None
        self.curve: tuple[Array, dict[str, Array]]
        with ui.element("div").classes("side"):
            with ui.column().classes("sheet"):
                self._controls()
            with ui.column().classes("sheet"):
                self._figures()
        on_change(newest(self.show), self.t, self.image, self.seed, self.conditioned)

    def _controls(self) -> None:
        self.t = slider("t, how much noise", "look-t", 1, self.T, max(1, round(0.3 * self.T)))
        self.image = image_slider(self.explorer, "look-image")
        self.seed = number_field("seed of ε", "look-seed")
        self.conditioned = None
        if self.explorer.labels is not None:
            self.conditioned = marked(ui.switch("condition on the class"), "look-class")

    def _figures(self) -> None:
        with ui.element("div").classes("tiles"):
            self.tiles = self._tiles()
        self.caption = caption_line("look-caption")
        curves = ui.html(sanitize=False).style("width: 100%; max-width: 480px")
        self.curves = marked(curves, "look-curves")
        ui.label(words.of_curves(self.explorer)).classes("quiet")

    def _tiles(self) -> dict[str, Tile]:
        """By the names of a Look."""
        tiles = {
            "x0": tile("x₀", "look-x0"),
            "xt": tile("xₜ", "look-xt"),
            "network": tile("x̂₀, network", "look-network", draw.COLOURS["network"]),
        }
        if self.explorer.training:
            tiles["ideal"] = tile("x̂₀, ideal", "look-ideal", draw.COLOURS["ideal"])
            tiles["mean"] = tile("mean image", "look-mean")
        return tiles

    async def show(self) -> None:
        """Compute and show what the controls stand at."""
        t, image = whole(self.t.value, 1, self.T, 1), image_of(self.image, self.explorer)
        seed, label = seed_of(self.seed), self._label(image)
        look = await computed(self.explorer.look, image, t, seed, label)
        if self.of != (image, seed, label):
            self.curve = await computed(self.explorer.errors, image, seed, label)
            self.of = image, seed, label
        self._fill_tiles(look, image, t)
        self.caption.set_text(words.of_look(self.explorer, image, t, label is not None))
        self.curves.set_content(draw.curves(*self.curve, t))

    def _label(self, image: int) -> int | None:
        """The class that both denoisers are conditioned on, or None."""
        if self.explorer.labels is None or not (self.conditioned and self.conditioned.value):
            return None
        return int(self.explorer.labels[image])

    def _fill_tiles(self, look: Look, image: int, t: int) -> None:
        explorer = self.explorer
        for name, place in self.tiles.items():
            place.image.set_source(draw.picture(getattr(look, name)))
            if name in look.errors:
                place.note.set_text(f"error {look.errors[name]:.4f}")
        note = ""
        if explorer.training:
            note = "trained on" if image < explorer.known else "held out"
        if explorer.labels is not None:
            note += f", class {explorer.names[explorer.labels[image]]}"
        self.tiles["x0"].note.set_text(note)
        self.tiles["xt"].note.set_text(f"t = {t}")
