"""Parts of the tour's pictures: images, words, arrows and nodes on a canvas measured in inches."""

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from tinyddpm.pictures.images import pixels, show
from tinyddpm.pictures.plots import BLUE, GREY, INK, RED

WIDTH = 8.6  # inches, of every picture


def canvas(height):
    """A figure with one axes whose unit is an inch, to write and draw on anywhere."""
    figure = Figure(figsize=(WIDTH, height), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def put(figure, image, x, y, side, name="", colour=INK):
    """An image (1, H, W) in [−1, 1] with its lower left corner at (x, y) inches, and its name."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, side / width, side / height))
    show(axes, pixels(image[None])[0])
    axes.set_title(name, fontsize=10, color=colour, pad=4)


def write(axes, x, y, text, **style):
    axes.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 11, "color": INK} | style)


def arrow(axes, start, end, colour=GREY, bend=0.0, **style):
    way = f"arc3,rad={bend}"
    common = {"arrowstyle": "-|>", "mutation_scale": 12, "linewidth": 1.3}
    axes.add_patch(FancyArrowPatch(start, end, connectionstyle=way, color=colour, **common | style))


def node(axes, x, y, text, forward, back=None, radius=0.3):
    """A node of a graph: its name, its value beneath, and the gradient that arrives in red."""
    axes.add_patch(Circle((x, y), radius, facecolor="#fdf3e1", edgecolor="#8a6420", zorder=3))
    write(axes, x, y, text, fontweight="bold", zorder=4)
    write(axes, x, y - radius - 0.16, forward, fontsize=9, color=BLUE)
    if back:
        write(axes, x, y + radius + 0.16, back, fontsize=9, color=RED)


def heading(axes, text, x_label=""):
    axes.set_title(text, loc="left", color=INK, fontsize=10.5)
    axes.set_xlabel(x_label, fontsize=9, color=INK)
