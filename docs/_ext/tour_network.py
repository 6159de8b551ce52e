"""The pictures of the tour that show the model `fashion`, which ships, at work.

The garments are ones that its training never saw. `tour.py` draws them all.
"""

from functools import cache

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sketch import WIDTH, arrow, canvas, heading, put, write

from autograd import no_grad
from tinyddpm import noise, schedule
from tinyddpm.diffusion import posterior_coefficients, posterior_variance, q_sample
from tinyddpm.nn import UNet
from tinyddpm.pictures.overhearing import kinds_of, overheard, u_shape
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, tidy
from tinyddpm.runs.opening import Run
from tinyddpm.sampler import ancestral

LINEAR = schedule.linear(1000)
# In stop 4: of each level the first and the last layer, and one of the middle.
SHOWN = ("first", "down.1", "down.2", "down.4", "down.5", "down.7", "middle3")
SHOWN += ("up.0", "up.2", "up.4", "up.6", "up.8", "up.10")


@cache
def fashion():
    """The model that ships, and garments that it was not trained on (n, 1, 28, 28)."""
    run = Run("fashion")
    return run, run.config.split_data(run.config.load_data()[0])[1].images


def guess(x0, t, index=0):
    """x_t, x̂_0 and ε of one garment (1, 28, 28) at t, by the shipped model."""
    run, _ = fashion()
    eps = noise.normal(0, "tour", 0, np.array([index]), x0.shape)
    steps = np.array([t])
    xt = q_sample(run.schedule, x0[None], steps, eps)
    return xt[0], run.unet.denoise(xt, steps)[0], eps[0]


def stop_1():
    """One step of training on one garment: what each line of the algorithm makes."""
    _, images = fashion()
    t = 300
    xt, x0_hat, eps = guess(images[4], t)
    error = np.square(x0_hat - images[4])
    figure, axes = canvas(2.35)
    alpha_bar = LINEAR.alpha_bar[t]
    rows = (
        (images[4], "$x_0$", f"{np.sqrt(alpha_bar):.2f} ·", INK),
        (eps / 3, r"$\varepsilon$", f"+ {np.sqrt(1 - alpha_bar):.2f} ·", INK),
        (xt / 2, f"$x_t$, t = {t}", "=", INK),
        (x0_hat, r"$\hat x_0$", "U-Net\n→", BLUE),
        (error - 1, r"$(\hat x_0 - x_0)^2$", "→", RED),
    )
    for i, (image, name, before, colour) in enumerate(rows):
        x = 0.62 + 1.6 * i
        write(axes, x - 0.31, 1.42, before, fontsize=10)
        put(figure, image, x, 0.92, 1.0, name, colour)
    write(axes, 8.25, 1.42, f"J =\n{error.mean():.3f}", fontsize=10)
    arrow(axes, (8.25, 0.85), (5.1, 0.85), RED, bend=-0.22)
    words = r"$\nabla_\theta J$ goes back through the U-Net, then $\theta \leftarrow \theta"
    write(axes, 5.5, 0.22, words + r" - \beta\,\nabla_\theta J$", fontsize=10, color=RED)
    return figure


def stop_3():
    """x_t at several t, and the weights with which the posterior mixes x_0 and x_t."""
    _, images = fashion()
    figure, axes = canvas(3.4)
    eps = noise.normal(0, "tour", 0, np.array([0]), images[7].shape)
    for i, t in enumerate((0, 50, 100, 200, 300, 500, 1000)):
        xt = q_sample(LINEAR, images[7][None], np.array([t]), eps)[0]
        put(figure, xt, 0.25 + 1.17 * i, 2.05, 1.02, f"t = {t}")
    plot = figure.add_axes((0.06, 0.13, 0.915, 0.36))
    (c0, ct), t = posterior_coefficients(LINEAR), np.arange(1, 1001)
    plot.semilogx(t, c0[1:], color=PURPLE, label="weight of $x_0$")
    plot.semilogx(t, ct[1:], color=BLUE, label="weight of $x_t$")
    spread = np.sqrt(posterior_variance(LINEAR)[1:])
    plot.semilogx(t, spread, color=ORANGE, label="standard deviation")
    plot.legend(frameon=False, labelcolor="linecolor", fontsize=9, loc="center right")
    heading(plot, r"$q(x_{t-1} \mid x_t, x_0)$: a small step towards $x_0$, and a little noise")
    plot.set_xlim(0.95, 1050)
    plot.set_xticks([1, 10, 100, 1000], ["t = 1", "10", "100", "1000"])
    plot.minorticks_off()
    tidy(plot)
    return figure


def stop_4():
    """A garment on its way through the U: one channel of each output, at its true size."""
    run, images = fashion()
    x0, t = images[4], 300
    xt = guess(x0, t)[0]
    with overheard(run.unet) as (outputs, _), no_grad():
        x0_hat = run.unet(xt[None], np.array([t])).data[0]
    skips = u_shape(kinds_of(run.unet))[1]
    skips = [pair for pair in skips if set(SHOWN) >= set(pair)]
    figure, axes = canvas(2.7)
    rows, place = {28: 1.75, 14: 1.05, 7: 0.5}, {}
    for i, name in enumerate(SHOWN):
        h = outputs[name][:, :, 0]  # (H, W, C)
        side = {28: 0.52, 14: 0.4, 7: 0.3}[len(h)]
        x, y = 0.9 + 0.567 * i, rows[len(h)]
        place[name] = x, y + side / 2 + 0.02
        channel = h[:, :, h.std(axis=(0, 1)).argmax()]
        low, high = np.percentile(channel, (2, 98))
        put(figure, 2 * (channel[None] - low) / (high - low) - 1, x - side / 2, y - side / 2, side)
    for a, b in skips:
        arrow(axes, place[a], place[b], GREY, bend=-0.12, linestyle="--", linewidth=0.9)
    put(figure, xt / 2, 0.06, rows[28] - 0.26, 0.52, "$x_t$")
    put(figure, x0_hat, 8.02, rows[28] - 0.26, 0.52, r"$\hat x_0$", BLUE)
    for size, y in rows.items():
        write(axes, 0.35, y if size < 28 else 1.35, f"{size} × {size}", fontsize=8.5, color=GREY)
    write(axes, 4.3, 0.12, "dashed: skip connections", fontsize=9, color=GREY)
    return figure


def stop_5():
    """How large the correction of each block is: 0 in a new network, and after training."""
    run, images = fashion()
    x, t = guess(images[4], 300)[0][None], np.array([300])
    new = UNet(run.config.unet).initialise(seed=0)
    figure = Figure(figsize=(WIDTH, 2.3), dpi=110)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.06, right=0.985, top=0.86, bottom=0.25)
    found = {"a new network: 0": corrections(new, x, t), "trained": corrections(run.unet, x, t)}
    for (label, sizes), colour in zip(found.items(), (ORANGE, BLUE)):
        axes.bar(range(len(sizes)), sizes.values(), 0.7, color=colour, label=label)
    axes.set_xticks(range(len(sizes)), sizes, rotation=45, ha="right", fontsize=8)
    axes.set_ylim(0, 1.2)
    axes.legend(frameon=False, labelcolor="linecolor", fontsize=9.5, loc="upper right", ncols=2)
    heading(axes, "The correction of each residual block, ‖correction‖ / ‖shortcut‖")
    tidy(axes)
    return figure


def corrections(unet, x, t):
    """By the block's name: how large what it adds is, beside what it adds it to."""
    blocks, sizes = {}, {}
    for name, layer in vars(unet).items():
        for i, one in enumerate(layer if isinstance(layer, list) else [layer]):
            block = getattr(one, "block", one)
            if hasattr(block, "half2"):
                blocks[f"{name}.{i}" if isinstance(layer, list) else name] = block
    for name, block in blocks.items():
        forward = block.half2.forward

        def heard(h, added, mask, name=name, forward=forward):
            out = forward(h, added=added, mask=mask)
            change, before = out.data - added.data, added.data
            sizes[name] = float(np.linalg.norm(change) / np.linalg.norm(before))
            return out

        block.half2.forward = heard
    with no_grad():
        unet(x, t)
    for block in blocks.values():
        del block.half2.forward
    return sizes


def stop_8():
    """θ of the shipped model as one bar, cut where a layer ends."""
    run, _ = fashion()
    sizes = {}
    for name, p in run.unet.parameters().items():
        top = name.split(".")[0].rstrip("0123456789")
        sizes[top] = sizes.get(top, 0) + p.size
    figure, axes = canvas(1.25)
    total, left = sum(sizes.values()), 0.2
    colours = {"time": ORANGE, "down": BLUE, "up": PURPLE}
    for name, size in sizes.items():
        wide = (WIDTH - 0.4) * size / total
        colour = colours.get(name, GREY)
        box = {"facecolor": colour, "edgecolor": "white", "alpha": 0.85}
        axes.add_patch(Rectangle((left, 0.35), wide, 0.45, **box))
        if wide > 0.25:
            write(axes, left + wide / 2, 0.57, name, color="white", fontsize=9)
            write(axes, left + wide / 2, 0.2, f"{size:,}", color=colour, fontsize=8)
        left += wide
    words = f"θ of the model fashion: {total:,} numbers in one array"
    write(axes, WIDTH / 2, 1.03, words, fontsize=10.5)
    return figure


def stop_9():
    """The error of x̂_0, pixel by pixel, and J, at three t."""
    _, images = fashion()
    figure, axes = canvas(1.85)
    for i, t in enumerate((50, 300, 700)):
        xt, x0_hat, _ = guess(images[4], t)
        error = np.square(x0_hat - images[4])
        left = 0.2 + 2.85 * i
        put(figure, xt / 2, left, 0.55, 0.78, f"$x_t$, t = {t}")
        put(figure, x0_hat, left + 0.87, 0.55, 0.78, r"$\hat x_0$", BLUE)
        put(figure, error - 1, left + 1.74, 0.55, 0.78, r"$(\hat x_0-x_0)^2$", RED)
        write(axes, left + 1.26, 0.28, f"J = {error.mean():.4f}", color=RED)
    return figure


def stop_12():
    """One chain of the shipped model: x_t above, its guess at the end below."""
    run, _ = fashion()
    draw = lambda t: noise.normal(0, "tour: chain", t, np.array([1]), (1, 28, 28))
    shown = (999, 700, 500, 300, 200, 100, 50, 0)
    chain = ancestral(run.unet.denoise, run.schedule, draw(run.schedule.T), draw)
    frames = {t: (xt[0], x0_hat[0]) for t, xt, x0_hat in chain if t in shown}
    figure, axes = canvas(2.45)
    for i, t in enumerate(shown):
        xt, x0_hat = frames[t]
        put(figure, xt if t < 60 else xt / 2, 0.5 + 1.01 * i, 1.2, 0.92, f"t = {t}")
        put(figure, x0_hat, 0.5 + 1.01 * i, 0.15, 0.92)
    write(axes, 0.25, 1.65, "$x_t$")
    write(axes, 0.25, 0.6, r"$\hat x_0$", color=BLUE)
    return figure
