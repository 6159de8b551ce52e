"""The same training on a GPU: what moves there, when, and how long does each part of a step take?

    python examples/12_gpu.py            # on a GPU if CuPy finds one, else on the CPU: it says which
    python examples/12_gpu.py --quick    # seconds

There is one code for both. An array belongs to NumPy or to CuPy, each op asks its arguments which (`array_module`), and data change
sides only where someone says so: `to_device` and `to_numpy`. Here both go through a `Mover`, which counts. On a GPU that is what does
move; on a CPU it is what would, as there the two return what they were given. Not counted: the tables √ᾱ and √(1−ᾱ), 4 kB each, once.

The step is `train`'s, taken apart so that a clock fits between the lines, and checked to give the same θ, to the bit. A GPU is given
its work and left alone, so the clock first waits until it is done. (Without that it would measure how fast work is handed out.)
"""
import argparse
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from autograd.backend import array_module, to_device, to_numpy
from tinyddpm import noise, schedule
from tinyddpm.runs import ema
from tinyddpm import data
from tinyddpm.runs.heldout import Draws
from tinyddpm.pictures.plots import BLUE, INK, ORANGE, save_figure, tidy
from tinyddpm.diffusion import q_sample
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.objective import objective
from tinyddpm.train import train

FULL = SimpleNamespace(config=UNetConfig(), M=64, steps=100, draws=300)
QUICK = SimpleNamespace(config=UNetConfig(base=8, blocks=1), M=16, steps=5, draws=20)
LINEAR, BETA = schedule.linear(1000), 0.1
ONCE, STEP, EVALUATION, CHECKPOINT = "once, before step 1", "each step", "each evaluation", "each checkpoint"


def find_device():
    """"cuda" or "cpu", and a line that says why."""
    try:
        zero = to_device(np.zeros(1, np.float32), "cuda")
    except RuntimeError as error:
        return "cpu", f"Without a GPU, on the CPU: {error}. What is counted is what would move."
    return "cuda", f"On {array_module(zero).cuda.runtime.getDeviceProperties(0)['name'].decode()}."


class Mover:
    """`to_device` and `to_numpy`, with the bytes counted in `there` and `back`, by the occasion."""

    def __init__(self, device):
        self.device, self.there, self.back = device, Counter(), Counter()

    def to_device(self, array, occasion):
        self.there[occasion] += array.nbytes
        return to_device(array, self.device)

    def to_numpy(self, array, occasion):
        self.back[occasion] += array.nbytes
        return to_numpy(array)


class Clock:
    """Seconds of each part: `clock("backward")` says that what ran since the last call was that."""

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


def take_step(k, unet, averaged, images, M, mover, clock):
    """Step k of `train` with seed 0, taken apart."""
    m = array_module(images).arange(M)
    x0 = images[noise.integers(0, "data", k, m, len(images))]
    t = 1 + noise.integers(0, "t", k, m, LINEAR.T)
    eps = noise.normal(0, "eps", k, m, x0.shape[1:], x0.dtype)  # random numbers are made where they are used
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
    if not np.isfinite(mover.to_numpy(J.data, STEP)):  # the one thing that comes back at each step
        raise FloatingPointError(f"J is not finite at step {k}")
    clock("read J")
    unet.theta -= BETA * unet.grad
    clock("θ ← θ − β∇J")
    ema.update(averaged.theta, unet.theta, 0.995, k)
    clock("average of θ")


def main(arguments=None):
    """Returns what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, few steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder for the picture [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    device, said = find_device()
    print(said)
    training, held_out = (part.images for part in data.split(data.digits()))
    mover = Mover(device)
    images = mover.to_device(training, ONCE)
    clock = Clock(array_module(images).cuda.Device().synchronize if device == "cuda" else lambda: None)

    unet = UNet(size.config).initialise(seed=0)
    unet.bind(mover.to_device(unet.theta, ONCE), mover.to_device(unet.grad, ONCE))
    averaged = UNet(size.config).bind(unet.theta.copy())
    for k in range(1, size.steps + 1):
        clock.start()
        take_step(k, unet, averaged, images, size.M, mover, clock)
    mover.back[STEP] //= size.steps

    draws = Draws(held_out, LINEAR, most=size.draws)  # always in main memory: the same on every device
    draws.evaluate(lambda xt, t: mover.to_numpy(averaged.denoise(mover.to_device(xt, EVALUATION), mover.to_device(t, EVALUATION)), EVALUATION))
    theta, _ = mover.to_numpy(unet.theta, CHECKPOINT), mover.to_numpy(averaged.theta, CHECKPOINT)

    other = UNet(size.config).initialise(seed=0)
    other.bind(to_device(other.theta, device), to_device(other.grad, device))
    next(step for step in train(other, images, LINEAR, BETA, seed=0, batch_size=size.M) if step.k == size.steps)
    same = np.array_equal(to_numpy(other.theta), theta)

    milliseconds = {part: 1000 * float(np.median(seconds)) for part, seconds in clock.seconds.items()}
    whole = sum(milliseconds.values())
    print(f"1. After {size.steps} steps θ is {'to the bit' if same else 'NOT'} that of `train`.")
    print(f"2. A step of {size.M} digits takes {whole:.1f} ms: " + ", ".join(f"{part} {ms:.2f}" for part, ms in milliseconds.items())
          + f". Forward and backward are {100 * (milliseconds['U-Net, forward'] + milliseconds['backward']) / whole:.0f} % of it.")
    print(f"3. Bytes that {'move' if device == 'cuda' else 'would move'}, to the device and back:")
    for occasion in (ONCE, STEP, EVALUATION, CHECKPOINT):
        print(f"   {occasion:20} {mover.there[occasion]:12,} {mover.back[occasion]:12,}")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "gpu.png", device, milliseconds, mover)
    print(f"The picture is in {options.out / 'gpu.png'}.")
    return SimpleNamespace(device=device, same=same, milliseconds=milliseconds, there=mover.there, back=mover.back)


def draw(path, device, milliseconds, mover):
    figure = Figure(figsize=(12, 3.9), dpi=110)
    times, moved = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.11, right=0.98, top=0.89, bottom=0.14, wspace=0.42)
    times.barh(list(milliseconds), list(milliseconds.values()), color=BLUE)
    for i, ms in enumerate(milliseconds.values()):
        times.text(ms, i, f" {ms:.2f}", va="center", fontsize=9, color=INK)
    times.set_title(f"A step, part by part, on the {'GPU' if device == 'cuda' else 'CPU'}", loc="left", color=INK)
    times.set_xlabel("ms, median")
    occasions = [ONCE, STEP, EVALUATION, CHECKPOINT]
    for counted, shift, colour, name in ((mover.there, -0.2, BLUE, "to the device"), (mover.back, 0.2, ORANGE, "back")):
        moved.barh(np.arange(4) + shift, [counted[o] for o in occasions], 0.38, color=colour, label=name)
        for i, occasion in enumerate(occasions):
            moved.text(max(1, counted[occasion]), i + shift, f" {counted[occasion]:,}", va="center", fontsize=9, color=INK)
    moved.set_xscale("log")
    moved.set_xlim(1, 30 * max(mover.there.values()))
    moved.set_yticks(range(4), occasions)
    moved.set_title("What moves" if device == "cuda" else "What would move to a GPU", loc="left", color=INK)
    moved.set_xlabel("bytes")
    moved.legend(frameon=False, labelcolor="linecolor", loc="center right", bbox_to_anchor=(1, 0.68))
    for axes in (times, moved):
        tidy(axes)
        axes.grid(axis="y", visible=False)
        axes.invert_yaxis()
    times.set_xlim(right=1.15 * max(milliseconds.values()))
    save_figure(figure, path)


if __name__ == "__main__":
    from tinyddpm import fast
    fast.enable()  # as the command line does
    main()
