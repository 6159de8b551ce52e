"""The interactive page: its head, its style and its tabs.

Each browser window has a state of its own. All windows share the run.
"""

from pathlib import Path
from typing import Any

from nicegui import ui

from .chain_tab import ChainTab
from .draw_tab import DrawTab
from .explorer import Explorer
from .look_tab import LookTab
from .parts import Choice, marked
from .step_tab import StepTab

TABS = {
    "look": ("Every t", LookTab),
    "chain": ("The chain", ChainTab),
    "draw": ("Draw", DrawTab),
    "step": ("One step", StepTab),
}

STILL = "matchMedia('(prefers-reduced-motion: reduce)').matches"
STYLE = """
body {
  --line: rgb(128 128 128 / .28);
  background: #f6f7f9; color: #1f2328;
  font-family: system-ui, "Segoe UI", Roboto, sans-serif;
}
body.body--dark { background: #14171c; color: #e4e6ea }
.nicegui-content { padding: 0; align-items: center }

.whole { width: 100%; max-width: 1680px; padding: 16px; gap: 12px }
.whole .q-tab-panels, .whole .q-tab-panel {
  background: transparent; padding: 0; overflow: visible;
}
.whole h1 { font-size: 1.35rem; font-weight: 650; line-height: 1.2; margin: 0 }
.quiet { opacity: .72; font-size: .86rem; line-height: 1.35 }
.caption {
  font-size: .95rem; line-height: 1.5; max-width: 52rem; min-height: 4.5em;
  border-left: 3px solid #f97316; padding-left: 12px;
}

.sheet {
  background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: 14px; width: 100%; gap: 10px;
}
.body--dark .sheet { background: #1c2027 }
.side {
  display: grid; grid-template-columns: 290px minmax(0, 1fr);
  gap: 14px; width: 100%; align-items: start;
}
.two {
  display: grid; grid-template-columns: 1fr 1fr;
  gap: 14px 20px; width: 100%; align-items: start;
}
.side > *, .two > * { min-width: 0 }
.tiles {
  display: grid; grid-template-columns: repeat(5, minmax(0, 1fr));
  gap: 10px; width: 100%;
}
.tiles.four { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 6px }
.thumbs { display: flex; width: 100%; flex-wrap: wrap; gap: 3px; margin-bottom: 6px }
.thumb {
  width: 30px; flex: none; padding: 0; border: 2px solid transparent; border-radius: 4px;
  background: none; cursor: pointer;
}
.thumb img { width: 100%; display: block; image-rendering: pixelated; border-radius: 2px }
.thumb[aria-pressed=true] { border-color: #f97316 }
.thumb:focus-visible { outline: 2px solid #3b82f6 }
.time {
  display: grid; grid-template-columns: 170px minmax(0, 1fr);
  gap: 14px; width: 100%; align-items: center;
}
.tile { gap: 3px; min-width: 0; width: 100% }
.tile .name { font-weight: 600; font-size: .88rem }

.pixels { width: 100%; border: 1px solid var(--line) }
.pixels img { image-rendering: pixelated; display: block }
.q-slider { margin: 0 8px; width: calc(100% - 16px) }
.body--dark .q-btn.text-primary { --q-primary: #8fb4ff }
.control { width: 100%; gap: 0 }
.control .q-field { width: 100% }
.pad svg { touch-action: none; cursor: crosshair }
.maps { max-width: 520px; width: 100% }
.maps img { image-rendering: pixelated; display: block }
.graph { width: 100%; max-width: 460px }

@media (max-width: 760px) {
  .whole { padding: 10px }
  .side, .two, .time { grid-template-columns: minmax(0, 1fr) }
  .tiles { grid-template-columns: repeat(3, minmax(0, 1fr)) }
  .thumbs { flex-wrap: nowrap; overflow-x: auto }
  .thumb { width: 38px }
  .graph { margin: 0 auto }
  .q-tab { padding: 0 10px }
  .figures-first > :last-child { order: -1 }
}
"""


def page(explorer: Explorer) -> None:
    """Build the page for one browser window."""
    ui.add_css(STYLE)
    ui.colors(primary="#3467c8", secondary="#f97316")
    dark = ui.dark_mode(None)  # auto: what the system prefers
    with ui.column().classes("whole"):
        _head(explorer, dark)
        if explorer.note:
            marked(ui.label(explorer.note).classes("quiet"), "note")
        look = "dense no-caps align=left narrow-indicator"
        with ui.tabs().props(look).style("width: 100%") as tabs:
            for name, (text, _) in TABS.items():
                marked(ui.tab(name, text), f"tab-{name}")
        choice, made = Choice(explorer), {}
        panels = ui.tab_panels(tabs, value="look", animated=False, keep_alive=True)
        with panels.style("width: 100%"):
            for name, (_, tab) in TABS.items():
                with ui.tab_panel(name):
                    made[name] = tab(explorer, choice)
        panels.on_value_change(lambda event: choice.open(event.value))
        ui.timer(0, lambda: _begin(explorer, choice, made, panels), once=True)


async def _begin(
    explorer: Explorer, choice: Choice, made: dict[str, Any], panels: ui.tab_panels
) -> None:
    """Show the first tab, and let something move: t falls, and the chain runs when it is opened.

    Nothing moves by itself for people who asked their system for less motion.
    """
    await choice.open("look")
    if await ui.run_javascript(STILL, timeout=10):
        return
    made["look"].begin(explorer.start[1])
    first = True

    async def opened(tab: str) -> None:
        nonlocal first
        if tab == "chain" and first:
            first = False
            await made["chain"].toggle()

    panels.on_value_change(lambda event: opened(event.value))


def _head(explorer: Explorer, dark: ui.dark_mode) -> None:
    """What run this is, and a switch for light and dark."""
    run = explorer.run
    source, shape = run.config.data, " × ".join(map(str, explorer.shape))
    size = sum(p.size for p in run.unet.parameters().values())
    about = (
        f"{Path(source).name or source}, {shape}, after {run.step:,} training steps; "
        f"{size:,} parameters, T = {explorer.schedule.T}"
    )
    modes = {"auto": None, "light": False, "dark": True}
    style = "width: 100%; justify-content: space-between; align-items: start"
    with ui.row(wrap=False).style(style):
        with ui.column().style("gap: 2px"):
            ui.html("<h1>tinyddpm explore</h1>", sanitize=False)
            ui.label(about).classes("quiet")
        toggle = ui.toggle(list(modes), value="auto")
        toggle.on_value_change(lambda event: dark.set_value(modes.get(event.value)))
        marked(toggle.props("dense flat no-caps size=sm"), "dark")
