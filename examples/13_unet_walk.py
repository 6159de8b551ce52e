"""What happens in the U-Net in one training step? (The lecture's picture at 06:40.)

  python examples/13_unet_walk.py        # seconds

1. A new network: which layers does the gradient reach in the first steps?
2. One step of a network that has begun to learn: the shape after each layer, J, and how large the
   gradient is on its way back.
3. A picture of that, with the skip connections.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from tinyddpm import data, noise, schedule
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.pictures.unet_walk import unet_walk
from tinyddpm.train import train

LINEAR = schedule.linear(1000)


def reached(unet):
    """The fraction of θ's arrays that got a gradient in the last step; the names of the rest."""
    slices = unet.slices()
    missed = [name for name, where in slices.items() if not unet.grad[where].any()]
    return 1 - len(missed) / len(slices), missed


def first_steps(unet, steps):
    """The fraction of arrays that the gradient reaches in each of the first four steps."""
    fractions = []
    for step in islice(steps, 4):
        fraction, missed = reached(unet)
        fractions.append(fraction)
        arrays = f"{fraction:.0%} of the {len(unet.slices())} arrays of θ"
        print(f"1. Step {step.k}: the gradient reaches {arrays}; J is {step.J:.3f}.")
    if missed:
        print(f"   Still not reached: {', '.join(missed)}")
    else:
        print("   A new network's last convolution is zero, so at first nothing flows back beyond")
        print("   it. It moves, and then the layers before it can learn. The second convolution of")
        print("   each block and attention's output begin at zero too, and open up a step later.")
    return fractions


def report_walk(J, shapes, norms):
    print(f"2. One more step, forward and back: J = {J:.3f}. After each layer, C × H × W and the")
    print("   norm of ∂J/∂(its output):")
    for name, shape in shapes.items():
        print(f"   {name:8} {' × '.join(map(str, shape)):12} {norms[name]:.2e}")
    inner = [norm for name, norm in norms.items() if name != "last"]
    factor = max(inner) / min(inner)
    print(f"   Between the last layer and the first, {len(inner)} norms differ by a factor of")
    print(
        f"   {factor:.0f} at most. The first, {norms['first']:.1e}, is no smaller than those at the"
    )
    print(
        f"   bottom, {norms['middle2']:.1e}: the skip connections are a short way past the bottom."
    )


def main(arguments=None):
    """Run all parts and return what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller network and fewer steps")
    parser.add_argument(
        "--out", type=Path, default=Path("unet_walk.png"), help="the picture's path"
    )
    options = parser.parse_args(arguments)
    images = data.digits().images
    config = UNetConfig(base=8, groups=4) if options.quick else UNetConfig()
    unet = UNet(config).initialise(seed=0)

    steps = train(unet, images, LINEAR, beta=0.3, seed=0, batch_size=16)
    fractions = first_steps(unet, steps)
    for _ in islice(steps, 30 if options.quick else 200):
        pass

    x0, t = images[:8], np.array([300, 20, 100, 200, 400, 500, 700, 1000])
    eps = noise.normal(0, "unet walk: eps", 0, np.arange(len(x0)), x0.shape[1:])
    J, shapes, norms = unet_walk(options.out, unet, LINEAR, x0, t, eps)
    report_walk(J, shapes, norms)
    print(f"3. The picture is {options.out}.")
    return {"fractions": fractions, "J": J, "shapes": shapes, "norms": norms}


if __name__ == "__main__":
    from tinyddpm import fast

    fast.enable()  # the same layers, written for speed
    main()
