"""The tab "Draw": a sheet to draw on, the drawing noised, and denoised again."""
from nicegui import ui

from . import drawing as draw
from . import words
from .explorer import PEN, Chain, rasterised, whole
from .parts import caption_line, computed, marked, newest, number_field, on_change, seed_of, sheet_of, slider, tile
from .player import Player, settings_of

MOST_POINTS = 4000  # of a drawing
GREYS = {"black": (-1,), "white": (1,)}
COLOURS = {"black": (-1, -1, -1), "white": (1, 1, 1), "red": (0.7, -0.7, -0.7), "yellow": (0.9, 0.6, -0.6), "green": (-0.6, 0.3, -0.5), "blue": (-0.6, -0.2, 0.8)}


def build(explorer):
    T, (channels, height, width) = explorer.schedule.T, explorer.shape
    wide, high = 280, round(280 * height / width)
    inks, usual = (COLOURS, GREYS)[channels == 1], "black" if explorer.paper > 0 else "white"
    strokes, pen = [], {"down": False}  # strokes: (ink, points)
    with ui.element("div").classes("side"):
        with ui.column().classes("sheet"):
            paper = "#fff" if explorer.paper > 0 else "#000"
            pad = marked(ui.interactive_image(size=(wide, high), sanitize=False).classes("pixels pad"), "draw-pad").style(f"background: {paper}")
            with ui.row().style("gap: 8px; align-items: center"):
                play = marked(ui.button("Denoise").props("no-caps dense padding='4px 14px'"), "draw-play")
                clear = marked(ui.button("Clear").props("no-caps dense outline padding='4px 10px'"), "draw-clear")
            t = slider("t, how far to noise it", "draw-t", 1, T, max(1, round(0.3 * T)))
            with marked(ui.expansion("ink, sampler, seed").props("dense").style("width: 100%"), "draw-more"):
                ink = marked(ui.select(list(inks), value=usual, label="ink").style("width: 100%"), "draw-ink")
                settings = settings_of(explorer, "draw", ("not told", len(explorer.names) if explorer.names else None))
                seed = number_field("seed of the noise", "draw-seed")
        with ui.column().classes("sheet"):
            with ui.element("div").classes("tiles four"):
                seen, noisy, network = tile("drawing", "draw-x0"), tile("xₜ", "draw-xt"), tile("network", "draw-network")
                ideal = tile("ideal", "draw-ideal") if explorer.training else None
            where = marked(ui.label(), "draw-where").style("font-weight: 600")
            results = sheet_of("denoised step by step, with four different noises", "draw-result", 4)
            caption = caption_line("draw-caption")

    def noised():
        at, x = whole(t.value, 1, T, 1), rasterised([(inks[colour], points) for colour, points in strokes], explorer.shape, explorer.paper)
        return at, x, explorer.noised(x[None].repeat(4, 0), at, seed_of(seed))

    def shown(chain):
        where.set_text(f"now at t = {chain.t}")
        for place, x in zip(results, chain.xt):
            place.set_source(draw.picture(x))
        play.set_text("Pause" if player.timer.active else "Denoise" if chain.t in (0, player.started) else "Go on")

    player = Player(settings, shown)

    @newest
    async def show():
        player.pause()
        at, x, xt = await computed(noised)
        both = await computed(explorer.guesses, xt[:1], at, settings().label)
        player.started = at
        player.hold(Chain(explorer, seed_of(seed), n=4, start=(at, xt)))
        seen.image.set_source(draw.picture(x))
        noisy.image.set_source(draw.picture(xt[0]))
        network.image.set_source(draw.picture(both["network"][0]))
        if ideal:
            ideal.image.set_source(draw.picture(both["ideal"][0]))
        caption.set_text(words.of_drawing(explorer, at, not strokes))

    async def toggle():
        if player.chain is None or player.chain.t == 0:
            await show()
        player.toggle()

    def lines():
        pad.set_content(f'<rect id="pad" width="{wide}" height="{high}" fill="transparent" pointer-events="all"/>' + "".join(
            f'<polyline points="{" ".join(f"{x * wide:.1f},{y * high:.1f}" for x, y in [*points, points[-1]])}" fill="none" stroke="{colour}" '
            f'stroke-width="{PEN * min(wide, high):.0f}" stroke-linecap="round" stroke-linejoin="round"/>' for colour, points in strokes))

    def point(event):
        x, y = (float(event.args[key]) / size for key, size in (("image_x", wide), ("image_y", high)))
        return min(max(x, -1), 2), min(max(y, -1), 2)

    def down(event):
        if sum(len(points) for _, points in strokes) < MOST_POINTS:
            pen["down"] = True
            strokes.append((ink.value if ink.value in inks else usual, [point(event)]))
            lines()

    def move(event):
        if pen["down"] and strokes and sum(len(points) for _, points in strokes) < MOST_POINTS:
            strokes[-1][1].append(point(event))
            lines()

    async def up(_):
        if pen["down"]:
            pen["down"] = False
            await show()

    async def wipe():
        strokes.clear()
        lines()
        await show()

    pad.on("svg:pointerdown", down)
    pad.on("svg:pointermove", move, throttle=0.02)
    for event in ("svg:pointerup", "svg:pointerleave", "svg:pointercancel"):
        pad.on(event, up)
    play.on_click(toggle)
    clear.on_click(wipe)
    lines()
    on_change(show, t, seed)
