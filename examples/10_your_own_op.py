"""How do you teach the engine a new op, and how do you know that its derivative is right?

    python examples/10_your_own_op.py            # a minute; needs pip install hypothesis
    python examples/10_your_own_op.py --quick    # seconds

The op is Mish, x·tanh(log(1 + eˣ)) (Misra 2019, "Mish: a self regularized non-monotonic activation
function"). An op is one function of plain arrays that returns its output and its pullback.
`@primitive` makes it work on Tensors.

  1. We write it twice: once right, and once without a term of the product rule, as happens.
  2. Hypothesis looks for arrays at which the pullback disagrees with numerical differences. It
     finds one only for the wrong version.
  3. We build a U-Net with Mish in place of SiLU, check its whole gradient, and train it beside the
     ordinary one.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import settings
from matplotlib.figure import Figure

from autograd import leaf, primitive
from autograd.backend import array_module
from autograd.check import GradientError, check_gradient
from autograd.testing import gradient_test
from tinyddpm import data, noise, schedule
from tinyddpm.diffusion import q_sample
from tinyddpm.nn.block import NormSiLUConv, ResidualBlock
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.objective import objective
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, RED, save_figure, tidy
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.train import train

FULL = SimpleNamespace(tries=1000, steps=1000, every=50, held_out=300)
QUICK = SimpleNamespace(tries=50, steps=60, every=30, held_out=30)

# ---- 1. the op: its output, and the function from the output's gradient to that of x -------------


@primitive
def mish(x):
    """x·τ with τ = tanh(log(1 + eˣ)). Its derivative is τ + x·τ', with τ' = (1 − τ²)·sigmoid(x)."""
    tau, sigmoid = tanh_and_sigmoid(x)
    return x * tau, lambda g: (g * (tau + x * (1 - tau * tau) * sigmoid),)


@primitive
def hasty_mish(x):
    """The same output, but the pullback takes τ for a constant. It is not."""
    tau, _ = tanh_and_sigmoid(x)
    return x * tau, lambda g: (g * tau,)


def tanh_and_sigmoid(x):
    """tanh(log(1 + eˣ)) and sigmoid(x)."""
    xp = array_module(x)  # NumPy or CuPy, as x is
    softplus = xp.logaddexp(xp.zeros_like(x), x)  # log(1 + eˣ), without overflow
    return xp.tanh(softplus), xp.exp(x - softplus)


# ---- 2. the check --------------------------------------------------------------------------------

SAME_EACH_TIME = settings(derandomize=True, database=None, print_blob=False)


def counterexample(op, tries):
    """What is wrong with the op's pullback, in words, at the simplest array; None if nothing is."""
    try:
        gradient_test(op, domains=(-20.0, 20.0), examples=tries, profile=SAME_EACH_TIME)()
    except GradientError as error:
        return str(error)
    return None


def difference(op, x, h):
    """The largest |pullback − central difference| over x, for differences of step h."""
    variable = leaf(x)
    op(variable).sum().backward()
    central = (op(x + h).data - op(x - h).data) / (2 * h)
    return float(np.abs(variable.grad - central).max())


# ---- 3. a U-Net of it ----------------------------------------------------------------------------


class NormMishConv(NormSiLUConv):
    def forward(self, x, added=0.0, mask=None):
        h = mish(self.norm(x))
        return self.conv(h if mask is None else h * mask) + added


class MishBlock(ResidualBlock):
    def __init__(self, inputs, outputs, time, groups, dropout, c):
        super().__init__(inputs, outputs, time, groups, dropout, c)
        self.half1 = NormMishConv(inputs, outputs, groups, c.norm, c.conv1)
        self.half2 = NormMishConv(outputs, outputs, groups, c.norm, c.conv2, zero=True)


class MishUNet(UNet):
    ResidualBlock, Last = MishBlock, NormMishConv


PLAIN = {"base": 8, "blocks": 1, "attention": (), "middle_attention": False}


def check_whole_network(images, model_schedule):
    """Compare ∇J of a small MishUNet with numerical differences, in float64.

    Returns how many parameters it has. Raises GradientError if the two disagree.
    """
    net = MishUNet(UNetConfig(**PLAIN, levels=(1,))).initialise(seed=0, dtype=np.float64)
    # Some layers start at 0, where gradients vanish, so we move θ away from there.
    net.theta += 0.05 * np.random.default_rng(0).standard_normal(net.theta.shape)
    x0, t, theta = images[:2].astype(np.float64), np.array([100, 600]), net.theta.copy()
    eps = noise.normal(0, "eps", 0, np.arange(2), x0.shape[1:], np.float64)
    xt = q_sample(model_schedule, x0, t, eps)

    def J(v):
        """J with v in place of θ: each parameter becomes a piece of v, and gradients reach v."""
        for name, parameter in net.parameters().items():
            piece = v[net.slices()[name]].reshape(parameter.initial_shape)
            parameter.data, parameter.node = piece.data, piece.node
        return objective(net(xt, t), x0)[0]

    check_gradient(J, theta, directions=8)
    return len(theta)


def learn(kind, training, model_schedule, draws, size):
    """Train a network of this kind by plain gradient descent.

    Returns (2, n): steps, and held-out J as a fraction of predict-the-mean's.
    """
    net = kind(UNetConfig(**PLAIN)).initialise(seed=0)
    mean_J, curve = draws.evaluate(mean_image(training)).mean(), []
    beta = lambda k: min(1, k / 50)
    for step in train(net, training, model_schedule, beta, seed=0, batch_size=32):
        if step.k % size.every == 0:
            curve.append((step.k, draws.evaluate(net.denoise).mean() / mean_J))
        if step.k == size.steps:
            break
    return np.array(curve).T


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, steps, differences, curves):
    figure = Figure(figsize=(13, 3.9), dpi=110)
    left, middle, right = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.045, right=0.985, top=0.88, bottom=0.14, wspace=0.24)
    draw_op(left)
    finish(left, "The op", "x")

    middle.loglog(steps, differences["mish"], color=RED, linewidth=1.8, label="right")
    wrong = differences["hasty_mish"]
    middle.loglog(steps, wrong, color=ORANGE, linewidth=1.8, label="a term forgotten")
    below = "h: rounding errors at the left, curvature at the right"
    finish(middle, "Pullback − differences, by their step h", below)

    for (name, curve), colour in zip(curves.items(), (GREY, RED)):
        style = {"color": colour, "linewidth": 1.8, "marker": "o", "markersize": 3}
        right.plot(*curve, label=f"a U-Net with {name}", **style)
    finish(right, "Held-out J over predict-the-mean's", "step k")
    save_figure(figure, path)


def draw_op(axes):
    x = np.linspace(-6, 4, 201)
    labels = "its derivative, by the pullback", "with a term forgotten"
    for op, colour, label in zip((mish, hasty_mish), (RED, ORANGE), labels):
        variable = leaf(x)
        op(variable).sum().backward()
        axes.plot(x, variable.grad, color=colour, linewidth=1.8, label=label)
    axes.plot(x, mish(x).data, color=BLUE, linewidth=1.8, label="mish(x)")
    some, h = x[::10], 1e-5
    central = (mish(some + h).data - mish(some - h).data) / (2 * h)
    axes.plot(some, central, "o", color=INK, markersize=3, label="numerical differences")
    axes.set_ylim(-0.6, 2.6)


def finish(axes, title, below):
    axes.set_title(title, loc="left", color=INK)
    axes.set_xlabel(below)
    tidy(axes)
    axes.legend(frameon=False, fontsize=9, labelcolor="linecolor")


def main(arguments=None):
    """Run all parts and return what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer tries and steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="the picture's folder [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL

    right, wrong = counterexample(mish, size.tries), counterexample(hasty_mish, size.tries)
    found = f"mish is wrong: {right}" if right else "none contradicts the pullback of mish."
    print(f"1. Of {size.tries} arrays {found}")
    print(f"2. Hypothesis catches the forgotten term:\n   {wrong}")

    training, held_out = (part.images for part in data.split(data.digits()))
    linear = schedule.linear(1000)
    parameters = check_whole_network(training, linear)
    print(f"3. In a U-Net of {parameters:,} parameters, ∇J agrees with numerical differences.")
    draws = Draws(held_out, linear, most=size.held_out)
    kinds = {"SiLU": UNet, "Mish": MishUNet}
    curves = {name: learn(kind, training, linear, draws, size) for name, kind in kinds.items()}
    ends = {name: curve[1, -1] for name, curve in curves.items()}
    print(f"   After {size.steps} steps, held-out J is {ends['Mish']:.3f} of predict-the-mean's.")
    print(f"   The same network with SiLU gets to {ends['SiLU']:.3f}.")

    options.out.mkdir(parents=True, exist_ok=True)
    steps, x = np.logspace(-11, -1, 41), np.linspace(-6, 6, 49)
    ops = {"mish": mish, "hasty_mish": hasty_mish}
    differences = {name: [difference(op, x, h) for h in steps] for name, op in ops.items()}
    draw(options.out / "your_own_op.png", steps, differences, curves)
    print(f"The picture is in {options.out / 'your_own_op.png'}.")
    return SimpleNamespace(right=right, wrong=wrong, differences=differences, curves=curves)


if __name__ == "__main__":
    main()
