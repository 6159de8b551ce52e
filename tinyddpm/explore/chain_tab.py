"""The tab "The chain": eight images on their way from noise, under controls that stay live."""

import numpy as np
from nicegui import ui

from . import drawing as draw, words
from .chain import Chain
from .explorer import Explorer
from .inputs import whole
from .parts import (
    bold_line,
    button,
    caption_line,
    counted,
    marked,
    number_field,
    seed_of,
    sheet_of,
    slider,
)
from .player import SECONDS, Player, SamplerControls

LONGEST = 60  # seconds for a whole chain
HINT = "You can change all of it while the chain runs: it goes on from its xₜ with what you chose."


class ChainTab:
    """The tab. Making one puts it on the page."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.T = explorer, explorer.schedule.T
        with ui.element("div").classes("side figures-first"):
            with ui.column().classes("sheet"):
                self._controls()
            with ui.column().classes("sheet"):
                self._figures()
        self.player = Player(self.controls.settings, self.show, self._seconds)
        self.seed.on_value_change(self.restart)
        self.controls.on_change(lambda: self.show(self.chain))
        self.restart()

    def _controls(self) -> None:
        self.controls = SamplerControls(self.explorer, "chain")
        self.seed = number_field("seed of the noise (restarts the chain)", "chain-seed")
        text = "seconds for a whole chain"
        self.pace = slider(text, "chain-seconds", 2, LONGEST, SECONDS)
        ui.label(HINT).classes("quiet")

    def _figures(self) -> None:
        bar = ui.linear_progress(0, show_value=False).props("rounded")
        self.bar = marked(bar, "chain-bar")
        self.where = bold_line("chain-t")
        with ui.row().style("gap: 8px"):
            self.play = button("Start", "chain-play").on_click(self.toggle)
            button("One step", "chain-one", outline=True).on_click(self.single)
            button("Restart", "chain-restart", outline=True).on_click(self.restart)
        with ui.element("div").classes("two"):
            self.xt = sheet_of("xₜ", "chain-xt", 8)
            self.x0_hat = sheet_of("x̂₀, the network's guess", "chain-x0", 8)
        self.caption = caption_line("chain-caption")

    def _seconds(self) -> int:
        return whole(self.pace.value, 2, LONGEST, SECONDS)

    def show(self, chain: Chain) -> None:
        """Show where the chain is."""
        self.chain, settings = chain, self.controls.settings()
        self.bar.set_value(1 - chain.t / self.T)
        left = f", {counted(chain.left(settings), 'step')} to go" if chain.t else ""
        self.where.set_text(f"t = {chain.t} of {self.T}{left}")
        x0_hat = np.zeros_like(chain.xt) if chain.x0_hat is None else chain.x0_hat  # grey: no guess
        for places, images in ((self.xt, chain.xt), (self.x0_hat, x0_hat)):
            for place, x in zip(places, images):
                place.set_source(draw.picture(x))
        self.caption.set_text(words.of_chain(chain, settings, self.T))
        self.play.set_text(self._what_play_does(chain.t))

    def _what_play_does(self, t: int) -> str:
        if self.player.timer.active:
            return "Pause"
        if t == self.T:
            return "Start"
        return "Again" if t == 0 else "Go on"

    def restart(self) -> None:
        """Begin a chain of the present seed."""
        self.player.hold(Chain(self.explorer, seed_of(self.seed)))

    async def toggle(self) -> None:
        """Run or pause, and begin again after the end."""
        if self.chain.t == 0:
            self.restart()
        self.player.toggle()

    async def single(self) -> None:
        """Take one step."""
        self.player.pause()
        await self.player.step(1)
