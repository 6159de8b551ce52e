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


def image_slider(explorer: Explorer, name: str) -> ui.slider:
    """A slider over the explorer's images."""
    text = "image"
    if explorer.training:
        text = f"image (0 to {explorer.known - 1} trained on, then held out)"
    return slider(text, name, 0, len(explorer.images) - 1, 0)


def image_of(control: ui.slider, explorer: Explorer) -> int:
    """The number of the image at which a slider stands."""
    return whole(control.value, 0, len(explorer.images) - 1, 0)


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
