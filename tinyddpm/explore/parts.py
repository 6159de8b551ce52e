"""What the tabs are made of: controls and figures under names that tests find, and computing.

All computing is done in one other thread. So controls answer while a chain runs, and what one
window asks for is computed between two steps of another window's chain.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from .drawing import picture
from .explorer import Explorer
from .inputs import whole

COMPUTING = ThreadPoolExecutor(1, thread_name_prefix="explore")
LARGEST_SEED = 2**31
# What a computation may raise for an input that it refuses.
REFUSED = (ValueError, FloatingPointError, MemoryError)

E = TypeVar("E", bound=ui.element)
R = TypeVar("R")


# ---- controls ------------------------------------------------------------------------------------


def marked(element: E, name: str) -> E:
    """The element, under a name by which tests find it."""
    return element.props(f'data-testid="{name}"')


def slider(
    text: str, name: str, low: float, high: float, value: float, step: float = 1
) -> ui.slider:
    """A slider under its text and its value."""
    with ui.column().classes("control"):
        label = ui.label().classes("quiet")
        control = ui.slider(min=low, max=max(high, low), step=step, value=value)
        marked(control.props(f'aria-label="{text}"'), name)

        def shown(value: object) -> str:
            return f"{text}: {value:g}" if isinstance(value, (int, float)) else text

        label.bind_text_from(control, "value", shown)
    return control


def number_field(text: str, name: str) -> ui.number:
    """A field for a seed."""
    field = ui.number(text, value=0, min=0, max=LARGEST_SEED, precision=0)
    return marked(field.classes("control"), name)


def seed_of(field: ui.number) -> int:
    """The seed that a field holds."""
    return whole(field.value, 0, LARGEST_SEED, 0)


def button(text: str, name: str, outline: bool = False) -> ui.button:
    """A small button, filled or with an outline only."""
    look = "outline padding='4px 10px'" if outline else "padding='4px 14px'"
    return marked(ui.button(text).props(f"no-caps dense {look}"), name)


# ---- figures -------------------------------------------------------------------------------------


class Tile(NamedTuple):
    """An image and the note under it."""

    image: ui.interactive_image
    note: ui.label


def tile(text: str, name: str, colour: str = "inherit") -> Tile:
    """A column with a title, an image and a note."""
    with ui.column().classes("tile"):
        ui.label(text).classes("name").style(f"color: {colour}")
        image = marked(ui.interactive_image().classes("pixels"), name)
        return Tile(image, ui.label().classes("quiet"))


def sheet_of(text: str, name: str, n: int) -> list[ui.interactive_image]:
    """A title over n images, four in a row. Returns the images."""
    with ui.column().classes("tile"):
        ui.label(text).classes("name")
        with ui.element("div").classes("tiles four"):
            names = [f"{name}-{i}" for i in range(n)]
            return [marked(ui.interactive_image().classes("pixels"), name) for name in names]


def caption_line(name: str) -> ui.label:
    """The caption of a figure."""
    return marked(ui.label().classes("caption"), name)


def bold_line(name: str) -> ui.label:
    """A line of text in bold."""
    return marked(ui.label(), name).style("font-weight: 600")


def counted(n: int, what: str) -> str:
    """N things, in words: "1 step", "2 steps"."""
    return f"{n} {what}{'s' if n != 1 else ''}"


# ---- what is looked at ---------------------------------------------------------------------------


class Choice:
    """The image, t, ε and class that the tabs "Every t" and "One step" show: both the same.

    Attributes:
        image: the image's number.
        tab: the tab that is open. Only its figures are computed.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.T = explorer, explorer.schedule.T
        self.image, self._t = explorer.start
        self.tab = "look"
        self._controls: dict[str, ValueElement[Any]] = {}  # those that were made first
        self._strips: list[list[ui.element]] = []
        self._shows: dict[str, Callable[[], Awaitable[None]]] = {}

    @property
    def t(self) -> int:
        """The timestep."""
        return whole(self._controls["t"].value, 1, self.T, 1)

    @property
    def seed(self) -> int:
        """The seed of ε."""
        return whole(self._controls["seed"].value, 0, LARGEST_SEED, 0)

    @property
    def label(self) -> int | None:
        """The class that everything is conditioned on, or None."""
        if self.explorer.labels is None or not self._controls["class"].value:
            return None
        return int(self.explorer.labels[self.image])

    def slider_of_t(self, name: str) -> None:
        """Put a tab's slider of t on the page. What one tab's is set to, the other's is too."""
        self._add("t", slider("t, how much noise", f"{name}-t", 1, self.T, self._t))

    def controls(self, name: str) -> None:
        """Put a tab's other controls on the page: class, seed, image."""
        if self.explorer.labels is not None:
            switch = marked(ui.switch("condition on the class", value=True), f"{name}-class")
            switch.set_enabled(self.explorer.guidable)  # else it never saw an image without it
            self._add("class", switch)
        self._add("seed", number_field("seed of ε", f"{name}-seed"))
        self._thumbnails(name)

    def _add(self, what: str, control: "ValueElement[Any]") -> None:
        if what in self._controls:
            control.bind_value(self._controls[what])
        else:
            self._controls[what] = control.on_value_change(self._changed)

    def set_t(self, t: int) -> None:
        """Move the slider."""
        self._controls["t"].set_value(t)

    def _thumbnails(self, name: str) -> None:
        known, n = self.explorer.known, len(self.explorer.images)
        groups = {"trained on": range(known), "held out": range(known, n)}
        if not self.explorer.training:
            groups = {"the network's own samples": range(n)}
        strip: list[ui.element] = []
        with ui.column().classes("control"):
            for text, numbers in groups.items():
                ui.label(f"x₀, {text}").classes("quiet")
                with ui.element("div").classes("thumbs"):
                    strip += [self._thumbnail(f"{name}-image-{i}", text, i) for i in numbers]
        self._strips.append(strip)
        strip[self.image].props["aria-pressed"] = "true"

    def _thumbnail(self, name: str, text: str, i: int) -> ui.element:
        with ui.element("button").classes("thumb") as place:
            image = ui.element("img")
            image.props["src"] = picture(self.explorer.images[i])
            image.props["alt"] = f"image {i}, {text}"
        place.props["aria-pressed"] = "false"
        return marked(place, name).on("click", lambda: self._choose(i))

    async def _choose(self, image: int) -> None:
        for strip in self._strips:
            strip[self.image].props["aria-pressed"] = "false"
            strip[image].props["aria-pressed"] = "true"
        self.image = image
        await self._changed()

    def on_change(self, tab: str, show: Callable[[], Awaitable[None]]) -> None:
        """Show whenever something else is chosen while the tab is open, and when it opens."""
        self._shows[tab] = show

    async def open(self, tab: str) -> None:
        """Another tab is open now."""
        self.tab = tab
        await self._changed()

    async def _changed(self) -> None:
        if show := self._shows.get(self.tab):
            await show()


# ---- computing -----------------------------------------------------------------------------------


async def computed(function: Callable[..., R], *arguments: Any) -> R:
    """What the function returns, computed in the other thread.

    What it refuses is shown on the page, and raised.
    """
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(COMPUTING, lambda: function(*arguments))
    except REFUSED as error:
        ui.notify(str(error) or "out of memory", type="negative")
        raise


async def succeeded(function: Callable[..., object], *arguments: Any) -> bool:
    """Whether the function could be computed: like `computed`, but nothing is raised."""
    try:
        await computed(function, *arguments)
    except REFUSED:
        return False
    return True


def newest(work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A function that calls `work`: of the calls that come while it is busy, only the last is done.

    A slider that is dragged asks for more than can be shown.
    """
    busy = again = False

    async def call() -> None:
        nonlocal busy, again
        again = True
        if busy:
            return
        busy = True
        try:
            while again:
                again = False
                await work()
        finally:
            busy = False

    return call


def on_change(show: Callable[[], Awaitable[None]], *controls: "ValueElement[Any] | None") -> None:
    """Show now, and whenever one of the controls changes."""
    for control in filter(None, controls):
        control.on_value_change(show)
    ui.timer(0, show, once=True)
