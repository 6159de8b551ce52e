"""Pictures of images: grids, samples beside real ones, the reverse chain as a film, noising.

    image_grid(samples).save("grid.png")
    samples_beside_real(samples, real, "samples.png")
    write_samples(chain, "samples.npz")
    denoising("denoising.gif", list(ancestral(unet.denoise, schedule, x_T, noise)))
    forward("forward.png", x0, schedule, [0, 100, 300, 1000], eps)

Images are NumPy arrays (n, C, H, W) in [−1, 1] with C 1 (grey) or 3 (RGB). Values outside are
clipped. Images are enlarged by a whole number, each pixel a square: no new grey appears.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from autograd.backend import to_numpy

from ..diffusion import q_sample
from ..schedule import Schedule
from ..types import Array
from .plots import BLUE, GREY, INK, ORANGE, Style, save_figure, tidy, written_whole
from .settings import own_settings

# These colours are greys, so that a film of grey images needs no other colour.
WHITE, DARK, MIDDLE, PALE = "#ffffff", "#242424", "#6e6e6e", "#d8d8d8"
MARGIN = 14  # pixels around a picture
HEADER = 34  # pixels above a frame of the film
WRITERS = (".png", ".gif", ".npz")  # the kinds of file that `write_samples` can write

# (t, x_t, x̂_0): what a sampler yields.
Frame = tuple[int, Array, Array]


# ---- grids ---------------------------------------------------------------------------------------


def image_grid(
    images: Array,
    columns: int | None = None,
    zoom: int | None = None,
    gap: int | None = None,
) -> Image.Image:
    """The images (n, C, H, W) in rows, as a Pillow image on white: "L" if C is 1, "RGB" if 3.

    Args:
        images: the images.
        columns: how many in a row. None makes the grid as square as possible.
        zoom: how many pixels wide each pixel becomes. None makes an image about 56 wide.
        gap: pixels of white between images, 4 if None.
    """
    images = np.asarray(images)
    if images.ndim != 4 or not len(images) or images.shape[1] not in (1, 3):
        raise ValueError(
            "images: expected (n, C, H, W) with n at least 1 and C 1 or 3, "
            f"got shape {images.shape}"
        )
    n, _, height, width = images.shape
    columns = min(columns or math.ceil(math.sqrt(n)), n)
    zoom = zoom or max(1, round(56 / width))
    gap = 4 if gap is None else gap
    tiles = pixels(images).repeat(zoom, axis=1).repeat(zoom, axis=2)
    rows, high, wide = -(-n // columns), height * zoom + gap, width * zoom + gap
    sheet = np.full((rows * high - gap, columns * wide - gap, tiles.shape[3]), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * high, i % columns * wide
        sheet[y : y + height * zoom, x : x + width * zoom] = tile
    return Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet)


def pixels(images: Array) -> Array:
    """(n, C, H, W) in [−1, 1] -> uint8 (n, H, W, C)."""
    levels = np.rint((np.clip(images, -1, 1) + 1) * 127.5)
    return levels.astype(np.uint8).transpose(0, 2, 3, 1)


def samples_beside_real(
    samples: Array,
    real: Array,
    path: str | Path,
    titles: Sequence[str] = ("samples", "real"),
    columns: Sequence[int | None] = (None, None),
) -> None:
    """A grid of samples and a grid of real images, side by side, each under its title.

    `columns` says how many stand in a row of each. Equally many samples and real images look best.
    """
    grids = image_grid(samples, columns[0]), image_grid(real, columns[1])
    with written_whole(path) as part:
        _side_by_side(grids, titles).save(part, format="PNG")


def write_samples(chain: Iterable[Frame], path: str | Path) -> None:
    """Write what a sampler yields: its images, or the whole chain as a film.

    Args:
        chain: (t, x_t, x̂_0) of each step.
        path: a .png gets the images as a grid, an .npz as the array `images` (n, C, H, W), and
            a .gif the film.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise ValueError(f"path: expected a name that ends in {', '.join(WRITERS)}, got {path}")
    if suffix == ".gif":  # which holds all steps, but few of the images
        denoising(path, [(t, _in_film(xt), _in_film(x0_hat)) for t, xt, x0_hat in chain])
        return
    [(_, x, _)] = deque(chain, maxlen=1)  # the last step, and no other is held in memory
    with written_whole(path) as part, open(part, "wb") as file:
        if suffix == ".png":
            image_grid(to_numpy(x)).save(file, format="PNG")
        else:
            np.savez_compressed(file, images=to_numpy(x))


def _side_by_side(grids: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Pillow images beside each other, each under its title, on white with a margin."""
    font, above, between = _font(16, bold=True), 28, 30
    widths = [max(g.width, math.ceil(font.getlength(title))) for g, title in zip(grids, titles)]
    width = sum(widths) + between * (len(grids) - 1) + 2 * MARGIN
    height = max(grid.height for grid in grids) + above + 2 * MARGIN
    mode = "RGB" if any(grid.mode == "RGB" for grid in grids) else "L"
    sheet = Image.new(mode, (width, height), WHITE)
    draw, x = ImageDraw.Draw(sheet), MARGIN
    for grid, title, taken in zip(grids, titles, widths):
        draw.text((x, MARGIN - 3), title, fill=DARK, font=font)
        sheet.paste(grid, (x, MARGIN + above))
        x += taken + between
    return sheet


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib: all pictures look alike, on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


# ---- the film ------------------------------------------------------------------------------------


def denoising(
    path: str | Path,
    frames: Sequence[Frame],
    titles: Sequence[str] = ("x_t: noisy", "x̂_0: the guess"),
    most: int = 45,
    seconds: float = 5.0,
) -> None:
    """The reverse chain as a film that repeats: x_t left, x̂_0 right, t above.

    As many of the n images as four rows of four are shown, or fewer if they are large. The last
    frame stays for 2 s.

    Args:
        path: where the GIF goes.
        frames: (t, x_t, x̂_0) of each step, arrays (n, C, H, W), t falling to 0.
        titles: what stands over x_t and x̂_0.
        most: frames of the film at most, evenly chosen, the last always among them.
        seconds: how long it takes without the last frame.
    """
    if not frames:
        raise ValueError("frames: expected at least one (t, xt, x0_hat), got none")
    chosen = evenly_chosen(len(frames), most)
    first_t = max(1, frames[0][0])
    film = [_film_frame(frames[i], first_t, titles) for i in chosen]
    # How long each frame stays, in milliseconds. A GIF counts them in tens.
    each = max(20, round(1000 * seconds / len(film) / 10) * 10)
    durations = [each] * (len(film) - 1) + [2000]
    if film[0].mode == "RGB":
        # 256 colours, the nearest each: dithering would put grain on the images.
        film = [frame.quantize(256, dither=Image.Dither.NONE) for frame in film]
    with written_whole(path) as part:
        all_of_it = {"save_all": True, "append_images": film[1:], "duration": durations}
        film[0].save(part, format="GIF", loop=0, **all_of_it)


def in_film(shape: Sequence[int]) -> int:
    """How many images (C, H, W) a film shows at most: a square of them."""
    return min(max(math.isqrt(7100 // math.prod(shape)), 2), 4) ** 2


def _in_film(images: Array) -> Array:
    """Those of them that a film shows, in memory of their own."""
    return np.array(to_numpy(images[: in_film(images.shape[1:])]))


def evenly_chosen(n: int, most: int) -> Array:
    """Up to `most` of the numbers 0, …, n − 1, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(most, n)).round().astype(int))


def _film_frame(step: Frame, first_t: int, titles: Sequence[str]) -> Image.Image:
    """x_t beside x̂_0, under t and a bar that fills up as t falls."""
    t, xt, x0_hat = step
    shown = in_film(x0_hat.shape[1:])
    side = math.isqrt(shown)
    grids = [image_grid(_few_greys(x[:shown]), columns=side) for x in (xt, x0_hat)]
    body = _side_by_side(grids, titles)
    frame = Image.new(body.mode, (body.width, body.height + HEADER), WHITE)
    frame.paste(body, (0, HEADER))
    draw = ImageDraw.Draw(frame)
    draw.text((MARGIN, MARGIN - 2), f"t = {t}", fill=DARK, font=_font(20, bold=True))
    left, right, y = MARGIN + 120, body.width - MARGIN, MARGIN + 8
    draw.rounded_rectangle((left, y, right, y + 6), 3, fill=PALE)
    done = left + (right - left) * (1 - t / first_t)
    if done - left >= 6:
        draw.rounded_rectangle((left, y, done, y + 6), 3, fill=MIDDLE)
    return frame


def _few_greys(images: Array) -> Array:
    """The images rounded to 33 levels.

    No eye sees the difference in a film, and noise, which nothing compresses, takes half the bytes.
    """
    return np.rint(np.clip(images, -1, 1) * 16) / 16


# ---- the forward process -------------------------------------------------------------------------


@own_settings()
def forward(path: str | Path, x0: Array, schedule: Schedule, ts: Sequence[int], eps: Array) -> None:
    """One image with more and more of one noise, in closed form, and the weights of both over t.

    Args:
        path: where the PNG goes.
        x0: the clean image (C, H, W).
        schedule: how much noise there is at each t.
        ts: (n,) the timesteps to show. t = 0 is the clean image.
        eps: the noise (C, H, W).
    """
    n, t = len(ts), np.asarray(ts)
    xt = q_sample(schedule, x0[None].repeat(n, 0), t, eps[None].repeat(n, 0))
    signal, noise = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
    figure = Figure(figsize=(max(6.0, 1.35 * n + 0.6), 4.9), dpi=110)
    margins: Style = {"left": 0.065, "right": 0.965, "top": 0.82, "bottom": 0.11, "hspace": 0.14}
    grid = figure.add_gridspec(2, n, height_ratios=(1, 1.55), **margins)
    equation = r"$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\;\varepsilon$"
    figure.text(0.065, 0.94, f"The forward process:  {equation}", color=INK, fontsize=12.5)
    for i, picture in enumerate(pixels(xt)):
        axes = figure.add_subplot(grid[0, i])
        show(axes, picture)
        axes.set_title(f"t = {t[i]}", color=INK, fontsize=11, fontweight="bold", pad=19)
        mix = rf"{signal[t[i]]:.2f} $x_0$ + {noise[t[i]]:.2f} $\varepsilon$"
        where: Style = {"ha": "center", "transform": axes.transAxes}
        axes.text(0.5, 1.05, mix, fontsize=9.5, color=GREY, **where)
    _weights(figure.add_subplot(grid[1, :]), signal, noise, t)
    save_figure(figure, path)


def _weights(axes: Axes, signal: Array, noise: Array, shown: Array) -> None:
    """√ᾱ_t and √(1−ᾱ_t), tables (T+1,), over t, with the shown timesteps marked."""
    for table, colour, name in (
        (signal, BLUE, r"$\sqrt{\bar\alpha_t}$, weight of the image"),
        (noise, ORANGE, r"$\sqrt{1-\bar\alpha_t}$, weight of the noise"),
    ):
        axes.plot(table, color=colour, linewidth=2, label=name, zorder=2)
        dots: Style = {"markersize": 6, "markeredgecolor": "white", "zorder": 3, "clip_on": False}
        axes.plot(shown, table[shown], "o", color=colour, **dots)
    axes.vlines(shown, 0, 1, color=GREY, linewidth=0.7, linestyles=(0, (2, 3)), zorder=1)
    axes.set_xlim(0, len(signal) - 1)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("t")
    box: Style = {"frameon": True, "facecolor": "white", "edgecolor": "white", "framealpha": 1}
    axes.legend(loc="center right", labelcolor="linecolor", fontsize=11, **box)
    tidy(axes)


def show(axes: Axes, picture: Array, colour: str = GREY) -> None:
    """A picture (H, W, C) uint8 in axes: square pixels, exact greys, a thin frame, no ticks."""
    rgb = picture.repeat(3, axis=2) if picture.shape[2] == 1 else picture
    axes.imshow(rgb, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(colour)
