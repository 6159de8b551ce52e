"""What the tabs with a chain share: the controls of a sampler, and what lets a chain run."""

from collections.abc import Callable
from typing import Any

from nicegui import ui

from .chain import BEST, SAMPLERS, STEPS, Chain, Settings
from .explorer import Explorer
from .inputs import whole
from .parts import marked, slider, succeeded

SECONDS = 6  # how long a whole chain takes to watch, unless something else is asked for
FRAME = 0.08  # seconds at least from frame to frame: of a long chain a frame takes several steps
NAMES = {
    "dpm_noise": "DPM-Solver++(2M) with noise",
    "ddpm": "DDPM, all steps",
    "ddim": "DDIM",
    "dpm_solver": "DPM-Solver++(2M)",
    "heun": "Heun",
}


class SamplerControls:
    """The controls of a sampler, and the Settings that they stand at."""

    def __init__(
        self,
        explorer: Explorer,
        name: str,
        otherwise: tuple[str, int | None] | None = ("each in turn", None),
    ) -> None:
        """Put the controls on the page.

        Args:
            explorer: tells what there is to choose from.
            name: how the names of the controls begin.
            otherwise: what is offered besides the classes, and the label that it stands for;
                None: nothing, and the first class is chosen.
        """
        self.T, self.classes, self.otherwise = (
            explorer.schedule.T,
            len(explorer.names),
            otherwise[1] if otherwise else 0,
        )
        samplers = {key: NAMES[key] for key in SAMPLERS}
        sampler = ui.select(samplers, value=BEST, label="sampler").style("width: 100%")
        self.sampler = marked(sampler, f"{name}-sampler")
        self.steps = slider("steps from T to 0", f"{name}-steps", 1, self.T, min(STEPS, self.T))
        self.steps.bind_enabled_from(sampler, "value", lambda value: value != "ddpm")
        self.label = self.guidance = None
        if explorer.names:
            labels = dict(enumerate(explorer.names))
            if otherwise:
                labels = {-1: otherwise[0]} | labels
            label = ui.select(labels, value=min(labels), label="class").style("width: 100%")
            self.label = marked(label, f"{name}-class")
        if explorer.guidable:
            text = "guidance: 0 none, 1 as learned, 3 strong"
            self.guidance = slider(text, f"{name}-guidance", 0, 6, 1, step=0.5)

    def settings(self) -> Settings:
        """What the controls stand at. A browser may have sent anything."""
        sampler = self.sampler.value if self.sampler.value in SAMPLERS else BEST
        label = -1
        if self.label is not None:
            label = whole(self.label.value, -1, self.classes - 1, -1)
        guidance = 1.0
        if self.guidance is not None:
            guidance = whole(2 * (self.guidance.value or 0), 0, 12, 2) / 2  # in halves
        steps = whole(self.steps.value, 1, self.T, 1)
        return Settings(sampler, steps, self.otherwise if label < 0 else label, guidance)

    def on_change(self, tell: Callable[[], Any]) -> None:
        """Call `tell` whenever one of them changes."""
        for control in filter(None, (self.sampler, self.steps, self.label, self.guidance)):
            control.on_value_change(tell)


class Player:
    """Takes a Chain's steps, a frame at a time, until it is paused or the chain is at its end."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        show: Callable[[Chain], None],
        seconds: Callable[[], float] = lambda: SECONDS,
        advance: Callable[[Chain, Settings, int], None] = Chain.step,
    ) -> None:
        """A player without a chain: `hold` one.

        Args:
            settings: the settings of the next step.
            show: called with the chain after each frame.
            seconds: how long a whole chain takes to watch.
            advance: takes so many steps with these settings.
        """
        self.settings, self.show, self.seconds = settings, show, seconds
        self.advance = advance
        self.chain: Chain | None = None
        self.timer = ui.timer(0.1, self._frame, active=False)

    def hold(self, chain: Chain) -> None:
        """Another chain takes the place of the present one. It runs on if that one did."""
        self.chain = chain
        self.show(chain)

    def toggle(self) -> None:
        """Run, or pause."""
        self.timer.active = not self.timer.active
        self.show(self._held())

    def pause(self) -> None:
        """Take no further step."""
        self.timer.active = False

    async def _frame(self) -> None:
        steps, seconds = self._held().whole(self.settings()), self.seconds()
        self.timer.interval = min(1.0, max(FRAME, seconds / max(1, steps)))
        await self.step(max(1, round(steps * FRAME / seconds)))

    async def step(self, times: int) -> None:
        """Take so many steps, and show the chain."""
        chain = self._held()
        if not await succeeded(self.advance, chain, self.settings(), times):
            self.pause()
        if self.chain is chain:  # and no other took its place meanwhile
            if chain.t == 0:
                self.pause()
            self.show(chain)

    def _held(self) -> Chain:
        assert self.chain is not None  # the tabs hold a chain before they let it run
        return self.chain
