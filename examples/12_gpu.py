"""What moves to a GPU when we train there, and how long does each part of a step take?

    python examples/12_gpu.py            # on a GPU if CuPy finds one, else on the CPU
    python examples/12_gpu.py --quick    # seconds

The same code runs on both. An array belongs to NumPy or to CuPy, each op asks its arguments which
(`array_module`), and data change sides only in `to_device` and `to_numpy`. Here both calls go
through a `Mover`, which counts bytes. Without a GPU the two return their argument, and we count
what would move. We leave out the tables √ᾱ and √(1−ᾱ), 4 kB each, once.

Our step is that of `train`, taken apart so that a clock fits between its lines. We check that θ
comes out the same, to the bit. A GPU works in the background, so the clock first waits until it is
done. Otherwise it would only measure how fast we hand out work.
"""

import argparse
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from autograd.backend import array_module, to_device, to_numpy
from tinyddpm import data, noise, schedule
from tinyddpm.diffusion import q_sample
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.objective import objective
from tinyddpm.pictures.plots import BLUE, INK, ORANGE, save_figure, tidy
from tinyddpm.runs import ema
from tinyddpm.runs.heldout import Draws
from tinyddpm.train import train

FULL = SimpleNamespace(config=UNetConfig(), M=64, steps=100, held_out=300)
QUICK = SimpleNamespace(config=UNetConfig(base=8, blocks=1), M=16, steps=5, held_out=20)
LINEAR, BETA = schedule.linear(1000), 0.1
ONCE, STEP = "once, before step 1", "each step"
EVALUATION, CHECKPOINT = "each evaluation", "each checkpoint"
OCCASIONS = (ONCE, STEP, EVALUATION, CHECKPOINT)


def find_device():
    """The device, "cuda" or "cpu", and a line that says why."""
    try:
        zero = to_device(np.zeros(1, np.float32), "cuda")
    except RuntimeError as error:
        return "cpu", f"No GPU, so we count what would move. {error}"
    name = array_module(zero).cuda.runtime.getDeviceProperties(0)["name"].decode()
    return "cuda", f"On {name}."


class Mover:
    """`to_device` and `to_numpy`. Counts the bytes moved `there` and `back` on each occasion."""

    def __init__(self, device):
        self.device, self.there, self.back = device, Counter(), Counter()

    def to_device(self, array, occasion):
        self.there[occasion] += array.nbytes
        return to_device(array, self.device)

    def to_numpy(self, array, occasion):
        self.back[occasion] += array.nbytes
        return to_numpy(array)


class Clock:
    """Seconds of each part: `clock("backward")` names what ran since the last call."""

    def __init__(self, synchronize):
        self.synchronize, self.seconds = synchronize, {}
        self.start()

    def start(self):
        self.synchronize()
        self.last = time.perf_counter()

    def __call__(self, part):
        self.synchronize()
        now = time.perf_counter()
        self.seconds.setdefault(part, []).append(now - self.last)
        self.last = now

    def milliseconds(self):
        """The median of each part."""
        return {part: 1000 * float(np.median(times)) for part, times in self.seconds.items()}


# ---- training ------------------------------------------------------------------------------------


def take_step(k, unet, averaged, images, M, mover, clock):
    """Step k of `train` with seed 0, taken apart. `averaged` holds the EMA of θ."""
    m = array_module(images).arange(M)
    x0 = images[noise.integers(0, "data", k, m, len(images))]
    t = 1 + noise.integers(0, "t", k, m, LINEAR.T)
    eps = noise.normal(0, "eps", k, m, x0.shape[1:], x0.dtype)  # drawn on the device
    clock("draw x_0, t, ε")
    xt = q_sample(LINEAR, x0, t, eps)
    clock("x_t")
    unet.grad[...] = 0
    x0_hat = unet(xt, t)
    clock("U-Net, forward")
    J, _ = objective(x0_hat, x0)
    clock("J")
    J.backward()
    clock("backward")
    if not np.isfinite(mover.to_numpy(J.data, STEP)):  # nothing else comes back at each step
        raise FloatingPointError(f"J is not finite at step {k}")
    clock("read J")
    unet.theta -= BETA * unet.grad
    clock("θ ← θ − β∇J")
    ema.update(averaged.theta, unet.theta, 0.995, k)
    clock("EMA of θ")


def measure(size, images, held_out, mover, clock):
    """Train with a clock, evaluate once, and fetch what a checkpoint holds. Returns θ."""
    unet = UNet(size.config).initialise(seed=0)
    unet.bind(mover.to_device(unet.theta, ONCE), mover.to_device(unet.grad, ONCE))
    averaged = UNet(size.config).bind(unet.theta.copy())
    for k in range(1, size.steps + 1):
        clock.start()
        take_step(k, unet, averaged, images, size.M, mover, clock)
    mover.back[STEP] //= size.steps

    def denoiser(xt, t):
        xt, t = mover.to_device(xt, EVALUATION), mover.to_device(t, EVALUATION)
        return mover.to_numpy(averaged.denoise(xt, t), EVALUATION)

    draws = Draws(held_out, LINEAR, most=size.held_out)  # in main memory on every machine
    draws.evaluate(denoiser)
    mover.to_numpy(averaged.theta, CHECKPOINT)
    return mover.to_numpy(unet.theta, CHECKPOINT)


def theta_of_train(size, images, device):
    """θ after the same steps of `train`."""
    unet = UNet(size.config).initialise(seed=0)
    unet.bind(to_device(unet.theta, device), to_device(unet.grad, device))
    steps = train(unet, images, LINEAR, BETA, seed=0, batch_size=size.M)
    for _ in islice(steps, size.steps):
        pass
    return to_numpy(unet.theta)


def report(size, same, milliseconds, mover):
    whole = sum(milliseconds.values())
    passes = milliseconds["U-Net, forward"] + milliseconds["backward"]
    print(f"1. After {size.steps} steps θ is {'to the bit' if same else 'NOT'} that of `train`.")
    print(f"2. A step of {size.M} digits takes {whole:.1f} ms:")
    for part, ms in milliseconds.items():
        print(f"   {part:20} {ms:6.2f}")
    print(f"   Forward and backward are {100 * passes / whole:.0f} % of it.")
    verb = "move" if mover.device == "cuda" else "would move"
    print(f"3. Bytes that {verb}, to the device and back:")
    for occasion in OCCASIONS:
        print(f"   {occasion:20} {mover.there[occasion]:12,} {mover.back[occasion]:12,}")


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, milliseconds, mover):
    figure = Figure(figsize=(12, 3.9), dpi=110)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.11, right=0.98, top=0.89, bottom=0.14, wspace=0.42)
    draw_times(left, milliseconds, mover.device)
    draw_bytes(right, mover)
    for axes in (left, right):
        tidy(axes)
        axes.grid(axis="y", visible=False)
        axes.invert_yaxis()
    save_figure(figure, path)


def draw_times(axes, milliseconds, device):
    axes.barh(list(milliseconds), list(milliseconds.values()), color=BLUE)
    for i, ms in enumerate(milliseconds.values()):
        axes.text(ms, i, f" {ms:.2f}", va="center", fontsize=9, color=INK)
    chip = "GPU" if device == "cuda" else "CPU"
    axes.set_title(f"A step, part by part, on the {chip}", loc="left", color=INK)
    axes.set_xlabel("ms, median")
    axes.set_xlim(right=1.15 * max(milliseconds.values()))


def draw_bytes(axes, mover):
    bars = (mover.there, -0.2, BLUE, "to the device"), (mover.back, 0.2, ORANGE, "back")
    for counted, shift, colour, name in bars:
        sizes = [counted[occasion] for occasion in OCCASIONS]
        axes.barh(np.arange(len(sizes)) + shift, sizes, 0.38, color=colour, label=name)
        for i, size in enumerate(sizes):
            axes.text(max(1, size), i + shift, f" {size:,}", va="center", fontsize=9, color=INK)
    axes.set_xscale("log")
    axes.set_xlim(1, 30 * max(mover.there.values()))
    axes.set_yticks(range(len(OCCASIONS)), OCCASIONS)
    title = "What moves" if mover.device == "cuda" else "What would move to a GPU"
    axes.set_title(title, loc="left", color=INK)
    axes.set_xlabel("bytes")
    place = {"loc": "center right", "bbox_to_anchor": (1, 0.68)}
    axes.legend(frameon=False, labelcolor="linecolor", **place)


def main(arguments=None):
    """Return what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, few steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="the picture's folder [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    device, why = find_device()
    print(why)

    training, held_out = (part.images for part in data.split(data.digits()))
    mover = Mover(device)
    images = mover.to_device(training, ONCE)
    on_gpu = device == "cuda"
    clock = Clock(array_module(images).cuda.Device().synchronize if on_gpu else lambda: None)
    theta = measure(size, images, held_out, mover, clock)
    same = np.array_equal(theta_of_train(size, images, device), theta)
    milliseconds = clock.milliseconds()
    report(size, same, milliseconds, mover)

    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "gpu.png", milliseconds, mover)
    print(f"The picture is in {options.out / 'gpu.png'}.")
    return SimpleNamespace(
        device=device, same=same, milliseconds=milliseconds, there=mover.there, back=mover.back
    )


if __name__ == "__main__":
    from tinyddpm import fast

    fast.enable()  # as the command line does
    main()
