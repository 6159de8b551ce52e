"""The interactive page: its head, its style and its tabs. Each browser window has a state of its own; they share the run."""
from pathlib import Path

from nicegui import ui

from . import chain_tab, draw_tab, look_tab, step_tab
from .parts import marked

TABS = {"look": ("Every t", look_tab), "chain": ("The chain", chain_tab), "draw": ("Draw", draw_tab), "step": ("One step", step_tab)}

STYLE = """
body { --line: rgb(128 128 128 / .28); background: #f6f7f9; color: #1f2328; font-family: system-ui, "Segoe UI", Roboto, sans-serif }
body.body--dark { background: #14171c; color: #e4e6ea }
.nicegui-content { padding: 0; align-items: center }
.whole { width: 100%; max-width: 1120px; padding: 16px; gap: 12px }
.whole .q-tab-panels, .whole .q-tab-panel { background: transparent; padding: 0; overflow: visible }
.whole h1 { font-size: 1.35rem; font-weight: 650; line-height: 1.2; margin: 0 }
.quiet { opacity: .72; font-size: .86rem; line-height: 1.35 }
.caption { font-size: .95rem; line-height: 1.5; max-width: 46rem; border-left: 3px solid #f97316; padding-left: 12px; min-height: 4.5em }
.sheet { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 14px; width: 100%; gap: 10px }
.body--dark .sheet { background: #1c2027 }
.side { display: grid; grid-template-columns: 260px minmax(0, 1fr); gap: 14px; width: 100%; align-items: start }
.side > *, .two > * { min-width: 0 }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 14px 20px; width: 100%; align-items: start }
.tiles { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 10px; width: 100% }
.tiles.four { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 6px }
.tile { gap: 3px; min-width: 0; width: 100% }
.tile .name { font-weight: 600; font-size: .88rem }
.pixels { width: 100%; border: 1px solid var(--line) }
.pixels img { image-rendering: pixelated; display: block }
.q-slider { margin: 0 8px; width: calc(100% - 16px) }
.control { width: 100%; gap: 0 } .control .q-field { width: 100% }
.pad svg { touch-action: none; cursor: crosshair }
.maps { max-width: 520px; width: 100% } .maps img { image-rendering: pixelated; display: block }
.graph { width: 100%; max-width: 400px }
@media (max-width: 760px) {
  .whole { padding: 10px } .side, .two { grid-template-columns: minmax(0, 1fr) } .tiles { grid-template-columns: repeat(3, minmax(0, 1fr)) }
  .graph { margin: 0 auto } .q-tab { padding: 0 10px } .figures-first > :last-child { order: -1 }
}
"""


def page(explorer):
    """Build the page for one browser window."""
    ui.add_css(STYLE)
    ui.colors(primary="#3467c8", secondary="#f97316")
    dark = ui.dark_mode(None)  # auto: as the system has it
    config = explorer.run.config
    with ui.column().classes("whole"):
        with ui.row(wrap=False).style("width: 100%; justify-content: space-between; align-items: start"):
            with ui.column().style("gap: 2px"):
                ui.html("<h1>tinyddpm explore</h1>", sanitize=False)
                size = sum(p.size for p in explorer.run.unet.parameters().values())
                ui.label(f"{Path(config.data).name or config.data}, {' × '.join(map(str, explorer.shape))}, after {explorer.run.step:,} training steps; "
                         f"{size:,} parameters, T = {explorer.schedule.T}").classes("quiet")
            modes = {"auto": None, "light": False, "dark": True}
            marked(ui.toggle(list(modes), value="auto", on_change=lambda event: dark.set_value(modes.get(event.value))).props("dense flat no-caps size=sm"), "dark")
        if explorer.note:
            marked(ui.label(explorer.note).classes("quiet"), "note")
        with ui.tabs().props("dense no-caps align=left narrow-indicator").style("width: 100%") as tabs:
            for name, (text, _) in TABS.items():
                marked(ui.tab(name, text), f"tab-{name}")
        with ui.tab_panels(tabs, value="look", animated=False, keep_alive=True).style("width: 100%"):
            for name, (_, tab) in TABS.items():
                with ui.tab_panel(name):
                    tab.build(explorer)
