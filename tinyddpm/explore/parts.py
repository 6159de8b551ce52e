"""What the tabs are made of: sliders and figures under names that tests find, and computing in another thread.

All computing is done in one other thread, so that controls answer while a chain runs, and what one window asks for takes its turn between
two steps of another's chain.
"""
import asyncio
from concurrent.futures import ThreadPoolExecutor

from nicegui import ui

from .explorer import whole

COMPUTING = ThreadPoolExecutor(1, thread_name_prefix="explore")


def marked(element, name):
    """The element, under a name by which tests find it."""
    return element.props(f'data-testid="{name}"')


def slider(text, name, low, high, value, step=1):
    with ui.column().classes("control"):
        label = ui.label().classes("quiet")
        control = marked(ui.slider(min=low, max=max(high, low), step=step, value=value).props(f'aria-label="{text}"'), name)
        label.bind_text_from(control, "value", lambda v: f"{text}: {v:g}" if isinstance(v, (int, float)) else text)
    return control


def image_text(explorer):
    return f"image (0 to {explorer.known - 1} trained on, then held out)" if explorer.training else "image"


def number_field(text, name):
    return marked(ui.number(text, value=0, min=0, max=2**31, precision=0).classes("control"), name)


def seed_of(number):
    return whole(number.value, 0, 2**31, 0)


def caption_line(name):
    return marked(ui.label().classes("caption"), name)


def tile(text, name, colour="inherit"):
    """A column with a title, an image and a note under it, as attributes `image` and `note`."""
    with ui.column().classes("tile") as column:
        ui.label(text).classes("name").style(f"color: {colour}")
        column.image = marked(ui.interactive_image().classes("pixels"), name)
        column.note = ui.label().classes("quiet")
    return column


def sheet_of(text, name, n):
    """A title over n images, four in a row; returns them."""
    with ui.column().classes("tile"):
        ui.label(text).classes("name")
        with ui.element("div").classes("tiles four"):
            return [marked(ui.interactive_image().classes("pixels"), f"{name}-{i}") for i in range(n)]


def counted(n, what):
    return f"{n} {what}{'s' if n != 1 else ''}"


async def computed(function, *arguments, answers=False):
    """What the function returns, computed in the other thread. What it refuses is said on the page, and then `answers` makes this False, or True."""
    try:
        result = await asyncio.get_running_loop().run_in_executor(COMPUTING, lambda: function(*arguments))
    except (ValueError, FloatingPointError, MemoryError) as error:
        ui.notify(str(error) or "there is not enough memory", type="negative")
        if answers:
            return False
        raise
    return True if answers else result


def newest(work):
    """Of calls that come while one is at work, only the last is done: a slider that is dragged asks for more than can be shown."""
    state = {"busy": False, "again": False}

    async def call(_=None):
        state["again"] = True
        if state["busy"]:
            return
        state["busy"] = True
        try:
            while state["again"]:
                state["again"] = False
                await work()
        finally:
            state["busy"] = False
    return call


def on_change(show, *controls):
    """Show now, and whenever one of the controls changes."""
    for control in filter(None, controls):
        control.on_value_change(show)
    ui.timer(0, show, once=True)
