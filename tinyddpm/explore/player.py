"""What the tabs with a chain share: the controls of a sampler, and what takes a chain's steps until it is paused."""
from nicegui import ui

from .explorer import SAMPLERS, Settings, whole
from .parts import computed, marked, slider

SECONDS, FRAME = 6, 0.08  # how long a whole chain takes to watch, and a frame at least: a chain of more steps takes several a frame
NAMES = {"ddpm": "DDPM, all steps", "ddim": "DDIM", "dpm_solver": "DPM-Solver++(2M)", "heun": "Heun"}


def settings_of(explorer, name, otherwise=("each in turn", None)):
    """Controls of a sampler; `otherwise`: what is offered besides the classes, and the label that it stands for. Returns a function that gives the Settings they stand at, with `on_change` to be told of changes."""
    T = explorer.schedule.T
    sampler = marked(ui.select({key: NAMES[key] for key in SAMPLERS}, value="ddim", label="sampler").style("width: 100%"), f"{name}-sampler")
    steps = slider("steps from T to 0", f"{name}-steps", 1, T, min(50, T))
    steps.bind_enabled_from(sampler, "value", lambda value: value != "ddpm")
    label = guidance = None
    if explorer.names:
        options = {-1: otherwise[0]} | dict(enumerate(explorer.names))
        label = marked(ui.select(options, value=-1, label="class").style("width: 100%"), f"{name}-class")
    if explorer.guidable:
        guidance = slider("guidance: 0 not at all, 1 as learned, 3 plainly", f"{name}-guidance", 0, 6, 1, step=0.5)

    def settings():
        chosen = -1 if label is None else whole(label.value, -1, len(explorer.names) - 1, -1)
        weight = 1.0 if guidance is None else whole(2 * (guidance.value or 0), 0, 12, 2) / 2
        return Settings(sampler.value if sampler.value in SAMPLERS else "ddim", whole(steps.value, 1, T, 1), otherwise[1] if chosen < 0 else chosen, weight)

    def on_change(tell):
        for control in filter(None, (sampler, steps, label, guidance)):
            control.on_value_change(tell)

    settings.on_change = on_change
    return settings


class Player:
    """Takes a Chain's steps, a frame at a time, and shows it after each, until it is paused or at its end. seconds(): how long that may take."""

    def __init__(self, settings, show, seconds=lambda: SECONDS):
        self.settings, self.show, self.seconds, self.chain = settings, show, seconds, None
        self.timer = ui.timer(0.1, self._frame, active=False)

    def hold(self, chain):
        """Another chain takes the place of the present one. It runs on if that one did."""
        self.chain = chain
        self.show(chain)

    def toggle(self):
        self.timer.active = not self.timer.active
        self.show(self.chain)

    def pause(self):
        self.timer.active = False

    async def _frame(self):
        chain, seconds = self.chain, self.seconds()
        steps = chain.left(self.settings()) * chain.explorer.schedule.T / max(1, chain.t)  # of a whole chain
        self.timer.interval = min(1.0, max(FRAME, seconds / max(1, steps)))
        await self.step(max(1, round(steps * FRAME / seconds)))

    async def step(self, times):
        chain = self.chain
        if not await computed(chain.step, self.settings(), times, answers=True):
            self.pause()
        if self.chain is chain:  # and no other took its place meanwhile
            if chain.t == 0:
                self.pause()
            self.show(chain)
