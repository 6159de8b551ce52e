"""What happens in the U-Net during one training step, forward and backward? (The lecture's picture at 06:40.)

    python examples/13_unet_walk.py        # seconds

  1. a new network: which layers does the gradient reach, at the first steps?
  2. one step of a network that has begun to learn: the shape after each layer, J, and how large the gradient is on its way back
  3. the picture of it, with the skip connections
"""
import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from tinyddpm import noise, schedule
from tinyddpm import data
from tinyddpm.pictures.unet_walk import unet_walk
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.train import train


def reached(unet):
    """The share of θ's arrays that got a gradient in the last step, and the names of those that did not."""
    slices = unet.slices()
    missed = [name for name, where in slices.items() if not unet.grad[where].any()]
    return 1 - len(missed) / len(slices), missed


def main(arguments=None):
    """Returns the shares that were reached, the walk's shapes and gradient norms by layer, and J."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller network and fewer steps")
    parser.add_argument("--out", type=Path, default=Path("unet_walk.png"), help="where the picture goes [unet_walk.png]")
    options = parser.parse_args(arguments)
    linear, images = schedule.linear(1000), data.digits().images
    config = UNetConfig(base=8, groups=4) if options.quick else UNetConfig()
    unet = UNet(config).initialise(seed=0)

    steps, shares = train(unet, images, linear, beta=0.3, seed=0, batch_size=16), []
    for step in islice(steps, 4):
        share, missed = reached(unet)
        shares.append(share)
        print(f"1. Step {step.k}: the gradient reaches {share:.0%} of the {len(unet.slices())} arrays of θ; J is {step.J:.3f}.")
    print("   A new network's last convolution is zero, so at first nothing flows back beyond it. It moves, and then the next layers can learn;\n"
          "   the second convolution of each block and attention's output begin at zero too, and open up a step later." if not missed else
          f"   Not reached even now: {', '.join(missed)}")
    for _ in islice(steps, 30 if options.quick else 200):
        pass

    x0, t = images[:8], np.array([300, 20, 100, 200, 400, 500, 700, 1000])
    eps = noise.normal(0, "unet walk: eps", 0, np.arange(len(x0)), x0.shape[1:])
    J, shapes, norms = unet_walk(options.out, unet, linear, x0, t, eps)
    print(f"2. One more step, forward and back: J = {J:.3f}. After each layer C × H × W, and the norm of ∂J/∂(its output):")
    for name, shape in shapes.items():
        print(f"   {name:8} {' × '.join(map(str, shape)):12} {norms[name]:.2e}")
    inner = [norm for name, norm in norms.items() if name != "last"]
    print(f"   Between the last layer and the first {len(inner)} norms differ by a factor of {max(inner) / min(inner):.0f} at most, and the first is no smaller than\n"
          f"   those at the bottom ({norms['first']:.1e} and {norms['middle2']:.1e}): the skip connections are a short way back, past the bottom.")
    print(f"3. The picture is {options.out}.")
    return {"shares": shares, "J": J, "shapes": shapes, "norms": norms}


if __name__ == "__main__":
    from tinyddpm import fast
    fast.enable()  # the same layers, written for speed instead of reading
    main()
