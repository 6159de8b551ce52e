"""Draws docs/architecture.svg, the rooms of the code and which imports which: make architecture.

Arrows are read from the imports. One that follows from others is left out: cli imports runs, but
the way by evaluation says so already. The picture holds `described()` as a comment, and a test
checks that it is still true. Prints the files and lines of each room.
"""

import io
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from test_architecture import imports, sources  # noqa: E402  (found in tests)

PICTURE = ROOT / "docs/architecture.svg"
# The rooms, and what is in each; from the top of the picture to the bottom.
ROOMS = {
    "cli": "the command line",
    "evaluation": "how good samples are",
    "explore": "the interactive page",
    "pictures": "plots, grids, films",
    "runs": "one training run",
    "interop": "others' checkpoints",
    "more": "beyond the lecture",
    "distributed": "several machines",
    "fast": "the same, sooner",
    "data": "what to train on",
    "train": "the training algorithm",
    "nn": "θ, layers, the U-Net",
    "diffusion": "schedule, J, sampler",
    "noise": "addressed randomness",
    "autograd": "differentiation",
}
CORE = ("train", "nn", "diffusion", "autograd")
FILES = dict.fromkeys(["schedule", "diffusion", "objective", "sampler"], "diffusion")
WIDTH, HEIGHT = 0.23, 0.62  # of a box; the picture is 1 wide, and a row 1 high
BLUE, GREY = "#dbe9f9", "#f3f3f0"
ARROW = {"arrowstyle": "-|>", "color": "#444444", "shrinkA": 0, "shrinkB": 1}


def room_of(name):
    """The room of a module, by its full name; None for the few files beside the rooms."""
    top, *parts = name.split(".")
    part = parts[0] if parts else None
    return "autograd" if top == "autograd" else FILES.get(part, part if part in ROOMS else None)


def rooms():
    """The files of each room, and the rooms that each imports."""
    files, arrows = {room: [] for room in ROOMS}, {room: set() for room in ROOMS}
    for path in sources("autograd", "tinyddpm"):
        room = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if room:
            files[room].append(path)
            arrows[room] |= {room_of(name) for name in imports(path)} & ROOMS.keys() - {room}
    return files, arrows


def reduced(arrows):
    """The arrows without those that follow from others."""

    def reached(room):
        return set().union(*({below} | reached(below) for below in arrows[room]))

    return {
        room: below - set().union(*(reached(other) for other in below))
        for room, below in arrows.items()
    }


def described():
    """What the picture shows, in words: a line for each room."""
    files, arrows = rooms()
    arrows = reduced(arrows)
    lines = []
    for room, what in ROOMS.items():
        below = ", ".join(sorted(arrows[room])) or "none"
        lines.append(f"{room}: {what}; files: {len(files[room])}; imports: {below}\n")
    return "".join(lines)


def placed(arrows):
    """(x, row) of each room: below all that import it and, alone in its row, in their middle."""
    importers = {room: [r for r in ROOMS if room in arrows[r]] for room in ROOMS}
    rows, place = {}, {}
    for room in ROOMS:
        row = max((place[r][1] + 1 for r in importers[room]), default=0)
        rows.setdefault(row, []).append(room)
        place[room] = (0, row)
    for row in sorted(rows):
        n, step = len(rows[row]), min(0.4, 1 / len(rows[row]))
        for i, room in enumerate(rows[row]):
            above = [place[r][0] for r in importers[room]]
            middle = sum(above) / len(above) if n == 1 and above else 0.5
            place[room] = (middle + (i - (n - 1) / 2) * step, row)
    return place


def draw(path):
    files, arrows = rooms()
    arrows = reduced(arrows)
    place = placed(arrows)
    last = max(row for _, row in place.values())
    figure = Figure(figsize=(8, 0.9 * (last + 1)), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(last + 0.5, -0.5))
    axes.set_axis_off()
    for room, (x, y) in place.items():
        draw_box(axes, x, y, room, len(files[room]))
        for below in sorted(arrows[room]):
            tip = (place[below][0], place[below][1] - HEIGHT / 2)
            axes.annotate("", tip, (x, y + HEIGHT / 2), arrowprops=ARROW)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "architecture", "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    declaration, _, svg = out.getvalue().partition("\n")
    path.write_text(f"{declaration}\n<!--\n{described()}-->\n{svg}", encoding="utf-8")


def draw_box(axes, x, y, room, n):
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    box = FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.01")
    box.set(facecolor=BLUE if room in CORE else GREY, edgecolor="#777777", linewidth=0.8)
    box.set_mutation_aspect(8)  # round corners, though x and y have different scales
    axes.add_patch(box)
    middle = {"ha": "center", "va": "center", "color": "#222222"}
    axes.text(x, y - 0.18, room, fontsize=11, fontweight="bold", **middle)
    axes.text(x, y + 0.03, ROOMS[room], fontsize=8.5, **middle)
    axes.text(x, y + 0.21, f"{n} file{'s' * (n > 1)}", fontsize=7.5, **middle)


def main():
    draw(PICTURE)
    for room, paths in rooms()[0].items():
        lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
        longest = max(lines, default=0)
        print(f"{room:11} {len(paths):3} files {sum(lines):6,} lines, the longest {longest}")


if __name__ == "__main__":
    main()
