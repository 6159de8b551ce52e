"""The tab "The chain": eight images on their way from noise, under controls that work while they are."""
import numpy as np
from nicegui import ui

from . import drawing as draw
from . import words
from .explorer import Chain, whole
from .parts import caption_line, counted, marked, number_field, seed_of, sheet_of, slider
from .player import SECONDS, Player, settings_of


def build(explorer):
    T = explorer.schedule.T
    with ui.element("div").classes("side figures-first"):
        with ui.column().classes("sheet"):
            settings = settings_of(explorer, "chain")
            seed = number_field("seed of the noise (starts anew)", "chain-seed")
            pace = slider("seconds for a whole chain", "chain-seconds", 2, 60, SECONDS)
            ui.label("All of it can be changed while the chain runs: it goes on from its xₜ with what you chose.").classes("quiet")
        with ui.column().classes("sheet"):
            bar = marked(ui.linear_progress(0, show_value=False).props("rounded"), "chain-bar")
            where = marked(ui.label(), "chain-t").style("font-weight: 600")
            with ui.row().style("gap: 8px"):
                play = marked(ui.button("Start").props("no-caps dense padding='4px 14px'"), "chain-play")
                one = marked(ui.button("One step").props("no-caps dense outline padding='4px 10px'"), "chain-one")
                anew = marked(ui.button("Anew").props("no-caps dense outline padding='4px 10px'"), "chain-anew")
            with ui.element("div").classes("two"):
                sheets = [sheet_of("xₜ", "chain-xt", 8), sheet_of("x̂₀, the network's guess", "chain-x0", 8)]
            caption = caption_line("chain-caption")

    def show(chain):
        bar.set_value(1 - chain.t / T)
        left = "" if chain.t == 0 else f", {counted(chain.left(settings()), 'step')} to go"
        where.set_text(f"t = {chain.t} of {T}{left}")
        for places, images in zip(sheets, (chain.xt, chain.x0_hat)):
            for place, x in zip(places, np.zeros_like(chain.xt) if images is None else images):  # grey: no guess yet
                place.set_source(draw.picture(x))
        caption.set_text(words.of_chain(chain, settings(), T))
        play.set_text("Pause" if player.timer.active else "Start" if chain.t == T else "Again" if chain.t == 0 else "Go on")

    player = Player(settings, show, lambda: whole(pace.value, 2, 60, SECONDS))

    def restart(_=None):
        player.hold(Chain(explorer, seed_of(seed)))

    async def toggle():
        if player.chain.t == 0:
            restart()
        player.toggle()

    async def single():
        player.pause()
        await player.step(1)

    play.on_click(toggle)
    one.on_click(single)
    anew.on_click(restart)
    seed.on_value_change(restart)
    settings.on_change(lambda: show(player.chain))
    restart()
