"""The tab "The chain": eight images on their way from noise, under controls that stay live.

Each frame is kept, so one can go back and forth, and save it all as a GIF. A second chain, by
another sampler from the same noise, may run beside it.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nicegui import ui

from ..pictures.images import denoising
from ..types import Array
from . import drawing as draw, words
from .chain import SAMPLERS, Chain, Settings
from .explorer import Explorer
from .inputs import whole
from .parts import (
    Choice,
    bold_line,
    button,
    caption_line,
    computed,
    counted,
    marked,
    number_field,
    seed_of,
    sheet_of,
    slider,
)
from .player import NAMES, SECONDS, Player, SamplerControls

LONGEST = 60  # seconds for a whole chain
MOST = 240  # frames that are kept: of more, every other one is dropped
NOBODY = "nobody"
HINT = "You can change all of it while the chain runs: it goes on from its xₜ with what you chose."


class Frame(NamedTuple):
    """The chain after a step with these settings, and what the second one had come to."""

    t: int
    taken: int  # steps
    xt: Array
    x0_hat: Array | None
    settings: Settings | None  # None before the first step
    other: "Frame | None" = None

    @classmethod
    def of(cls, chain: Chain, other: Chain | None, settings: Settings | None = None) -> "Frame":
        """Of one chain or two."""
        beside = cls.of(other, None) if other else None
        return cls(chain.t, chain.taken, chain.xt, chain.x0_hat, settings, beside)


class ChainTab:
    """The tab. Making one puts it on the page."""

    def __init__(self, explorer: Explorer, choice: Choice) -> None:
        self.explorer, self.T = explorer, explorer.schedule.T
        self.frames: list[Frame] = []
        self.shown = 0  # the number of the frame that is shown
        self.looks_back = False  # whether it was chosen with the slider
        self.other: Chain | None = None
        with ui.element("div").classes("side figures-first"):
            with ui.column().classes("sheet"):
                self._controls()
            with ui.column().classes("sheet"):
                self._figures()
        self.player = Player(self.controls.settings, self.show, self._seconds, self._advance)
        self.seed.on_value_change(self.restart)
        self.against.on_value_change(self.restart)
        self.controls.on_change(lambda: self.show(self.chain))
        self.back.on_value_change(self.go_back)
        self.restart()

    def _controls(self) -> None:
        self.controls = SamplerControls(self.explorer, "chain")
        options = {NOBODY: "no other sampler"} | {name: NAMES[name] for name in SAMPLERS}
        text = "compare with (restarts)"
        against = ui.select(options, value=NOBODY, label=text).style("width: 100%")
        self.against = marked(against, "chain-against")
        self.seed = number_field("seed of the noise (restarts)", "chain-seed")
        text = "seconds for a whole chain"
        self.pace = slider(text, "chain-seconds", 2, LONGEST, SECONDS)
        ui.label(HINT).classes("quiet")

    def _figures(self) -> None:
        bar = ui.linear_progress(0, show_value=False).props("rounded instant-feedback")
        self.bar = marked(bar, "chain-bar")
        self.where = bold_line("chain-t")
        with ui.row().style("gap: 8px"):
            self.play = button("Start", "chain-play").on_click(self.toggle)
            button("One step", "chain-one", outline=True).on_click(self.single)
            button("Restart", "chain-restart", outline=True).on_click(self.restart)
            button("Save as GIF", "chain-gif", outline=True).on_click(self.save)
        self.back = slider("frame, back and forth", "chain-back", 0, 0, 0)
        self.title = bold_line("chain-title")
        self.sheets = self._sheets("chain")
        with ui.column().style("width: 100%") as self.beside:
            self.other_title = bold_line("chain-other-title")
            self.other_sheets = self._sheets("chain-other")
        self.caption = caption_line("chain-caption")

    def _sheets(self, name: str) -> tuple[list[ui.interactive_image], list[ui.interactive_image]]:
        with ui.element("div").classes("two"):
            return (
                sheet_of("xₜ", f"{name}-xt", 8),
                sheet_of("x̂₀, the network's guess", f"{name}-x0", 8),
            )

    def _seconds(self) -> int:
        return whole(self.pace.value, 2, LONGEST, SECONDS)

    def _advance(self, chain: Chain, settings: Settings, times: int) -> None:
        """Take steps, and with the other chain as many as bring it to the same t, or past it."""
        other, name = self.other, self.against.value
        chain.step(settings, times)
        while other and other.t > chain.t:
            other.step(replace(settings, sampler=name))
        if self.chain is chain:  # and no other took its place meanwhile
            self.latest = Frame.of(chain, other, settings)

    # ---- figures ---------------------------------------------------------------------------------

    def show(self, chain: Chain) -> None:
        """Keep where the chain is as a frame, if it is a new one, and show it."""
        if not self.frames or self.frames[-1].xt is not self.latest.xt:
            self.frames.append(self.latest)
            if len(self.frames) > MOST:
                del self.frames[1:-1:2]
        self.play.set_text(self._what_play_does(chain.t))
        self.back.props["max"] = max(1, len(self.frames) - 1)
        if not (self.looks_back and self.shown < len(self.frames) - 1):
            self._show_frame(len(self.frames) - 1)

    def _show_frame(self, number: int) -> None:
        frame, settings = self.frames[number], self.controls.settings()
        self.shown = number
        self.back.set_value(number)
        steps = self.chain.taken + self.chain.left(settings)  # of all of it
        left = steps - frame.taken
        self.bar.set_value(frame.taken / max(1, steps))
        done = f", {counted(frame.taken, 'step')} done"
        to_go = f", {counted(left, 'step')} to go" if left else ""
        self.where.set_text(f"t = {frame.t} of {self.T}{done}{to_go}")
        self._fill(self.sheets, frame)
        settings = frame.settings or settings  # those that made this frame
        self.title.set_text(NAMES[settings.sampler])
        self.beside.set_visibility(frame.other is not None)
        said = words.of_chain(frame.t, frame.xt, frame.x0_hat, settings, self.T)
        if other := frame.other:
            self._fill(self.other_sheets, other)
            names = NAMES[settings.sampler], NAMES[self.against.value]
            self.other_title.set_text(f"{names[1]}, t = {other.t}")
            said += " " + words.of_two_chains(names, (frame.xt, other.xt), (frame.t, other.t))
        self.caption.set_text(said)

    def _fill(
        self,
        sheets: tuple[list[ui.interactive_image], list[ui.interactive_image]],
        frame: Frame,
    ) -> None:
        x0_hat = np.zeros_like(frame.xt) if frame.x0_hat is None else frame.x0_hat  # grey: no guess
        for places, images in zip(sheets, (frame.xt, x0_hat)):
            for place, x in zip(places, images):
                place.set_source(draw.picture(x))

    def _what_play_does(self, t: int) -> str:
        if self.player.timer.active:
            return "Pause"
        if t == self.T:
            return "Start"
        return "Again" if t == 0 else "Go on"

    # ---- what the buttons do ---------------------------------------------------------------------

    def restart(self) -> None:
        """Begin a chain of the present seed, and another beside it if there is to be one."""
        self.frames.clear()
        self.looks_back = False
        seed = seed_of(self.seed)
        self.other = Chain(self.explorer, seed) if self.against.value in SAMPLERS else None
        self.chain = Chain(self.explorer, seed)
        self.latest = Frame.of(self.chain, self.other)
        self.player.hold(self.chain)

    async def toggle(self) -> None:
        """Run or pause, and begin again after the end."""
        self.looks_back = False
        if self.chain.t == 0:
            self.restart()
        self.player.toggle()

    async def single(self) -> None:
        """Take one step."""
        self.looks_back = False
        self.player.pause()
        await self.player.step(1)

    def go_back(self) -> None:
        """Show the frame that the slider stands at."""
        number = whole(self.back.value, 0, len(self.frames) - 1, 0)
        if number != self.shown:
            self.player.pause()
            self.looks_back = True
            self.play.set_text(self._what_play_does(self.chain.t))
            self._show_frame(number)

    async def save(self) -> None:
        """Send the frames to the browser, as a GIF to keep."""
        if not (frames := [frame for frame in self.frames if frame.x0_hat is not None]):
            ui.notify("Start the chain first: there is nothing to save yet.")
            return
        drawn = frames[-1].settings or self.controls.settings()
        names = NAMES[drawn.sampler], NAMES.get(self.against.value, "")
        ui.download(await computed(film, frames, names), "chain.gif", "image/gif")


def film(frames: list[Frame], names: tuple[str, str]) -> bytes:
    """A GIF of x_t and x̂_0, or of the x_t of two samplers of these names."""
    pairs, titles = [(f.t, f.xt, f.x0_hat) for f in frames], ("x_t: noisy", "x̂_0: the guess")
    if frames[-1].other:
        pairs, titles = [(f.t, f.xt, f.other.xt) for f in frames if f.other], names
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.gif"
        denoising(path, [(t, a, b) for t, a, b in pairs if b is not None], titles)
        return path.read_bytes()
