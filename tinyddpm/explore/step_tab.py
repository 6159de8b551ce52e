"""The tab "One step": the network as a graph, and each layer's output and gradient in it."""

from nicegui import ui
from nicegui.events import GenericEventArguments

from . import drawing as draw, words
from .explorer import Explorer, Walk
from .inputs import whole
from .parts import (
    Choice,
    bold_line,
    button,
    caption_line,
    computed,
    marked,
    newest,
    slider,
    tile,
)

NO_WALK = (
    "This network was imported, predicts something other than x̂₀, or has a weight on J. "
    "Its training step is a different one and is not shown."
)
LEGEND = (
    "One training step on one image. Down the left side the resolution falls, up the right side it "
    "rises again, and the dashed lines carry detail across. Filled: computed. Red: the norm of the "
    "gradient that has come back."
)
WALK, STOP = "Walk through it", "Stop"
PACE = 0.45  # seconds from layer to layer


class StepTab:
    """The tab. Making one puts it on the page."""

    def __init__(self, explorer: Explorer, choice: Choice) -> None:
        if not explorer.can_walk:
            ui.label(NO_WALK).classes("sheet")
            return
        self.explorer, self.choice = explorer, choice
        self.walk: Walk | None = None
        with ui.element("div").classes("side"):
            with ui.column().classes("sheet"):
                choice.slider_of_t("step")
                choice.controls("step")
            with ui.column().classes("sheet"):
                self._controls()
                with ui.element("div").classes("two"):
                    with ui.column():
                        self._graph()
                    with ui.column():
                        self._figures()
        self.timer = ui.timer(PACE, self.forward, active=False)
        choice.on_change("step", newest(self.show))

    def _controls(self) -> None:
        self.place = slider("how far the step has come", "step-place", 0, 2, 0)
        self.place.on_value_change(self.redraw)
        with ui.row().style("gap: 8px"):
            self.play = button(WALK, "step-play").on_click(self.toggle)
            ui.label("or click a layer").classes("quiet").style("align-self: center")

    def _graph(self) -> None:
        self.graph: ui.interactive_image | None = None  # made when its size is known
        self.around_graph = ui.element("div").style("width: 100%")
        ui.label(LEGEND).classes("quiet")

    def _figures(self) -> None:
        with ui.element("div").classes("tiles"):
            self.x0, self.xt = tile("x₀", "step-x0"), tile("xₜ", "step-xt")
            self.x0_hat = tile("x̂₀", "step-guess")
        self.caption = caption_line("step-caption").style("min-height: 9em")
        self.output_title = bold_line("step-output-title")
        self.output = marked(ui.interactive_image().classes("maps"), "step-output")
        self.gradient_title = bold_line("step-gradient-title")
        self.gradient = marked(ui.interactive_image().classes("maps"), "step-gradient")

    async def show(self) -> None:
        """Compute and show the step that the controls stand at."""
        chosen = self.choice.image, self.choice.t, self.choice.seed, self.choice.label
        self.walk = walk = await computed(self.explorer.walk, *chosen)
        self.place.props["max"] = len(draw.positions(walk)) - 1
        for place, x in ((self.x0, walk.x0), (self.xt, walk.xt), (self.x0_hat, walk.x0_hat)):
            place.image.set_source(draw.picture(x))
        self.xt.note.set_text(f"t = {walk.t}")
        told = words.of_class(self.explorer, walk.label)
        self.x0_hat.note.set_text(f"J = {walk.J:.4f}" + (f", {told}" if told else ""))
        self.redraw()

    def redraw(self) -> None:
        """Show how far the step has come."""
        if not (walk := self.walk):
            return
        steps = draw.positions(walk)
        position = whole(self.place.value, 0, len(steps) - 1, 0)
        way, name = steps[position]
        *size, content = draw.graph(walk, position)
        if self.graph is None:
            with self.around_graph:
                graph = ui.interactive_image(size=(size[0], size[1]), sanitize=False)
            self.graph = marked(graph.classes("graph"), "step-graph")
            self.graph.on("svg:pointerdown", self.click)
        self.graph.set_content(content)
        self.caption.set_text(words.of_step(self.explorer, walk, way, name))

        layer = walk.layers[name or "last"]
        shape = " × ".join(map(str, layer.output.shape))
        self.output_title.set_text(f"the output of {name or 'last'}, {shape}")
        self.output.set_source(draw.channels(layer.output))
        back = way == "back"
        norm = f"∂J/∂(the output of {name}), norm {layer.norm:.2g}"
        self.gradient_title.set_text(norm if back else "the gradient passes here on the way back")
        self.gradient.set_source(draw.channels(layer.gradient) if back else "")
        self.gradient.set_visibility(back)

    def click(self, event: GenericEventArguments) -> None:
        """Go to the layer that was clicked: on the way back if the step has turned back."""
        name, walk = str(event.args.get("element_id", "")).removeprefix("layer-"), self.walk
        if walk and name in walk.layers:
            way = "back" if self.place.value > len(walk.layers) else "forward"
            self.place.set_value(draw.positions(walk).index((way, name)))

    def forward(self) -> None:
        """One layer further, until the end."""
        if self._at_the_end():
            self.timer.active = False
        else:
            self.place.set_value(self.place.value + 1)
        self.play.set_text(STOP if self.timer.active else WALK)

    def toggle(self) -> None:
        """Walk or stop, and begin again after the end."""
        self.timer.active = not self.timer.active
        if self.timer.active and self._at_the_end():
            self.place.set_value(0)
        self.play.set_text(STOP if self.timer.active else WALK)

    def _at_the_end(self) -> bool:
        return self.place.value >= self.place.props["max"]
