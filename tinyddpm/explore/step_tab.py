"""The tab "One step": the network as a graph, the way forward and back through it, each layer's output and gradient."""
from nicegui import ui

from . import drawing as draw
from . import words
from .explorer import whole
from .parts import caption_line, computed, image_text, marked, newest, on_change, slider, tile


def build(explorer):
    if not explorer.steps_back:
        ui.label("This network came from elsewhere, or predicts something other than x̂₀: its training step is another one, and not shown.").classes("sheet")
        return
    T, last, state = explorer.schedule.T, len(explorer.images) - 1, {}
    with ui.column().classes("sheet"):
        with ui.element("div").classes("two"):
            t = slider("t", "step-t", 1, T, max(1, round(0.3 * T)))
            image = slider(image_text(explorer), "step-image", 0, last, 0)
        place = slider("how far the step has come", "step-place", 0, 2, 0)
        with ui.row().style("gap: 8px"):
            play = marked(ui.button("Walk through it").props("no-caps dense padding='4px 14px'"), "step-play")
            ui.label("or click a layer").classes("quiet").style("align-self: center")
    with ui.element("div").classes("two"):
        with ui.column().classes("sheet"):
            graph = marked(ui.interactive_image(size=(1, 1), sanitize=False).classes("graph"), "step-graph")
            ui.label("One training step on one image. Down the left side the resolution falls, up the right side it rises again, and the dashed lines carry "
                     "detail across. Filled: computed. Red: the norm of the gradient that has come back.").classes("quiet")
        with ui.column().classes("sheet"):
            with ui.element("div").classes("tiles"):
                pictures = tile("x₀", "step-x0"), tile("xₜ", "step-xt"), tile("x̂₀", "step-guess")
            caption = caption_line("step-caption").style("min-height: 9em")
            titles, maps = [], []
            for name, text in (("output", "the layer's output"), ("gradient", "∂J/∂output")):
                titles.append(marked(ui.label(text), f"step-{name}-title").style("font-weight: 600"))
                maps.append(marked(ui.interactive_image().classes("maps"), f"step-{name}"))

    def redraw():
        if not (walk := state.get("walk")):
            return
        steps = draw.positions(walk)
        position = whole(place.value, 0, len(steps) - 1, 0)
        way, name = steps[position]
        *size, content = draw.graph(walk, position)
        graph.props["size"] = size
        graph.set_content(content)
        caption.set_text(words.of_step(walk, way, name))
        layer = walk.layers[name or "last"]
        maps[0].set_source(draw.channels(layer.output))
        come_back = position > len(walk.layers) and way == "back"
        titles[0].set_text(f"the output of {name or 'last'}, {' × '.join(map(str, layer.output.shape))}")
        titles[1].set_text(f"∂J/∂(the output of {name}), norm {layer.norm:.2g}" if come_back else "the gradient comes by here on the way back")
        maps[1].set_source(draw.channels(layer.gradient) if come_back else "")
        maps[1].set_visibility(come_back)

    @newest
    async def show():
        number, at = whole(image.value, 0, last, 0), whole(t.value, 1, T, 1)
        label = int(explorer.labels[number]) if explorer.labels is not None else None
        state["walk"] = walk = await computed(explorer.walk, number, at, 0, label)
        place.props["max"] = len(draw.positions(walk)) - 1
        for picture, x in zip(pictures, (walk.x0, walk.xt, walk.x0_hat)):
            picture.image.set_source(draw.picture(x))
        pictures[1].note.set_text(f"t = {at}")
        pictures[2].note.set_text(f"J = {walk.J:.4f}")
        redraw()

    def click(event):
        name, walk = str(event.args.get("element_id", "")).removeprefix("layer-"), state.get("walk")
        if walk and name in walk.layers:
            steps = draw.positions(walk)
            back = place.value > len(walk.layers)
            place.set_value(steps.index(("back" if back else "forward", name)))

    def forward():
        if place.value >= place.props["max"]:
            timer.active = False
        else:
            place.set_value(place.value + 1)
        play.set_text("Stop" if timer.active else "Walk through it")

    def toggle():
        timer.active = not timer.active
        if timer.active and place.value >= place.props["max"]:
            place.set_value(0)
        play.set_text("Stop" if timer.active else "Walk through it")

    timer = ui.timer(0.45, forward, active=False)
    play.on_click(toggle)
    graph.on("svg:pointerdown", click)
    place.on_value_change(redraw)
    on_change(show, t, image)
