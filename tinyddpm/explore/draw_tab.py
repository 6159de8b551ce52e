"""The tab "Draw": a sheet to draw on, the drawing noised, and denoised again."""

from collections.abc import Awaitable, Callable

from nicegui import ui
from nicegui.events import GenericEventArguments

from ..types import Array
from . import drawing as draw, words
from .chain import Chain
from .explorer import Explorer
from .inputs import PEN, Ink, rasterised, whole
from .parts import (
    Choice,
    bold_line,
    button,
    caption_line,
    computed,
    marked,
    newest,
    number_field,
    on_change,
    seed_of,
    sheet_of,
    slider,
    tile,
)
from .player import Player, SamplerControls

MOST_POINTS = 4000  # of a drawing
GREYS: dict[str, Ink] = {"black": (-1,), "white": (1,)}
COLOURS: dict[str, Ink] = {
    "black": (-1, -1, -1),
    "white": (1, 1, 1),
    "red": (0.7, -0.7, -0.7),
    "yellow": (0.9, 0.6, -0.6),
    "green": (-0.6, 0.3, -0.5),
    "blue": (-0.6, -0.2, 0.8),
}


class Pad:
    """The sheet and the pen. Attributes: strokes, as [(the ink's name, [(x, y), …]), …]."""

    def __init__(
        self, explorer: Explorer, ink: Callable[[], str], done: Callable[[], Awaitable[None]]
    ) -> None:
        """Put the sheet on the page.

        Args:
            explorer: tells the sheet's form and its grey.
            ink: the name of the ink of the next stroke.
            done: called after each stroke.
        """
        _, height, width = explorer.shape
        self.wide, self.high = 280, round(280 * height / width)
        self.ink, self.done = ink, done
        self.strokes: list[tuple[str, list[tuple[float, float]]]] = []
        self.is_down = False
        sheet = ui.interactive_image(size=(self.wide, self.high), sanitize=False)
        paper = "#fff" if explorer.paper > 0 else "#000"
        self.sheet = marked(sheet.classes("pixels pad"), "draw-pad").style(f"background: {paper}")
        self.sheet.on("svg:pointerdown", self._down)
        self.sheet.on("svg:pointermove", self._move, throttle=0.02)
        for event in ("svg:pointerup", "svg:pointerleave", "svg:pointercancel"):
            self.sheet.on(event, self._up)
        self._redraw()

    def clear(self) -> None:
        """Take all strokes off."""
        self.strokes.clear()
        self._redraw()

    def _redraw(self) -> None:
        style = 'fill="transparent" pointer-events="all"'
        sheet = f'<rect id="pad" width="{self.wide}" height="{self.high}" {style}/>'
        self.sheet.set_content(sheet + "".join(self._line(*stroke) for stroke in self.strokes))

    def _line(self, colour: str, points: list[tuple[float, float]]) -> str:
        """A stroke as SVG. Its last point comes twice, so that a dot is a line too."""
        ends = [*points, points[-1]]
        at = " ".join(f"{x * self.wide:.1f},{y * self.high:.1f}" for x, y in ends)
        width = f"{PEN * min(self.wide, self.high):.0f}"
        style = f'fill="none" stroke="{colour}" stroke-width="{width}"'
        caps = 'stroke-linecap="round" stroke-linejoin="round"'
        return f'<polyline points="{at}" {style} {caps}/>'

    def _point(self, event: GenericEventArguments) -> tuple[float, float]:
        x, y = float(event.args["image_x"]) / self.wide, float(event.args["image_y"]) / self.high
        return min(max(x, -1), 2), min(max(y, -1), 2)

    def _is_full(self) -> bool:
        return sum(len(points) for _, points in self.strokes) >= MOST_POINTS

    def _down(self, event: GenericEventArguments) -> None:
        if not self._is_full():
            self.is_down = True
            self.strokes.append((self.ink(), [self._point(event)]))
            self._redraw()

    def _move(self, event: GenericEventArguments) -> None:
        if self.is_down and self.strokes and not self._is_full():
            self.strokes[-1][1].append(self._point(event))
            self._redraw()

    async def _up(self) -> None:
        if self.is_down:
            self.is_down = False
            await self.done()


class DrawTab:
    """The tab. Making one puts it on the page."""

    def __init__(self, explorer: Explorer, choice: Choice) -> None:
        self.explorer, self.T = explorer, explorer.schedule.T
        self.inks = GREYS if explorer.shape[0] == 1 else COLOURS
        self.usual = "black" if explorer.paper > 0 else "white"
        self.started: int | None = None  # the t from which the present chain began
        self.x: Array  # and the drawing
        self.show = newest(self._show)
        with ui.element("div").classes("side"):
            with ui.column().classes("sheet"):
                self._controls()
            with ui.column().classes("sheet"):
                self._figures()
        self.player = Player(self.controls.settings, self.show_chain)
        on_change(self.show, self.t, self.seed, self.controls.label)

    def _controls(self) -> None:
        explorer = self.explorer
        self.pad = Pad(explorer, self._ink_chosen, self.show)
        with ui.row().style("gap: 8px; align-items: center"):
            self.play = button("Denoise", "draw-play").on_click(self.toggle)
            button("Clear", "draw-clear", outline=True).on_click(self.wipe)
        text = "t, how far to noise it"
        self.t = slider(text, "draw-t", 1, self.T, max(1, round(0.3 * self.T)))
        more = ui.expansion("ink, sampler, seed").props("dense").style("width: 100%")
        with marked(more, "draw-more"):
            ink = ui.select(list(self.inks), value=self.usual, label="ink").style("width: 100%")
            self.ink = marked(ink, "draw-ink")
            null = len(explorer.names) if explorer.names else None
            learned = explorer.guidable or not explorer.names  # what it says without a class
            otherwise = ("none (unconditional)", null) if learned else None
            self.controls = SamplerControls(explorer, "draw", otherwise)
            self.seed = number_field("seed of the noise", "draw-seed")

    def _figures(self) -> None:
        with ui.element("div").classes("tiles four"):
            self.drawing = tile("drawing", "draw-x0").image
            self.noisy = tile("xₜ", "draw-xt").image
            self.network = tile("network", "draw-network", draw.COLOURS["network"])
            self.ideal = None
            if self.explorer.training:
                self.ideal = tile("ideal", "draw-ideal", draw.COLOURS["ideal"])
        self.where = bold_line("draw-where")
        text = "denoised step by step, with four different noises"
        self.results = sheet_of(text, "draw-result", 4)
        self.caption = caption_line("draw-caption")

    def _ink_chosen(self) -> str:
        return self.ink.value if self.ink.value in self.inks else self.usual

    def _noised(self) -> tuple[int, Array, Array]:
        """The t to which the drawing is noised, the drawing (C, H, W), and four x_t of it."""
        t = whole(self.t.value, 1, self.T, 1)
        strokes = [(self.inks[colour], points) for colour, points in self.pad.strokes]
        x = rasterised(strokes, self.explorer.shape, self.explorer.paper)
        return t, x, self.explorer.noised(x[None].repeat(4, 0), t, seed_of(self.seed))

    async def _show(self) -> None:
        """Show the drawing, its x_t and the guesses at it, and hold a chain from there."""
        self.player.pause()
        t, x, xt = await computed(self._noised)
        label = self.controls.settings().label
        look = await computed(self.explorer.look_at, x, t, seed_of(self.seed), label)
        self.started, self.x = t, x
        self.player.hold(Chain(self.explorer, seed_of(self.seed), n=4, start=(t, xt)))
        self.drawing.set_source(draw.picture(x))
        self.noisy.set_source(draw.picture(xt[0]))
        told = words.of_class(self.explorer, label)
        self.network.image.set_source(draw.picture(look.network))
        self.network.note.set_text(told)
        if self.ideal and look.ideal is not None:
            self.ideal.image.set_source(draw.picture(look.ideal))
            self.ideal.note.set_text(told)
        self.caption.set_text(words.of_drawing(self.explorer, look, empty=not self.pad.strokes))

    def show_chain(self, chain: Chain) -> None:
        """Show where the chain is."""
        self.where.set_text(f"now at t = {chain.t}")
        for place, x in zip(self.results, chain.xt):
            place.set_source(draw.picture(x))
        if chain.t == 0:
            empty = not self.pad.strokes
            self.caption.set_text(words.of_results(self.x, chain.xt, empty))
        if self.player.timer.active:
            self.play.set_text("Pause")
        else:
            self.play.set_text("Denoise" if chain.t in (0, self.started) else "Go on")

    async def toggle(self) -> None:
        """Run or pause, and begin again after the end."""
        if self.player.chain is None or self.player.chain.t == 0:
            await self.show()
        self.player.toggle()

    async def wipe(self) -> None:
        """Begin with an empty sheet."""
        self.pad.clear()
        await self.show()
