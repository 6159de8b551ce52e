"""The tab "Every t": a slider over t, with x_t and the guesses of network and ideal denoiser."""

from nicegui import ui

from ..types import Array
from . import drawing as draw, words
from .explorer import Explorer, Look
from .parts import Choice, Tile, button, caption_line, computed, marked, newest, tile

FRAMES, FRAME = 40, 0.12  # of the way from T to 1, and the seconds from one to the next
PLAY, STOP = "Play from T to 1", "Stop"


class LookTab:
    """The tab. Making one puts it on the page."""

    def __init__(self, explorer: Explorer, choice: Choice) -> None:
        self.explorer, self.choice, self.T = explorer, choice, explorer.schedule.T
        # The errors over t do not depend on t: (image, seed, label), and the curve of these.
        self.of: tuple[int, int, int | None] | None = None
        self.curve: tuple[Array, dict[str, Array]]
        self.way: list[int] = []  # the t that are still to be played
        self.played = 0  # the last one that was
        with ui.element("div").classes("side figures-first"):
            with ui.column().classes("sheet"):
                choice.controls("look")
            with ui.column().classes("sheet"):
                with ui.element("div").classes("time"):
                    self.play = button(PLAY, "look-play").on_click(self.toggle)
                    choice.slider_of_t("look")
                self._figures()
        self.timer = ui.timer(FRAME, self._frame, active=False)
        choice.on_change("look", newest(self.show))

    def _figures(self) -> None:
        with ui.element("div").classes("tiles"):
            self.tiles = self._tiles()
        with ui.element("div").classes("two"):
            with ui.column():
                self.caption = caption_line("look-caption")
                self.about_ideal = ui.label().classes("quiet")
            with ui.column():
                curves = ui.html(sanitize=False).style("width: 100%; max-width: 640px")
                self.curves = marked(curves, "look-curves")
                about = ui.label().classes("quiet")
                self.about_curves = marked(about, "look-about-curves")

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
        """Compute and show what was chosen."""
        choice = self.choice
        image, t, seed, label = choice.image, choice.t, choice.seed, choice.label
        look = await computed(self.explorer.look, image, t, seed, label)
        if self.of != (image, seed, label):
            self.curve = await computed(self.explorer.errors, image, seed, label)
            self.of = image, seed, label
            self.about_curves.set_text(words.of_curves(*self.curve))
            self.about_ideal.set_text(words.of_ideal(self.explorer, label))
        self._fill_tiles(look, image)
        self.caption.set_text(words.of_look(self.explorer, look))
        self.curves.set_content(draw.curves(*self.curve, t))

    def _fill_tiles(self, look: Look, image: int) -> None:
        explorer = self.explorer
        told = words.of_class(explorer, look.label)
        for name, place in self.tiles.items():
            place.image.set_source(draw.picture(getattr(look, name)))
            if name in look.errors:
                error = f"error {look.errors[name]:.4f}"
                place.note.set_text(f"{error}, {told}" if told and name != "mean" else error)
        note = ["trained on" if image < explorer.known else "held out"] if explorer.training else []
        if explorer.labels is not None:
            note.append(f"class {explorer.names[explorer.labels[image]]}")
            if "mean" in self.tiles:
                whose = "all classes" if look.label is None else f"class {note[-1][6:]}"
                self.tiles["mean"].note.set_text(f"error {look.errors['mean']:.4f}, of {whose}")
        self.tiles["x0"].note.set_text(", ".join(note))
        self.tiles["xt"].note.set_text(f"t = {look.t}")

    # ---- t plays ---------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Let t fall from T to 1, or stop."""
        if self.timer.active:
            self._stop()
        else:
            self.begin(1)

    def begin(self, last: int) -> None:
        """Let t fall from T to `last`, until somebody moves it."""
        step = max(1, (self.T - last) // FRAMES)
        self.way = [*range(last, self.T, step), self.T]
        self.choice.set_t(self.T)
        self.played, self.timer.active = self.way.pop(), True
        self.play.set_text(STOP)

    def _frame(self) -> None:
        if not self.way or self.choice.t != self.played or self.choice.tab != "look":
            self._stop()
        else:
            self.played = self.way.pop()
            self.choice.set_t(self.played)

    def _stop(self) -> None:
        self.timer.active = False
        self.play.set_text(PLAY)
