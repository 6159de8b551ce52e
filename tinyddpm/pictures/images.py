"""Pictures of images: grids, samples beside real ones, the reverse chain as a film, an image being noised.

    image_grid(samples).save("grid.png")
    samples_beside_real(samples, real, "samples.png")
    write_samples(chain, "samples.npz")
    denoising("denoising.gif", list(ancestral(unet.denoise, schedule, x_T, noise)))
    forward("forward.png", x0, schedule, [0, 100, 300, 1000], eps)

Images are NumPy arrays (n, C, H, W) in [−1, 1] with C 1 (grey) or 3 (RGB), what lies outside is clipped. They are enlarged
by a whole number, each pixel a square: no grey appears that the image does not have.
"""
import math
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from autograd.backend import to_numpy

from ..diffusion import q_sample
from .plots import BLUE, GREY, INK, ORANGE, save_figure, tidy, written_whole

WHITE, DARK, MIDDLE, PALE = "#ffffff", "#242424", "#6e6e6e", "#d8d8d8"  # greys, so that a grey film needs no other colours
MARGIN = 14
WRITERS = (".png", ".gif", ".npz")  # what `write_samples` can write


def image_grid(images, columns=None, zoom=None, gap=None):
    """The images (n, C, H, W) in rows, as a Pillow image on white ("L" if C is 1, "RGB" if 3).

    columns  how many in a row; as square a grid as possible if None
    zoom     how many pixels wide each pixel becomes; if None so many that an image is about 56 wide
    gap      pixels of white between images; if None 4
    """
    images = np.asarray(images)
    if images.ndim != 4 or not len(images) or images.shape[1] not in (1, 3):
        raise ValueError(f"images: expected (n, C, H, W) with n at least 1 and C 1 or 3, got shape {images.shape}")
    n, _, height, width = images.shape
    columns = min(columns or math.ceil(math.sqrt(n)), n)
    zoom = zoom or max(1, round(56 / width))
    gap = 4 if gap is None else gap
    tiles = pixels(images).repeat(zoom, axis=1).repeat(zoom, axis=2)
    rows, high, wide = -(-n // columns), height * zoom + gap, width * zoom + gap
    sheet = np.full((rows * high - gap, columns * wide - gap, tiles.shape[3]), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * high, i % columns * wide
        sheet[y:y + height * zoom, x:x + width * zoom] = tile
    return Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet)


def pixels(images):
    """(n, C, H, W) in [−1, 1] -> uint8 (n, H, W, C)."""
    levels = np.rint((np.clip(images, -1, 1) + 1) * 127.5)
    return levels.astype(np.uint8).transpose(0, 2, 3, 1)


def samples_beside_real(samples, real, path, titles=("samples", "real"), columns=(None, None)):
    """A grid of samples and one of real images, side by side, each under its title and with so many columns. As many of one as of the other look best."""
    grids = image_grid(samples, columns[0]), image_grid(real, columns[1])
    with written_whole(path) as part:
        _side_by_side(grids, titles).save(part, format="PNG")


def write_samples(chain, path):
    """What a sampler yields, as a file: the images as a grid (.png) or array `images` (n, C, H, W) (.npz), or the film (.gif)."""
    suffix = Path(path).suffix
    if suffix not in WRITERS:
        raise ValueError(f"path: expected a name that ends in {', '.join(WRITERS)}, got {path}")
    if suffix == ".gif":
        return denoising(path, [(t, to_numpy(xt), to_numpy(x0_hat)) for t, xt, x0_hat in chain])
    for _, x, _ in chain:
        pass
    with written_whole(path) as part, open(part, "wb") as file:
        if suffix == ".png":
            image_grid(to_numpy(x)).save(file, format="PNG")
        else:
            np.savez_compressed(file, images=to_numpy(x))


def denoising(path, frames, titles=("x_t: noisy", "x̂_0: the guess"), most=45, seconds=5.0):
    """The reverse chain as a film that repeats: x_t at the left, x̂_0 at the right, t above. The last frame stays for 2 s.

    frames   [(t, xt, x0_hat), …], t falling to 0, arrays (n, C, H, W): what a sampler yields
             as many of the n images as four rows of four, or fewer if they are large, are shown
    most     of so many frames the film is made at most, evenly chosen, the last always among them
    seconds  how long it takes without the last frame
    """
    if not frames:
        raise ValueError("frames: expected at least one (t, xt, x0_hat), got none")
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    first_t = max(1, frames[0][0])
    film = [_film_frame(*frames[i], first_t, titles) for i in chosen]
    lasts = [max(20, round(1000 * seconds / len(film) / 10) * 10)] * (len(film) - 1) + [2000]  # GIF counts hundredths
    if film[0].mode == "RGB":  # 256 colours, the nearest each: dithering would put grain on the images
        film = [frame.quantize(256, dither=Image.Dither.NONE) for frame in film]
    with written_whole(path) as part:
        film[0].save(part, format="GIF", save_all=True, append_images=film[1:], duration=lasts, loop=0)


def _film_frame(t, xt, x0_hat, first_t, titles):
    header = 34
    side = min(max(math.isqrt(7100 // x0_hat[0].size), 2), 4)
    body = _side_by_side([image_grid(_few_greys(x[:side**2]), columns=side) for x in (xt, x0_hat)], titles)
    frame = Image.new(body.mode, (body.width, body.height + header), WHITE)
    frame.paste(body, (0, header))
    draw = ImageDraw.Draw(frame)
    draw.text((MARGIN, MARGIN - 2), f"t = {t}", fill=DARK, font=_font(20, bold=True))
    left, right, y = MARGIN + 120, body.width - MARGIN, MARGIN + 8  # a bar that fills up as t falls
    draw.rounded_rectangle((left, y, right, y + 6), 3, fill=PALE)
    done = left + (right - left) * (1 - t / first_t)
    if done - left >= 6:
        draw.rounded_rectangle((left, y, done, y + 6), 3, fill=MIDDLE)
    return frame


def _few_greys(images):
    """Rounded to 33 levels: in a film no eye sees the difference, and noise, which nothing compresses, takes half the bytes."""
    return np.rint(np.clip(images, -1, 1) * 16) / 16


def _side_by_side(grids, titles):
    """Pillow images beside each other, each under its title, on white with a margin."""
    font, above, between = _font(16, bold=True), 28, 30
    widths = [max(grid.width, math.ceil(font.getlength(title))) for grid, title in zip(grids, titles)]
    size = (sum(widths) + between * (len(grids) - 1) + 2 * MARGIN, max(g.height for g in grids) + above + 2 * MARGIN)
    mode = "RGB" if any(grid.mode == "RGB" for grid in grids) else "L"
    sheet = Image.new(mode, size, WHITE)
    draw, x = ImageDraw.Draw(sheet), MARGIN
    for grid, title, width in zip(grids, titles, widths):
        draw.text((x, MARGIN - 3), title, fill=DARK, font=font)
        sheet.paste(grid, (x, MARGIN + above))
        x += width + between
    return sheet


def _font(size, bold=False):
    """The font that matplotlib brings along, so that all pictures look alike and none depends on the machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def forward(path, x0, schedule, ts, eps):
    """One image x0 (C, H, W) with more and more of one noise eps (C, H, W), at the timesteps ts, in closed form.

    Under it √ᾱ_t and √(1−ᾱ_t), the shares of image and noise in x_t, with the chosen t marked. t = 0 is the clean image.
    """
    ts = np.asarray(ts)
    xt = q_sample(schedule, x0[None].repeat(len(ts), 0), ts, eps[None].repeat(len(ts), 0))
    signal, noise = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
    figure = Figure(figsize=(max(6.0, 1.35 * len(ts) + 0.6), 4.9), dpi=110)
    grid = figure.add_gridspec(2, len(ts), height_ratios=(1, 1.55), left=0.065, right=0.965, top=0.82, bottom=0.11, hspace=0.14)
    for i, (t, picture) in enumerate(zip(ts, pixels(xt))):
        axes = figure.add_subplot(grid[0, i])
        show(axes, picture)
        axes.set_title(f"t = {t}", color=INK, fontsize=11, fontweight="bold", pad=19)
        axes.text(0.5, 1.05, rf"{signal[t]:.2f} $x_0$ + {noise[t]:.2f} $\varepsilon$", fontsize=9.5, color=GREY,
                  ha="center", transform=axes.transAxes)
    figure.text(0.065, 0.94, r"The forward process:  $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\;\varepsilon$",
                color=INK, fontsize=12.5)

    axes = figure.add_subplot(grid[1, :])
    for table, colour, name in ((signal, BLUE, r"$\sqrt{\bar\alpha_t}$, the image's share"),
                                (noise, ORANGE, r"$\sqrt{1-\bar\alpha_t}$, the noise's share")):
        axes.plot(table, color=colour, linewidth=2, label=name, zorder=2)
        axes.plot(ts, table[ts], "o", color=colour, markersize=6, markeredgecolor="white", zorder=3, clip_on=False)
    axes.vlines(ts, 0, 1, color=GREY, linewidth=0.7, linestyles=(0, (2, 3)), zorder=1)
    axes.set_xlim(0, schedule.T)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("t")
    axes.legend(loc="center right", frameon=True, facecolor="white", edgecolor="white", framealpha=1, labelcolor="linecolor",
                fontsize=11)
    tidy(axes)
    save_figure(figure, path)


def show(axes, picture, colour=GREY):
    """A picture (H, W, C) uint8 in matplotlib axes: square pixels, exact greys, a thin frame and no ticks."""
    axes.imshow(picture.repeat(3, axis=2) if picture.shape[2] == 1 else picture, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(colour)
